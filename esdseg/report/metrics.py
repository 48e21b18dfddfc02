"""What the report reads of a ``metrics.json``; there is more in it."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from esdseg.metrics.spatial_errors import DISTANCE_NAMES
from esdseg.scoring.baselines import BASELINE_TITLES
from esdseg.scoring.paired import Difference
from esdseg.scoring.verdict import DECIDING_SCORES
from esdseg.sensors.classes import CLASS_NAMES, GRID_SIZE, NUM_CLASSES

Score = float | None
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
ConfusionMatrix = Annotated[
    tuple[Annotated[tuple[Count, ...], Field(min_length=NUM_CLASSES, max_length=NUM_CLASSES)], ...],
    Field(min_length=NUM_CLASSES, max_length=NUM_CLASSES),
]
CellPosition = Annotated[int, Field(ge=0, lt=GRID_SIZE)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class PerClass(_Part):
    """One score of each class, by class name."""

    per_class: dict[str, Score]


class Baseline(_Part):
    """A simple answer's headline score."""

    contest_f1: Score


class LastCheckpoint(_Part):
    """Scores of the checkpoint that nothing chose."""

    contest_f1: Score


class TileScores(_Part):
    """Scores of one tile."""

    cells: Count
    accuracy: Score
    f1_macro: Score
    contest_f1: Score
    confusion_matrix: ConfusionMatrix


class RocCurve(_Part):
    """Points of a ROC curve."""

    false_positive_rate: tuple[Share, ...]
    true_positive_rate: tuple[Share, ...]


class PrecisionRecallCurve(_Part):
    """Points of a precision-recall curve."""

    recall: tuple[Share, ...]
    precision: tuple[Share, ...]
    average_precision: float


class ReliabilityBin(_Part):
    """Cells of like confidence."""

    low: float
    high: float
    cells: Count
    confidence: Score
    accuracy: Score


class CoveragePoint(_Part):
    """Scores of the most confident cells."""

    share: float
    accuracy: Score
    contest_f1: Score
    f1_macro: Score


class ConfidenceScores(_Part):
    """How far the probabilities can be believed, in numbers."""

    expected_calibration_error: Score
    brier: Score
    brier_contest: Score
    mean_confidence: Score


class Calibration(ConfidenceScores):
    """How far the probabilities can be believed.

    Attributes:
        uncalibrated: The same without the checkpoint's temperature, where it has one.
    """

    uncalibrated: ConfidenceScores | None = None
    reliability: tuple[ReliabilityBin, ...]
    coverage: tuple[CoveragePoint, ...]


class Temperature(_Part):
    """What the scores behind the probabilities are divided by; each fold has its own where there is none."""

    value: Score
    chosen_on: str


class Threshold(_Part):
    """Class 1 called from a probability on; each fold has its own where there is none."""

    threshold: Score
    chosen_on: str
    selection_bias: bool


class Mistakes(_Part):
    """Missed or false cells, by distance."""

    cells: Count
    by_distance: dict[str, Count]

    @field_validator("by_distance")
    @classmethod
    def _has_all_distances(cls, counts: dict[str, int]) -> dict[str, int]:
        if set(counts) != set(DISTANCE_NAMES):
            raise ValueError(f"its distances are not {', '.join(DISTANCE_NAMES)}")
        return counts


class Settlements(_Part):
    """Groups of touching cells of class 1."""

    true: Count
    wholly_missed: Count
    predicted: Count
    wholly_false: Count


class ClassErrors(_Part):
    """Mistakes about class 1."""

    missed: Mistakes
    false: Mistakes
    settlements: Settlements


class Errors(_Part):
    """Mistakes of all tiles and of each."""

    ranking: tuple[str, ...]
    unranked: tuple[str, ...]
    best: tuple[str, ...]
    worst: tuple[str, ...]
    class_1: ClassErrors
    tiles: dict[str, ClassErrors]


