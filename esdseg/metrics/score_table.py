"""The scorecard in words and tables, which the command line and the report both show."""

from dataclasses import dataclass

from esdseg.metrics.scorecard import Interval, Score, Scorecard
from esdseg.sensors.classes import CLASSES, CONTEST_CLASS, LabelClass

SCORE_TITLES = {
    "contest_f1": "Contest F1",
    "f1_macro": "Macro F1",
    "jaccard_macro": "Macro Jaccard (IoU)",
    "auc_macro": "Macro AUC",
    "accuracy": "Accuracy",
}
"""Headline scores in the order in which they are shown. The contest's F1 is that of its class alone."""

BASELINE_TITLES = {
    "majority": "Most frequent class",
    "all_class_1": f"{CONTEST_CLASS.title} everywhere",
    "cell_logistic": "Cell logistic",
    "cell_boosting": "Cell boosting",
}
"""Simple answers in the order in which they are shown; the fitted ones are not always there."""

THRESHOLD_SCORE = "threshold_contest_f1"
"""Beside the contest's F1: the same score where its class is called from a probability on."""

CLASS_SCORES = {
    "f1": "F1",
    "jaccard": "Jaccard (IoU)",
    "precision": "Precision",
    "recall": "Recall",
    "auc": "AUC",
}
"""Scores of one class against the rest in the order in which they are shown."""

UNDEFINED = "–"


@dataclass(frozen=True)
class ScoreRow:
    """A headline score.

    Attributes:
        name: Its key on the scorecard.
        title: Its name for people.
        value: The score, 0 to 1; ``None`` where it is undefined.
        interval: Its 95 % interval, where there is one.
        baselines: The same score of the simple answers, by baseline name.
    """

    name: str
    title: str
    value: Score
    interval: Interval | None
    baselines: dict[str, Score]

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
    scores: dict[str, Score]

    def cells(self) -> tuple[str, ...]:
        """Return the row as texts under :attr:`ScoreTable.class_header`."""
        return (
            self.label_class.title_with_code,
            f"{self.support:,}",
            *(show(value) for value in self.scores.values()),
        )


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


def build_score_table(card: Scorecard) -> ScoreTable:
    """Arrange a scorecard as rows."""
    headline = card.headline()
    baselines = {name: card.baselines[name].headline() for name in BASELINE_TITLES if name in card.baselines}
    first, *others = (
        ScoreRow(
            name=name,
            title=title,
            value=getattr(headline, name),
            interval=card.intervals[name],
            baselines={baseline: getattr(scores, name) for baseline, scores in baselines.items()},
        )
        for name, title in SCORE_TITLES.items()
    )
    at_threshold: tuple[ScoreRow, ...] = ()
    if card.threshold_contest_f1 is not None:
        scored = card.threshold_contest_f1
        place = "folds' thresholds" if scored.threshold is None else f"threshold {scored.threshold:.3f}"
        at_threshold = (
            ScoreRow(
                name=THRESHOLD_SCORE,
                title=f"  at {place}",
                value=scored.contest_f1,
                interval=scored.interval,
                baselines=dict.fromkeys(baselines),
            ),
        )
    counts = card.confusion_matrix
    classes = tuple(
        ClassRow(
            label_class=label_class,
            support=sum(counts[label_class.index]),
            predicted=sum(row[label_class.index] for row in counts),
            scores={name: getattr(card, name).per_class[label_class.name] for name in CLASS_SCORES},
        )
        for label_class in CLASSES
    )
    return ScoreTable((first, *at_threshold, *others), classes)


def describe_tiles(split: str, tiles: int) -> str:
    """Return which tiles were scored, such as ``3 tiles of the val split``."""
    counted = f"{tiles} {'tile' if tiles == 1 else 'tiles'}"
    return f"{counted} held out by the folds" if split == "fold" else f"{counted} of the {split} split"


def show(value: Score) -> str:
    """Return a score with three places, a dash where it is undefined."""
    return UNDEFINED if value is None else f"{value:.3f}"


def show_signed(value: Score) -> str:
    """Return a difference with its sign and three places, a dash where it is undefined."""
    return UNDEFINED if value is None else f"{value:+.3f}"


def show_interval(interval: Interval | None) -> str:
    """Return an interval as ``0.512 to 0.634``, a dash where there is none."""
    return UNDEFINED if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def show_win_probability(share: Score) -> str:
    """Return a share of wins with two places, never rounded to 0 or 1; a dash where there is none."""
    if share is None:
        return UNDEFINED
    return "> 0.99" if share > 0.99 else "< 0.01" if share < 0.01 else f"{share:.2f}"
