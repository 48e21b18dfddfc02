"""Settings of ``esdseg evaluate`` and ``esdseg restitch``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from esdseg.config.section import Accelerator, Precision, Section, Seed, SubtileSize

SplitName = Literal["train", "val", "test"]


class EvalConfig(Section):
    """What to predict, with which checkpoint, and where the results go."""

    checkpoint: Annotated[str, Field(min_length=1)] = "best.ckpt"
    """A path, or a run below ``checkpoints_dir``: ``RUN``, ``RUN/best.ckpt``, or
    ``best.ckpt`` or ``last.ckpt`` of the newest run."""
    checkpoints_dir: Path = Path("checkpoints")
    processed_dir: Path = Path("data/processed")
    subtile_size: SubtileSize | None = None
    split: SplitName = "val"
    """The tiles that ``evaluate`` scores."""
    tiles: tuple[str, ...] | None = None
    """The tiles that ``restitch`` maps; all of the store unless given."""
    predictions_dir: Path = Path("predictions")
    name: str | None = None
    """Folder below ``predictions_dir``; the run's name unless given."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    accelerator: Accelerator = "auto"
    precision: Precision = "auto"
    bootstrap_resamples: Annotated[int, Field(ge=100)] = 2000
    """Resamples of the tiles behind each 95 % interval."""
    bootstrap_seed: Seed = 0
