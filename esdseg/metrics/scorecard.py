"""The scorecard of an evaluated run: the one schema of ``metrics.json``.

``esdseg evaluate`` builds a :class:`Scorecard`, ``metrics.json`` is its dump, and the report, the comparison,
the sweeps and the command line read it as an object. ``None`` is an undefined score, such as the recall of a
class that no scored cell belongs to. Shares, scores and probabilities lie between 0 and 1.
"""

from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from esdseg.config.section import first_fault
from esdseg.errors import InputDataError
from esdseg.sensors.classes import CLASS_NAMES, GRID_SIZE, NUM_CLASSES

FAR_CELLS = 4
"""Mistakes from this distance on, in cells, are counted together: 2 km and more."""

DISTANCE_NAMES = (*map(str, range(1, FAR_CELLS)), f"{FAR_CELLS}_or_more", "none_in_tile")
"""Names of the counts by distance; the last is of cells with nothing to measure the distance to."""

DECIDING_SCORES = {"contest_f1": "contest F1", "f1_macro": "macro F1"}
"""Scores by which a network is compared with the simple models, with their wording."""

SIMPLE_MODEL_TITLES = {
    "cell_logistic": "logistic regression on cell statistics (cell_logistic)",
    "cell_boosting": "gradient-boosted trees on cell statistics (cell_boosting)",
}

MAX_CELLS = 2**31
"""Upper bound of every count of cells that is read, far above any real one, so that sums stay exact."""

ROUNDING = 1e-6
"""Means of single-precision probabilities miss 1 by less."""


def _without_rounding(share: object) -> object:
    """Return a share that rounding has moved out of 0 to 1 by a few last bits as 0 or 1."""
    if isinstance(share, float) and -ROUNDING <= share <= 1 + ROUNDING:
        return min(max(share, 0.0), 1.0)
    return share


Score = float | None
Count = Annotated[int, Field(ge=0, le=MAX_CELLS)]
Share = Annotated[float, BeforeValidator(_without_rounding), Field(ge=0, le=1)]
Interval = tuple[float, float]
ConfusionMatrix = Annotated[
    tuple[Annotated[tuple[Count, ...], Field(min_length=NUM_CLASSES, max_length=NUM_CLASSES)], ...],
    Field(min_length=NUM_CLASSES, max_length=NUM_CLASSES),
]
"""Cells by true class (rows) and predicted class (columns)."""
CellPosition = Annotated[int, Field(ge=0, lt=GRID_SIZE)]
Split = Literal["train", "val", "test", "fold"]


