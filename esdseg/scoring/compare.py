"""``compare``: runs side by side on the tiles that all of them were scored on."""

from collections.abc import Sequence
from pathlib import Path

from esdseg.config.evaluation import EvalConfig
from esdseg.errors import UsageError
from esdseg.prediction.cells import Cells, read_cells
from esdseg.prediction.files import make_folder
from esdseg.report.comparison_picture import write_comparison_picture
from esdseg.scoring.bootstrap import FEW_TILES
from esdseg.scoring.comparison import ComparedRun, Comparison
from esdseg.scoring.paired import AREA_SCORE, paired_area_difference, paired_differences
from esdseg.scoring.score_table import SCORE_TITLES
from esdseg.scoring.scored_run import ScoredRun, aligned, check_comparable, open_scored_runs
from esdseg.scoring.scores import headline_values, number_at
from esdseg.sensors.classes import CLASS_NAMES

PICTURE_ENDING = ".png"
MAX_NAME_LENGTH = 120
"""Characters of a picture's name; file systems end at 255 bytes."""


def compare(
    names: Sequence[str],
    predictions_dir: Path | None = None,
    output: Path | None = None,
    seed: int | None = None,
) -> Comparison:
    """Compare runs that were evaluated, and draw the comparison.

    Args:
        names: Folders of predictions, or names of such folders in ``predictions_dir``; two or more.
        predictions_dir: Folder of all results; that of ``evaluate`` unless given.
        output: The picture; ``compare-A-B.png`` in ``predictions_dir`` unless given.
        seed: Seed of the resamples; that of ``evaluate`` unless given.

    Raises:
        UsageError: The runs are fewer than two or one is named twice, or the picture is no PNG.
        InputDataError: A run has no scores or damaged ones, the runs were scored on different tiles or
            truths, or the picture cannot be written.
    """
    if output is not None and output.suffix.lower() != PICTURE_ENDING:
        raise UsageError(f"--output {output}: the picture is a PNG; let its name end in {PICTURE_ENDING}.")
    defaults = EvalConfig()
    folder = predictions_dir or defaults.predictions_dir
    resamples = defaults.bootstrap_resamples
    drawn_with = defaults.bootstrap_seed if seed is None else seed
    scored = open_scored_runs(names, folder)
    check_comparable(scored)
    cells = [read_cells(run.folder, scored[0].tiles, aligned(run, scored[0].tiles)) for run in scored]
    runs = tuple(
        _compared(run, scored[0], mine, cells[0], resamples, drawn_with)
        for run, mine in zip(scored, cells, strict=True)
    )
    picture = output or folder / picture_name([run.label for run in runs])
    make_folder(picture.parent)
    return Comparison(
        runs=runs,
        tiles=scored[0].tiles,
        split=str(scored[0].metrics["split"]),
        manifest_hash=scored[0].manifest_hash,
        resamples=resamples,
        seed=drawn_with,
        notes=(*_area_notes(cells), *_notes(len(scored[0].tiles))),
        picture=write_comparison_picture(picture, runs),
    )


def picture_name(labels: Sequence[str]) -> str:
    """Name the picture after the runs: ``compare-A-B.png``, or after the first where that grows too long."""
    names = [Path(label).name for label in labels]
    whole = f"compare-{'-'.join(names)}"
    if len(whole.encode()) > MAX_NAME_LENGTH:
        whole = f"compare-{names[0][: MAX_NAME_LENGTH // 4]}-and-{len(names) - 1}-more"
    return whole + PICTURE_ENDING


def _compared(
    run: ScoredRun,
    reference: ScoredRun,
    cells: Cells | str,
    reference_cells: Cells | str,
    resamples: int,
    seed: int,
) -> ComparedRun:
    values = headline_values(run.metrics)
    differences = None
    if run is not reference:
        counts = aligned(run, reference.tiles)
        differences = paired_differences(counts, reference.confusions, resamples, seed)
        if isinstance(cells, Cells) and isinstance(reference_cells, Cells):
            differences[AREA_SCORE] = paired_area_difference(cells, reference_cells, resamples, seed)
    return ComparedRun(
        label=run.label,
        folder=run.folder,
        model=str(run.metrics["model"]),
        checkpoint=str(run.metrics["checkpoint"]),
        scores={name: values[name] for name in SCORE_TITLES},
        intervals={name: run.intervals.get(name) for name in SCORE_TITLES},
        class_f1={name: number_at(run.metrics, "f1", "per_class", name) for name in CLASS_NAMES},
        parameters=run.parameters,
        seconds_per_tile=run.seconds_per_tile,
        differences=differences,
    )


def _area_notes(cells: Sequence[Cells | str]) -> tuple[str, ...]:
    """Say why runs have no paired difference of the AUC: it needs the probabilities of single cells."""
    title = SCORE_TITLES[AREA_SCORE]
    return tuple(f"No paired difference of the {title}: {why}" for why in cells if isinstance(why, str))


def _notes(tiles: int) -> tuple[str, ...]:
    if tiles < 2:
        return ("One tile says nothing of how tiles differ: there are no intervals.",)
    if tiles < FEW_TILES:
        return (
            f"The intervals come from {tiles} tiles alone; below {FEW_TILES} they are rough, and rather too "
            "narrow.",
        )
    return ()
