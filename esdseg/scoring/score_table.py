"""The scores as rows for people, read from ``metrics.json`` so that every view says the same."""

from dataclasses import dataclass

from pydantic import JsonValue

from esdseg.scoring.baselines import BASELINE_TITLES
from esdseg.scoring.scores import headline_values, number_at
from esdseg.sensors.classes import CLASSES, LabelClass

SCORE_TITLES = {
    "contest_f1": "Contest F1 (class 1)",
    "f1_macro": "Macro F1",
    "jaccard_macro": "Macro Jaccard (IoU)",
    "auc_macro": "Macro AUC",
    "accuracy": "Accuracy",
}
"""Headline scores in the order in which they are shown."""

THRESHOLD_SCORE = "threshold_contest_f1"
"""Beside the first of them: the same score where class 1 is called from a probability on."""

CLASS_SCORES = {
    "f1": "F1",
    "jaccard": "Jaccard (IoU)",
    "precision": "Precision",
    "recall": "Recall",
    "auc": "AUC",
}
"""Scores of one class against the rest in the order in which they are shown."""


@dataclass(frozen=True)
class ScoreRow:
    """A headline score.

    Attributes:
        name: As in ``metrics.json``'s ``intervals``.
        title: Wording for people.
        value: The score, 0 to 1; ``None`` where it is undefined.
        interval: Its 95 % interval, where there is one.
        baselines: The same score of the trivial answers and simple models, by baseline name.
    """

    name: str
    title: str
    value: float | None
    interval: tuple[float, float] | None
    baselines: dict[str, float | None]

    def cells(self) -> tuple[str, ...]:
        """Return the row as texts under :attr:`ScoreTable.header`."""
        return (
            self.title,
            show(self.value),
            show_interval(self.interval),
            *(show(value) for value in self.baselines.values()),
        )


@dataclass(frozen=True)
class ClassRow:
    """The scores of one class against the rest.

    Attributes:
        label_class: The class.
        support: Its cells in the truth.
        predicted: Cells that are predicted to be it.
        scores: By the names of :data:`CLASS_SCORES`; ``None`` where a score is undefined.
    """

    label_class: LabelClass
    support: int
    predicted: int
    scores: dict[str, float | None]

    def cells(self) -> tuple[str, ...]:
        """Return the row as texts under :attr:`ScoreTable.class_header`."""
        title = f"{self.label_class.code} {self.label_class.title}"
        return title, f"{self.support:,}", *(show(value) for value in self.scores.values())


@dataclass(frozen=True)
class TextTable:
    """A table of texts; all columns but the first hold numbers."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class ScoreTable:
    """Headline scores and scores of each class."""

    headline: tuple[ScoreRow, ...]
    classes: tuple[ClassRow, ...]

    @property
    def header(self) -> tuple[str, ...]:
        """Column titles of the headline scores."""
        baselines = (BASELINE_TITLES[name].lower() for name in self.headline[0].baselines)
        return ("score", "value", "95 % interval", *baselines)

    @property
    def class_header(self) -> tuple[str, ...]:
        """Column titles of the classes."""
        return ("class", "cells", *CLASS_SCORES.values())

    def tables(self, title: str) -> tuple[TextTable, ...]:
        """Return headline scores and scores of each class as tables of texts."""
        return (
            TextTable(title, self.header, tuple(row.cells() for row in self.headline)),
            TextTable(
                "Each class against the rest", self.class_header, tuple(row.cells() for row in self.classes)
            ),
        )


def build_score_table(metrics: dict[str, JsonValue]) -> ScoreTable:
    """Arrange the content of ``metrics.json`` as rows."""
    values = headline_values(metrics)
    scored = _child(metrics, "baselines")
    baselines = {name: headline_values(_child(scored, name)) for name in BASELINE_TITLES if name in scored}
    headline = tuple(
        ScoreRow(
            name=name,
            title=title,
            value=values[name],
            interval=_interval(metrics, name),
            baselines={baseline: scores[name] for baseline, scores in baselines.items()},
        )
        for name, title in SCORE_TITLES.items()
    )
    headline = (headline[0], *_threshold_rows(metrics, tuple(baselines)), *headline[1:])
    counts = confusion_counts(metrics)
    classes = tuple(
        ClassRow(
            label_class=label_class,
            support=sum(counts[label_class.index]),
            predicted=sum(row[label_class.index] for row in counts),
            scores={name: number_at(metrics, name, "per_class", label_class.name) for name in CLASS_SCORES},
        )
        for label_class in CLASSES
    )
    return ScoreTable(headline, classes)


def _threshold_rows(metrics: dict[str, JsonValue], baselines: tuple[str, ...]) -> tuple[ScoreRow, ...]:
    """Return the contest's F1 at the threshold that the checkpoint carries, where it carries one."""
    if not isinstance(metrics.get(THRESHOLD_SCORE), dict):
        return ()
    scores = _child(metrics, THRESHOLD_SCORE)
    threshold = number_at(scores, "threshold")
    place = "folds' thresholds" if threshold is None else f"threshold {threshold:.3f}"
    return (
        ScoreRow(
            name=THRESHOLD_SCORE,
            title=f"  at {place}",
            value=number_at(scores, "contest_f1"),
            interval=_interval({"intervals": {THRESHOLD_SCORE: scores["interval"]}}, THRESHOLD_SCORE),
            baselines=dict.fromkeys(baselines),
        ),
    )


def confusion_counts(metrics: dict[str, JsonValue]) -> list[list[int]]:
    """Return the confusion matrix of ``metrics.json`` as rows of counts."""
    rows = metrics["confusion_matrix"]
    assert isinstance(rows, list)
    return [[int(str(count)) for count in row] for row in rows if isinstance(row, list)]


def show(value: float | None) -> str:
    """Return a score with three places, a dash where it is undefined."""
    return "–" if value is None else f"{value:.3f}"


def show_interval(interval: tuple[float, float] | None) -> str:
    """Return an interval as ``0.512 to 0.634``, a dash where there is none."""
    return "–" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def _interval(metrics: dict[str, JsonValue], name: str) -> tuple[float, float] | None:
    match _child(metrics, "intervals").get(name):
        case [int() | float() as low, int() | float() as high]:
            return float(low), float(high)
        case _:
            return None


def _child(tree: dict[str, JsonValue], *keys: str) -> dict[str, JsonValue]:
    for key in keys:
        child = tree[key]
        assert isinstance(child, dict)
        tree = child
    return tree