class _Frozen(BaseModel):
    """A section of the scorecard. Unknown keys are refused, as in a file of another version."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ClassScores(_Frozen):
    """One score of each class, by class name.

    Attributes:
        per_class: The score of each class; ``None`` where it is undefined.
    """

    per_class: dict[str, Score]

    @field_validator("per_class")
    @classmethod
    def _has_all_classes(cls, scores: dict[str, Score]) -> dict[str, Score]:
        if set(scores) != set(CLASS_NAMES):
            raise ValueError(f"its classes are not {', '.join(CLASS_NAMES)}")
        return scores


class JaccardScores(ClassScores):
    """Intersection over union: the mean over the classes, over all cells, and of each class.

    Attributes:
        macro: Mean over the classes that have the score.
        micro: The score over all cells together.
    """

    macro: Score
    micro: Score


class F1Scores(ClassScores):
    """F1: mean over the classes, over all cells (the accuracy), weighted by true cells, and of each class.

    Attributes:
        macro: Mean over the classes that have the score.
        micro: The score over all cells together, which is the accuracy.
        weighted: Mean over the classes, weighted by their true cells.
    """

    macro: Score
    micro: Score
    weighted: Score


class AucScores(ClassScores):
    """Area under the ROC curve, each class against the rest; of folds the mean over their networks.

    Attributes:
        macro: Mean over the classes that have the score.
    """

    macro: Score


class HeadlineScores(_Frozen):
    """The five scores that carry an interval."""

    accuracy: Score
    jaccard_macro: Score
    f1_macro: Score
    auc_macro: Score
    contest_f1: Score


class ClassificationScores(_Frozen):
    """The scores of predicted classes and probabilities, from one pooled confusion matrix.

    Attributes:
        accuracy: Share of cells whose class is right.
        balanced_accuracy: Mean recall over the classes.
        contest_f1: F1 of class 1 against the rest, the contest's own score.
        jaccard: Intersection over union: true positives / (true positives + false ones + missed ones).
        iou: The same as ``jaccard``, by its other name.
        f1: 2 * precision * recall / (precision + recall).
        precision: Share of the cells called a class that are of it.
        recall: Share of the cells of a class that are called so.
        auc: Area under the ROC curve of each class against the rest.
        confusion_matrix: Cells by true class (rows) and predicted class (columns), (4, 4).
    """

    accuracy: Score
    balanced_accuracy: Score
    contest_f1: Score
    jaccard: JaccardScores
    iou: JaccardScores
    f1: F1Scores
    precision: ClassScores
    recall: ClassScores
    auc: AucScores
    confusion_matrix: ConfusionMatrix

    def headline(self) -> HeadlineScores:
        """Return the five scores that carry an interval."""
        return HeadlineScores(
            accuracy=self.accuracy,
            jaccard_macro=self.jaccard.macro,
            f1_macro=self.f1.macro,
            auc_macro=self.auc.macro,
            contest_f1=self.contest_f1,
        )


class BaselineScores(ClassificationScores):
    """The scores of a simple answer on the same cells.

    Attributes:
        predicted_class: The class that a constant answer gives to every cell; ``None`` for a fitted model.
        most_frequent_in: The tiles in which that class is the most frequent, in words; ``None`` for answers
            that count nothing.
    """

    predicted_class: str | None = None
    most_frequent_in: str | None = None


class Difference(_Frozen):
    """How much better a run scores than another on the same tiles.

    Attributes:
        value: Its score less the other's, -1 to 1; ``None`` where either is undefined.
        interval: 95 % interval from resampled tiles; ``None`` where there is none.
        win_probability: Share of the resamples in which it scores higher, ties counting half, never 0 or 1;
            ``None`` where tiles are too few to say.
    """

    value: Score
    interval: Interval | None
    win_probability: Share | None

    @property
    def is_settled(self) -> bool:
        """Whether the interval leaves no doubt which of the two scores higher."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]

    def in_words(self) -> str:
        """Return the difference as ``+0.051 (95 % interval +0.020 to +0.080)``."""
        if self.value is None:
            return "undefined"
        interval = self.interval
        return f"{self.value:+.3f}" + (
            f" (95 % interval {interval[0]:+.3f} to {interval[1]:+.3f})" if interval else ""
        )


class Verdict(_Frozen):
    """Whether the network beats the best of the simple models, judged by a checkpoint that no score chose.

    Attributes:
        answer: ``beats`` where both deciding scores are surely higher, ``does not beat`` where one is surely
            lower, and ``not settled`` where the interval of either holds zero or is missing.
        against: The simple model with the highest contest F1 on these tiles.
        checkpoint: The checkpoint that was judged.
        differences: The network's scores less that model's: ``contest_f1`` and ``f1_macro``.
    """

    answer: Literal["beats", "does not beat", "not settled"]
    against: Literal["cell_logistic", "cell_boosting"]
    checkpoint: str
    differences: dict[str, Difference]

    @field_validator("differences")
    @classmethod
    def _has_deciding_scores(cls, differences: dict[str, Difference]) -> dict[str, Difference]:
        if set(differences) != set(DECIDING_SCORES):
            raise ValueError(f"its scores are not {', '.join(DECIDING_SCORES)}")
        return differences

    def sentence(self) -> str:
        """Return the verdict in words, with the differences and the checkpoint that was judged."""
        start = {
            "beats": "Beats",
            "does not beat": "Does not beat",
            "not settled": "These tiles do not settle whether this beats",
        }[self.answer]
        by = ", ".join(
            f"{title} {self.differences[name].in_words()}" for name, title in DECIDING_SCORES.items()
        )
        return (
            f"{start} the best simple model, {SIMPLE_MODEL_TITLES[self.against]}: {by}. "
            f"Judged by {self.checkpoint}, which these tiles did not choose."
        )