class WorstCell(_Part):
    """A cell that the map is sure of, and wrong."""

    tile: str
    row: CellPosition
    column: CellPosition
    truth: str
    prediction: str
    confidence: Share

    @field_validator("truth", "prediction")
    @classmethod
    def _is_a_class(cls, name: str) -> str:
        if name not in CLASS_NAMES:
            raise ValueError(f"{name!r} is no class; there are {', '.join(CLASS_NAMES)}")
        return name


class Fold(_Part):
    """The tiles that one fold's checkpoint is scored on."""

    fold: str | None
    checkpoint: str
    tiles: tuple[str, ...]
    temperature: Score = None
    contest_threshold: Score = None


class RunHistory(_Part):
    """The epochs of one run."""

    run: str
    fold: str | None
    epochs: tuple[dict[str, Score], ...]

    def column(self, name: str) -> tuple[tuple[float, Score], ...]:
        """Return a column of the epochs' rows, each value with its epoch."""
        return tuple((row.get("epoch") or 0.0, row.get(name)) for row in self.epochs)


class ReportMetrics(_Part):
    """The content of a ``metrics.json`` as far as the report shows it."""

    model: str
    run: str
    checkpoint: str
    split: str
    tiles: Annotated[tuple[str, ...], Field(min_length=1)]
    cells: Count
    accuracy: Score
    contest_f1: Score
    precision: PerClass
    recall: PerClass
    auc: PerClass
    confusion_matrix: ConfusionMatrix
    baselines: dict[str, Baseline]
    beats_cell_boosting: bool | None = None
    cell_boosting_differences: dict[str, Difference] | None = None
    temperature: Temperature | None = None
    threshold_contest_f1: Threshold | None = None
    intervals: dict[str, tuple[float, float] | None]
    selection_bias: bool
    last_checkpoint: LastCheckpoint | None
    folds: tuple[Fold, ...] | None
    model_parameters: Count
    seconds_per_tile: float
    tiles_detail: dict[str, TileScores]
    roc: dict[str, RocCurve | None]
    precision_recall: dict[str, PrecisionRecallCurve | None]
    calibration: Calibration
    errors: Errors
    worst_cells: tuple[WorstCell, ...]
    history: tuple[RunHistory, ...]
    training_config: dict[str, JsonValue]
    notes: tuple[str, ...]
    data: dict[str, JsonValue]
    bootstrap: dict[str, JsonValue]
    versions: dict[str, JsonValue]

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
    def _has_trivial_answers(cls, baselines: dict[str, Baseline]) -> dict[str, Baseline]:
        missing = {"majority", "all_class_1"} - set(baselines)
        if missing:
            raise ValueError(f"{', '.join(sorted(missing))} is missing")
        return {name: baselines[name] for name in BASELINE_TITLES if name in baselines}

    @field_validator("cell_boosting_differences")
    @classmethod
    def _has_deciding_scores(cls, differences: dict[str, Difference] | None) -> dict[str, Difference] | None:
        if differences is not None and set(differences) != set(DECIDING_SCORES):
            raise ValueError(f"its scores are not {', '.join(DECIDING_SCORES)}")
        return differences

    @field_validator("roc", "precision_recall")
    @classmethod
    def _has_all_classes(cls, curves: dict[str, _Part | None]) -> dict[str, _Part | None]:
        if set(curves) != set(CLASS_NAMES):
            raise ValueError(f"its classes are not {', '.join(CLASS_NAMES)}")
        return curves

    @model_validator(mode="after")
    def _tells_by_how_much(self) -> Self:
        if self.beats_cell_boosting is not None and self.cell_boosting_differences is None:
            raise ValueError("beats_cell_boosting stands without cell_boosting_differences")
        return self

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
        shown = {*self.errors.best, *self.errors.worst, *(cell.tile for cell in self.worst_cells)}
        if not shown <= tiles:
            raise ValueError(f"{sorted(shown - tiles)[0]!r} is none of its tiles")
        return self

    def fold_of(self, tile: str) -> str | None:
        """Return the fold whose checkpoint predicted a tile; ``None`` for runs without folds."""
        return next((fold.fold for fold in self.folds or () if tile in fold.tiles), None)
