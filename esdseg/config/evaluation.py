"""Settings of ``esdseg evaluate`` and ``esdseg restitch``."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from esdseg.config.section import Accelerator, Precision, SchedulerAddress, Section, Seed, SubtileSize
from esdseg.sensors.classes import GRID_SIZE
from esdseg.sensors.sensors import SensorName

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
        raise ValueError(f"{value!r} is no checkpoint's name, and no list of such names")
    return names[0] if len(names) == 1 else tuple(names)


class EvalConfig(Section):
    """What to predict, with which checkpoints, and where the results go."""

    checkpoint: Annotated[str | tuple[str, ...], BeforeValidator(_read_checkpoints)] = "best.ckpt"
    """A path, or a run below ``checkpoints_dir``: ``RUN``, ``RUN/best.ckpt``, or ``best.ckpt`` or
    ``last.ckpt`` of the newest run; ``RUN`` of all folds together; a sweep's folder, ``sweeps/NAME``, for its
    best trial. Several, in a list, predict together: the mean of their probabilities."""
    ensemble: Annotated[int, Field(ge=1)] | None = None
    """So many of a sweep's best trials predict together; ``checkpoint`` is then the sweep's folder."""
    checkpoints_dir: Path = Path("checkpoints")
    processed_dir: Path = Path("data/processed")
    subtile_size: SubtileSize | None = None
    split: Literal["auto", "train", "val", "test", "fold"] = "auto"
    """The tiles that ``evaluate`` scores. ``auto`` is ``fold`` for a fold's run, the tiles that it held out,
    else ``val``."""
    tiles: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """The tiles that ``restitch`` maps; all of the store unless given."""
    predictions_dir: Path = Path("predictions")
    name: FolderName | None = None
    """Folder below ``predictions_dir``; the model's name unless given."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Windows of a tile predicted at once; by default a tile's on a GPU, 32 cells on a processor."""
    tta: TestTimeAugmentation = "none"
    """Turns and flips of each window whose probabilities are averaged."""
    overlap: Annotated[int, Field(ge=0, lt=GRID_SIZE)] = 0
    """Label cells that neighbouring windows share; where they do, those at a window's edge count less."""
    window_size: SubtileSize | None = None
    """Label cells along each side of the windows; as in training unless given."""
    calibrate: bool | None = None
    """Fit a temperature and a threshold to what is predicted here, on the tiles that chose the epochs.
    Unless given, that is done where the checkpoints are calibrated and are not used as they were then: where
    several predict together, or ``tta``, ``overlap`` or other windows change what they say."""
    accelerator: Accelerator = "auto"
    precision: Precision = "auto"
    dask: SchedulerAddress | None = None
    """Address of a Dask scheduler whose workers predict the tiles; they must see the store and the
    checkpoints at the same paths."""
    simple_baselines: bool = True
    """Fit cell_logistic and cell_boosting to the checkpoint's training tiles and score them beside it; what
    was fitted is kept in ``predictions_dir/.baselines``."""
    bootstrap_resamples: Annotated[int, Field(ge=100)] = 2000
    """Resamples of the tiles behind each 95 % interval."""
    bootstrap_seed: Seed = 0

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """The names in ``checkpoint``."""
        return (self.checkpoint,) if isinstance(self.checkpoint, str) else self.checkpoint

    @model_validator(mode="after")
    def _check_windows(self) -> Self:
        if self.window_size is not None and self.overlap:
            check_overlap(self.overlap, self.window_size)
        return self


def check_overlap(overlap: int, window_size: int) -> None:
    """Refuse windows that cannot overlap so far (``ValueError``)."""
    if window_size == GRID_SIZE:
        raise ValueError(
            f"an overlap of {overlap} needs windows smaller than a tile; with windows of {window_size} cells "
            "there is but one. Add --window-size 8, or leave --overlap out"
        )
    if overlap >= window_size:
        raise ValueError(
            f"an overlap of {overlap} cells leaves windows of {window_size} no way on; use 1 to "
            f"{window_size - 1}"
            if window_size > 1
            else "windows of 1 cell cannot overlap"
        )


Level = Literal["sensor", "date", "band"]
"""What is taken away at once: all of a sensor, one of its dates, or one of its bands on all dates."""

LEVELS: tuple[Level, ...] = ("sensor", "date", "band")


class AblationConfig(EvalConfig):
    """Which checkpoint to take channels from, on which tiles it is scored, and what is taken away."""

    by: Annotated[tuple[Level, ...], Field(min_length=1)] | None = None
    """What is taken away at once; all three unless given, and for ``retrain`` sensors alone."""
    sensors: Annotated[tuple[SensorName, ...], Field(min_length=1)] | None = None
    """The sensors that something is taken away from; all that the checkpoint has unless given."""
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