class LastCheckpoint(HeadlineScores):
    """Headline scores of the checkpoint that no score chose, on the same tiles."""

    checkpoint: str


class TileScores(_Frozen):
    """The scores of one tile."""

    cells: Count
    accuracy: Score
    f1_macro: Score
    contest_f1: Score
    confusion_matrix: ConfusionMatrix


class RocCurve(_Frozen):
    """Points of a ROC curve."""

    false_positive_rate: tuple[Share, ...]
    true_positive_rate: tuple[Share, ...]


class PrecisionRecallCurve(_Frozen):
    """Points of a precision-recall curve."""

    recall: tuple[Share, ...]
    precision: tuple[Share, ...]
    average_precision: Share


class ReliabilityBin(_Frozen):
    """Cells whose confidence lies between ``low`` and ``high``.

    Attributes:
        low: Lowest confidence, not included.
        high: Highest confidence, included.
        cells: How many they are.
        confidence: Their mean confidence.
        accuracy: Share of them whose class is right.
    """

    low: Share
    high: Share
    cells: Count
    confidence: Score
    accuracy: Score


class CoveragePoint(_Frozen):
    """The scores of the most confident cells.

    Attributes:
        share: Their share of all cells.
        cells: How many they are.
        confidence: The lowest confidence among them.
    """

    share: Share
    cells: Count
    confidence: Share
    accuracy: Score
    jaccard_macro: Score
    f1_macro: Score
    contest_f1: Score


class ConfidenceScores(_Frozen):
    """How far the probabilities can be believed, in numbers.

    Attributes:
        expected_calibration_error: Mean gap between confidence and accuracy, bins weighted by cells.
        brier: Mean squared distance of all probabilities from the truth, 0 (sure and right) to 2.
        brier_contest: The same of class 1 against the rest, 0 to 1.
        mean_confidence: Mean probability of the predicted class.
    """

    expected_calibration_error: Score
    brier: Score
    brier_contest: Score
    mean_confidence: Score


class Calibration(ConfidenceScores):
    """How far the probabilities can be believed.

    Attributes:
        uncalibrated: The same without the temperature, where there is one.
        reliability: Bins of confidence, rising.
        coverage: Scores of ever more cells, the most confident first.
    """

    uncalibrated: ConfidenceScores | None = None
    reliability: tuple[ReliabilityBin, ...]
    coverage: tuple[CoveragePoint, ...]


class Temperature(_Frozen):
    """The temperature that the logits are divided by.

    Attributes:
        value: ``None`` where each fold has its own.
        chosen_on: The tiles that chose it, in words.
        selection_bias: Whether any scored tile is among them.
    """

    value: Score
    chosen_on: str
    selection_bias: bool


class ContestThreshold(_Frozen):
    """The contest's F1 where class 1 is called from a probability on.

    Attributes:
        threshold: ``None`` where each fold has its own.
        contest_f1: The score.
        interval: Its 95 % interval; ``None`` for a single tile.
        chosen_on: The tiles that chose the threshold, in words.
        selection_bias: Whether any scored tile is among them.
    """

    threshold: Score
    contest_f1: Score
    interval: Interval | None
    chosen_on: str
    selection_bias: bool


