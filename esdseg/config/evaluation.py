"""Settings of the commands that predict: evaluate, restitch and ablate."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from esdseg.config.preprocessing import ReflectanceOffset
from esdseg.config.section import (
    Accelerator,
    Precision,
    SchedulerAddress,
    Section,
    Seed,
    SubtileSize,
    WrittenAsText,
    shown_value,
)
from esdseg.sensors.classes import GRID_SIZE

ScoredSplit = Literal["train", "val", "test", "fold"]
"""A split of the store, or the tiles that a fold's run held out."""

TestTimeAugmentation = Literal["none", "flips", "d4"]
"""How a window is shown to the network: as it lies, in 4 flips, or in all 8 turns and flips of the square."""


def check_folder_name(name: str) -> str:
    """Return ``name`` if it names one folder and leads nowhere else.

    Raises:
        ValueError: It is empty, starts with a dot or a hyphen, or holds a separator or control character.
    """
    if not re.fullmatch(r"[^\s./\\:\x00-\x1f-][^/\\:\x00-\x1f]*", name) or name != name.strip():
        raise ValueError(
            f"{name!r} does not name one folder; use letters, digits, '-', '_' and '.', such as my-unet"
        )
    return name


FolderName = Annotated[str, AfterValidator(check_folder_name)]


def _read_checkpoints(value: object) -> object:
    """Turn a list of one name into that name; refuse what is no name and no list of names."""
    names = list(value) if isinstance(value, (list, tuple)) else [value]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{shown_value(value)} is no checkpoint's name, and no list of such names")
    return names[0] if len(names) == 1 else tuple(names)


class RunConfig(Section):
    """Which checkpoints act, where they lie, and what computes them."""

    checkpoint: Annotated[str | tuple[str, ...], BeforeValidator(_read_checkpoints)] = "best.ckpt"
    """A checkpoint's path, or a run in checkpoints/: RUN, RUN/last.ckpt, or a bare best.ckpt or last.ckpt for
    the newest run; RUN of all its folds; sweeps/NAME for a sweep's best trial. Several predict together, by
    the mean of their probabilities."""
    checkpoints_dir: Path = Path("checkpoints")
    """Folder that holds the runs."""
    subtile_size: SubtileSize | None = None
    """Side of the store's subtiles in label cells: 1, 2, 4, 8 or 16; needed where there are several."""
    window_size: SubtileSize | None = None
    """Side of the windows in label cells: 1, 2, 4, 8, or 16 for whole tiles; as in training unless given."""
    accelerator: Accelerator = "auto"
    """Hardware that computes."""

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """The names in ``checkpoint``."""
        return (self.checkpoint,) if isinstance(self.checkpoint, str) else self.checkpoint


class AreaConfig(RunConfig):
    """Which checkpoints act on which area of scenes, tiles or a store."""

    sensors: Path | None = None
    """FILE.yml that describes the sensors of scenes and tiles, or s2-s1, which comes with esdseg; those that
    the network was trained on unless given."""
    reflectance_offset: ReflectanceOffset | None = None
    """The offset that newer products of a sensor have added to their values: subtracted by_date, from all
    dates (subtract), or kept (keep); as it was for the network's own tiles unless given."""
    area: str | None = None
    """A part of the scenes: WEST,SOUTH,EAST,NORTH in degrees, or in metres with --crs; or a file of polygons,
    whose bounds are taken. All that they cover unless given."""
    crs: str | None = None
    """Projected reference system of the cells, such as EPSG:32736; the UTM zone of the area unless given."""


class NetworkPredictionConfig(RunConfig):
    """The settings of every prediction: which checkpoints see what windows, and what computes them."""

    ensemble: Annotated[int, Field(ge=1)] | None = None
    """The K best trials of a sweep, which is named as sweeps/NAME, predict together."""
    processed_dir: Path = Path("data/processed")
    """Folder that holds the processed data, with 4x4/ in it."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Windows predicted at once; unless given, those of a tile on a GPU and 32 cells on a CPU."""
    tta: TestTimeAugmentation = "none"
    """Average over flips (4) or all turns and flips (d4, 8) of each window; takes as many times as long."""
    overlap: Annotated[int, Field(ge=0, lt=GRID_SIZE)] = 0
    """Label cells that neighbouring windows share; there they are blended, their edges counting less."""
    calibrate: bool | None = None
    """Fit a temperature and a threshold to this prediction, on the runs' validation tiles. Unless given,
    this is done where calibrated checkpoints predict together, with tta or overlap, or in other windows than
    in training."""
    precision: Precision = "auto"
    """Floating-point precision of the network."""
    dask: SchedulerAddress | None = None
    """Address of a Dask scheduler whose workers predict the tiles, such as tcp://10.0.0.1:8786; they must see
    the same folders."""


class PredictionConfig(NetworkPredictionConfig):
    """The settings of commands that predict a store's tiles: how, and where the results go."""

    predictions_dir: Path = Path("predictions")
    """Folder of all results."""
    name: FolderName | None = None
    """Folder in predictions/ for the results; the model's name unless given."""

    @model_validator(mode="after")
    def _check_windows(self) -> Self:
        if self.window_size is not None and self.overlap:
            check_overlap(self.overlap, self.window_size)
        return self


class ScoredPredictionConfig(PredictionConfig):
    """A prediction of labelled tiles, and how the error bars of its scores are drawn."""

    split: Literal["auto", "train", "val", "test", "fold"] = "auto"
    """Tiles to score; fold means those that a fold's run held out. auto is fold for such a run, else val."""
    bootstrap_resamples: Annotated[int, Field(ge=100)] = 2000
    """Resamples of the tiles behind each 95 % interval."""
    bootstrap_seed: Seed = 0
    """Seed of the resamples."""


