"""``curves.png``: losses, scores and learning rate over the epochs."""

from collections.abc import Sequence
from pathlib import Path

from esdseg.models.checkpoint_lookup import HistoryRow
from esdseg.system.files import naming_write_faults, part_path

CURVES_NAME = "curves.png"

_SCORES = (
    ("val_f1_macro", "F1, macro mean"),
    ("val_jaccard_macro", "Jaccard, macro mean"),
    ("val_contest_f1", "Contest F1 (class 1)"),
    ("val_accuracy", "Accuracy"),
    ("val_auc_macro", "AUC, macro mean"),
)


def draw_curves(rows: Sequence[HistoryRow], best_epoch: int | None, title: str, path: Path) -> None:
    """Draw a run's history.

    Args:
        rows: Rows of ``metrics.csv``.
        best_epoch: Marked by a line, where there is one.
        title: The run's name.
        path: The picture.
    """
    # Matplotlib takes a moment to import and a run draws once.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(13, 4))
    # Fixed margins: finding good ones would draw the figure several times.
    figure.subplots_adjust(left=0.06, right=0.985, bottom=0.14, top=0.83, wspace=0.2)
    figure.suptitle(title)
    losses, scores, rate = figure.subplots(1, 3)
    epochs = [row["epoch"] for row in rows]
    marker = "o" if len(rows) < 30 else None
    for name, label in (("train_loss", "Training"), ("val_loss", "Validation")):
        losses.plot(epochs, [row[name] for row in rows], label=label, marker=marker, markersize=3)
    for name, label in _SCORES:
        scores.plot(epochs, [row[name] for row in rows], label=label, marker=marker, markersize=3)
    rate.plot(epochs, [row["learning_rate"] for row in rows], color="black", marker=marker, markersize=3)
    losses.set(title="Loss", ylabel="Weighted cross-entropy")
    scores.set(title="Validation scores", ylim=(0, 1.02))
    rate.set(title="Learning rate", ylim=(0, None))
    rate.ticklabel_format(axis="y", scilimits=(-2, 2))
    for axes in (losses, scores, rate):
        axes.set_xlabel("Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if best_epoch is not None:
            axes.axvline(
                best_epoch, color="gray", linestyle="--", linewidth=1, label=f"Best: epoch {best_epoch}"
            )
    losses.legend()
    scores.legend(fontsize="small")
    part = part_path(path)
    with naming_write_faults(path, part):
        figure.savefig(part, format="png", dpi=110)
        part.replace(path)