class Mistakes(_Frozen):
    """Missed or false cells of class 1, by their distance in cells.

    Attributes:
        cells: How many they are.
        by_distance: How many of them lie 1, 2, 3, or 4 and more cells away, and how many in tiles without any
            cell to measure to.
    """

    cells: Count
    by_distance: dict[str, Count]

    @field_validator("by_distance")
    @classmethod
    def _has_all_distances(cls, counts: dict[str, int]) -> dict[str, int]:
        if set(counts) != set(DISTANCE_NAMES):
            raise ValueError(f"its distances are not {', '.join(DISTANCE_NAMES)}")
        return counts


class Settlements(_Frozen):
    """Groups of touching cells of class 1.

    Attributes:
        true: Groups in the truth.
        wholly_missed: Groups of the truth of which no cell is predicted.
        predicted: Groups in the prediction.
        wholly_false: Predicted groups of which no cell is true.
    """

    true: Count
    wholly_missed: Count
    predicted: Count
    wholly_false: Count


class ClassErrors(_Frozen):
    """Mistakes about class 1.

    Attributes:
        missed: Cells of class 1 that were not predicted, by the distance to the nearest predicted one.
        false: Cells wrongly predicted as class 1, by the distance to the nearest true one.
        settlements: Groups of touching cells, found and missed.
    """

    missed: Mistakes
    false: Mistakes
    settlements: Settlements


class ErrorSummary(_Frozen):
    """Mistakes of all tiles and of each, and the tiles from best to worst.

    Attributes:
        ranked_by: The score that orders the tiles.
        ranking: Tiles from best to worst.
        unranked: Tiles whose score is undefined.
        best: The best tiles, of which none is among the worst.
        worst: The worst tiles.
        class_1: Mistakes about class 1 in all tiles.
        tiles: The same of each tile.
    """

    ranked_by: str
    ranking: tuple[str, ...]
    unranked: tuple[str, ...]
    best: tuple[str, ...]
    worst: tuple[str, ...]
    class_1: ClassErrors
    tiles: dict[str, ClassErrors]


class WorstCell(_Frozen):
    """A wrong cell whose true class was given little probability; rows count from the north."""

    tile: str
    row: CellPosition
    column: CellPosition
    truth: str
    prediction: str
    confidence: Share
    true_class_probability: Share

    @field_validator("truth", "prediction")
    @classmethod
    def _is_a_class(cls, name: str) -> str:
        if name not in CLASS_NAMES:
            raise ValueError(f"{name!r} is no class; there are {', '.join(CLASS_NAMES)}")
        return name


class FoldScored(_Frozen):
    """The tiles that one fold's checkpoint is scored on."""

    fold: str
    seed: int
    checkpoint: str
    tiles: tuple[str, ...]
    temperature: Score
    contest_threshold: Score


class EnsembleMember(_Frozen):
    """A checkpoint that predicts together with others."""

    run: str
    checkpoint: str
    model: str
    channels: Count
    window_size: Count
    temperature: float


class RunHistory(_Frozen):
    """The epochs of one run.

    Attributes:
        run: Its name.
        fold: Which fold it is, such as ``1/5``; ``None`` without folds.
        train_tiles: How many tiles it was trained on; ``None`` in files of earlier versions.
        val_tiles: How many tiles chose its epoch; likewise.
        epochs: Rows of its ``metrics.csv``.
    """

    run: str
    fold: str | None
    train_tiles: Count | None = None
    val_tiles: Count | None = None
    epochs: tuple[dict[str, Score], ...]

    def column(self, name: str) -> tuple[tuple[float, Score], ...]:
        """Return a column of the rows, each value with its epoch."""
        return tuple((row.get("epoch") or 0.0, row.get(name)) for row in self.epochs)


class BootstrapSettings(_Frozen):
    """How the intervals were drawn."""

    unit: Literal["tile"]
    level: Share
    resamples: Count
    seed: int


class DataOrigin(_Frozen):
    """The store that holds the truth, and what the network was trained on."""

    store: str
    manifest_hash: str
    trained_on_manifest_hash: str
    subtile_size: Count
    channels: Count
    split_seed: int
    val_fraction: Share
    test_fraction: Share
    training_seed: int