class EvalConfig(ScoredPredictionConfig):
    """Settings of ``esdseg evaluate``."""

    simple_baselines: bool = True
    """Fit logistic regression and boosted trees to the same training tiles and score them beside; they are
    kept for the next time."""


ByteValue = Annotated[int, Field(ge=0, le=255)]


def _check_contest_names(pattern: str) -> str:
    if "{number}" not in pattern or re.search(r"[{}]", pattern.replace("{number}", "")):
        raise ValueError(
            f"{pattern!r} does not name a map a tile; use {{number}} once, such as {{number}}.tif"
        )
    return pattern


def _check_two_values(values: tuple[int, ...]) -> tuple[int, ...]:
    if len(values) != 2 or values[0] == values[1]:
        raise ValueError(f"{shown_value(list(values))} is not two different values; use 1,0 or 255,0")
    return values


class RestitchConfig(PredictionConfig):
    """Settings of ``esdseg restitch``."""

    tiles: Annotated[tuple[str, ...], Field(min_length=1), WrittenAsText] | None = None
    """Tiles to map; all of the store unless given."""
    submission: Literal["classroom", "contest"] | None = None
    """Also write what is handed in: classroom is results.csv of pixelId,predictions for the class's
    leaderboard, contest is submission.zip of binary maps. The contest's rules for it are not at hand: compare
    names and values with them."""
    any_tiles: bool = False
    """Hand in any tiles, numbered from 1 in natural order, rather than Tile1 to Tile19 alone."""
    contest_names: Annotated[str, AfterValidator(_check_contest_names)] = "{number}.tif"
    """Names of the maps in the contest's zip; {number} is the tile's."""
    contest_values: Annotated[tuple[ByteValue, ...], WrittenAsText, AfterValidator(_check_two_values)] = (
        1,
        0,
    )
    """Values of settlement without electricity and of everything else in the contest's maps."""

    @model_validator(mode="after")
    def _is_submission_asked_for(self) -> Self:
        if self.any_tiles and self.submission is None:
            raise ValueError("any_tiles acts on what is handed in; add --submission, or leave it out")
        for name in ("contest_names", "contest_values"):
            is_set = getattr(self, name) != type(self).model_fields[name].default
            if is_set and self.submission != "contest":
                raise ValueError(f"{name} acts on --submission contest alone; add that, or leave it out")
        return self


class MapConfig(NetworkPredictionConfig, AreaConfig):
    """Settings of ``esdseg predict``."""

    overlap: Annotated[int, Field(ge=0, lt=GRID_SIZE)] = 2
    """Label cells that neighbouring windows share; there they are blended, their edges counting less. Unless
    given, smaller windows than 4 share half of their side."""
    calibrate: bool = False
    """Fit a temperature to this prediction, on the runs' validation tiles, which the store in
    --processed-dir holds. Otherwise each checkpoint's own temperature acts."""
    workers: Annotated[int, Field(ge=1)] | None = None
    """Processes that predict; unless given, one for two cores where the area is worth their start."""
    with_lit: bool = False
    """List settlements with electricity too."""
    population: Path | None = None
    """Raster of people in each pixel, such as WorldPop's; settlements get their number of people."""
    grid: Path | None = None
    """Vector file of the lines of the electricity grid; settlements get their distance to it."""
    vector_crs: Literal["map", "EPSG:4326"] = "map"
    """Reference system of the GeoPackage: the map's, or longitude and latitude."""

    @property
    def has_overlap_of_its_own(self) -> bool:
        """Whether the overlap was given, and not left to the windows' size."""
        return "overlap" in self.model_fields_set


class AdaptConfig(AreaConfig):
    """Settings of ``esdseg adapt``."""

    name: FolderName | None = None
    """Folder in checkpoints/ of the adapted network; RUN-adapted unless given."""


def check_overlap(overlap: int, window_size: int) -> None:
    """Refuse windows that cannot overlap so far (``ValueError``)."""
    if window_size == GRID_SIZE:
        raise ValueError(
            f"an overlap of {overlap} needs windows smaller than a tile; with windows of {window_size} cells "
            "there is but one. Add --window-size 8, or leave --overlap out"
        )
    if overlap >= window_size:
        raise ValueError(
            f"an overlap of {overlap} cells must be smaller than the window of {window_size}; use 1 to "
            f"{window_size - 1}"
            if window_size > 1
            else "windows of 1 cell cannot overlap"
        )


Level = Literal["sensor", "place", "band"]
"""What is taken away at once: all of a sensor, one of its places, or one of its bands at all places."""

LEVELS: tuple[Level, ...] = ("sensor", "place", "band")


class AblationConfig(ScoredPredictionConfig):
    """Settings of ``esdseg ablate``."""

    by: Annotated[tuple[Level, ...], Field(min_length=1), WrittenAsText] | None = None
    """What is taken away at once: sensor, place, band. All three unless given; with --retrain, sensors
    alone."""
    sensors: Annotated[tuple[str, ...], Field(min_length=1), WrittenAsText] | None = None
    """Sensors from which something is taken away; all that the network has unless given."""
    retrain: bool = False
    """Also train again without each group, with the checkpoint's own settings."""

    @model_validator(mode="after")
    def _is_one_network(self) -> Self:
        if len(self.checkpoints) > 1 or self.ensemble is not None or self.calibrate is not None:
            raise ValueError(
                "channels are taken away from one network with its own temperature; name one checkpoint, "
                "without ensemble and calibrate"
            )
        if self.dask is not None:
            raise ValueError("an ablation predicts on this machine alone; leave dask out")
        return self