class Versions(_Frozen):
    """The software that made the scores."""

    esdseg: str
    torch: str


class Scorecard(ClassificationScores):
    """All that ``evaluate`` says of a run on a split.

    Attributes:
        model: Name of the model, of several joined by `` + ``.
        run: Name of the run.
        checkpoint: Path of the checkpoint; of folds the pattern of their paths.
        split: The split that was scored; ``fold`` are the tiles that each fold held out.
        folds: Each fold's checkpoint and tiles; ``None`` without folds.
        ensemble: The checkpoints that predict together; ``None`` where one predicts alone.
        tta: Test-time augmentation.
        overlap: Label cells that neighbouring windows share.
        window_size: Label cells along a window's side.
        model_parameters: Numbers that the model learned.
        seconds_per_tile: Time to predict a tile.
        selection_bias: Whether any scored tile chose the checkpoint, or may have: see ``tiles_known_by``.
        tiles_known_by: What says which scored tiles a checkpoint was trained on or chosen by: what they hold,
            or their names alone, which another tile may have too.
        last_checkpoint: Scores of the last checkpoint, which no score chose; ``None`` without selection bias.
        evaluated_at: When the tiles were scored; ``None`` in files of earlier versions.
        tiles: The scored tiles in natural order.
        coordinates: Longitude and latitude (WGS 84, degrees) of the middle of each tile whose place is known.
        cells: Scored cells.
        baselines: Scores of the simple answers on the same cells: ``majority``, ``all_class_1`` and, where
            they were fitted, ``cell_logistic`` and ``cell_boosting``.
        verdict: Whether the network beats the simple models; ``None`` where none was fitted, or where the run
            is a simple model itself.
        intervals: 95 % intervals of the headline scores; ``None`` where tiles are too few.
        bootstrap: How the intervals were drawn.
        tiles_detail: Scores of each tile.
        places: The dates of each tile that fill the places of the networks' channels, by sensor, that of
            place 1 first; ``None`` for a place that the tile lacks.
        roc: ROC curve of each class; ``None`` where it is undefined.
        precision_recall: Precision-recall curve of each class; ``None`` where it is undefined.
        calibration: How far the probabilities can be believed.
        temperature: The temperature behind the probabilities; ``None`` without one.
        threshold_contest_f1: The contest's F1 at a chosen threshold; ``None`` without one.
        errors: Mistakes about class 1, and the tiles from best to worst.
        worst_cells: The cells that the map is most wrong about.
        training_config: Settings of the training, of several runs those of the first.
        history: The epochs of each run.
        channel_shares: Share of the network's channels that each tile has, the mean over its cells; also of
            tiles that have too few to be scored.
        cells_without_data: Cells of these tiles that have too few channels: no data in the maps, not scored.
        notes: What to keep in mind about the scores, in words.
        data: The store, and what the network was trained on.
        versions: The software.
    """

    model: str
    run: str
    checkpoint: str
    split: Split
    folds: tuple[FoldScored, ...] | None
    ensemble: tuple[EnsembleMember, ...] | None
    tta: str
    overlap: Count
    window_size: Count
    model_parameters: Count
    seconds_per_tile: float
    selection_bias: bool
    tiles_known_by: Literal["content", "name"] = "name"
    last_checkpoint: LastCheckpoint | None
    evaluated_at: AwareDatetime | None = None
    tiles: Annotated[tuple[str, ...], Field(min_length=1)]
    coordinates: dict[str, tuple[float, float]] = Field(default_factory=dict)
    cells: Count
    baselines: dict[str, BaselineScores]
    verdict: Verdict | None
    intervals: dict[str, Interval | None]
    bootstrap: BootstrapSettings
    tiles_detail: dict[str, TileScores]
    places: dict[str, dict[str, tuple[date | None, ...]]] = Field(default_factory=dict)
    roc: dict[str, RocCurve | None]
    precision_recall: dict[str, PrecisionRecallCurve | None]
    calibration: Calibration
    temperature: Temperature | None
    threshold_contest_f1: ContestThreshold | None
    errors: ErrorSummary
    worst_cells: tuple[WorstCell, ...]
    training_config: dict[str, JsonValue]
    history: tuple[RunHistory, ...]
    channel_shares: dict[str, Share] = Field(default_factory=dict)
    cells_without_data: Count = 0
    notes: tuple[str, ...]
    data: DataOrigin
    versions: Versions

    @field_validator("tiles")
    @classmethod
    def _name_folders(cls, tiles: tuple[str, ...]) -> tuple[str, ...]:
        # Each names a folder beside the scores; a path would lead the report's reader elsewhere.
        strayed = next((tile for tile in tiles if tile in (".", "..") or Path(tile).name != tile), None)
        if strayed is not None:
            raise ValueError(f"{strayed!r} names no folder")
        return tiles

    @field_validator("baselines")
    @classmethod
    def _has_trivial_answers(cls, baselines: dict[str, BaselineScores]) -> dict[str, BaselineScores]:
        missing = {"majority", "all_class_1"} - set(baselines)
        if missing:
            raise ValueError(f"{', '.join(sorted(missing))} is missing")
        return baselines

    @model_validator(mode="after")
    def _speaks_of_its_tiles(self) -> Self:
        tiles = set(self.tiles)
        places = {
            "tiles_detail": set(self.tiles_detail),
            "errors.ranking and errors.unranked": {*self.errors.ranking, *self.errors.unranked},
            "errors.tiles": set(self.errors.tiles),
        }
        for place, named in places.items():
            if named != tiles:
                raise ValueError(f"{place} does not name the same tiles as tiles")
        summed = np.sum([tile.confusion_matrix for tile in self.tiles_detail.values()], axis=0)
        if summed.tolist() != [list(row) for row in self.confusion_matrix]:
            raise ValueError("its tiles do not add up to its confusion matrix")
        shown = {*self.errors.best, *self.errors.worst, *(cell.tile for cell in self.worst_cells)}
        if not shown <= tiles:
            raise ValueError(f"{sorted(shown - tiles)[0]!r} is none of its tiles")
        return self

    @field_validator("roc", "precision_recall")
    @classmethod
    def _has_all_classes(cls, curves: dict[str, _Frozen | None]) -> dict[str, _Frozen | None]:
        if set(curves) != set(CLASS_NAMES):
            raise ValueError(f"its classes are not {', '.join(CLASS_NAMES)}")
        return curves

    def fold_of(self, tile: str) -> str | None:
        """Return the fold whose checkpoint predicted a tile; ``None`` for runs without folds."""
        return next((fold.fold for fold in self.folds or () if tile in fold.tiles), None)

    def networks(self) -> tuple[int, ...]:
        """Return for each tile the position of the network that predicted it; 0 for all without folds."""
        position = {tile: index for index, fold in enumerate(self.folds or ()) for tile in fold.tiles}
        return tuple(position.get(tile, 0) for tile in self.tiles)

    def dump(self) -> str:
        """Return the text of ``metrics.json``."""
        return f"{self.model_dump_json(indent=2)}\n"


def read_scorecard(path: Path) -> Scorecard:
    """Read a ``metrics.json``.

    Args:
        path: The file.

    Raises:
        InputDataError: It is missing, damaged, or not written by this version of esdseg.
    """
    mend = "make it anew with `esdseg evaluate`"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputDataError(f"{path} cannot be read ({error.strerror}); {mend}.") from None
    try:
        return Scorecard.model_validate_json(content)
    except ValidationError as error:
        raise InputDataError(
            f"{path} is no metrics.json of this version, at {first_fault(error)}; {mend}."
        ) from None
