"""Settings of ``esdseg evaluate`` and ``esdseg restitch``."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from esdseg.config.section import Accelerator, Precision, Section, Seed, SubtileSize

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


class EvalConfig(Section):
    """What to predict, with which checkpoint, and where the results go."""

    checkpoint: Annotated[str, Field(min_length=1)] = "best.ckpt"
    """A path, or a run below ``checkpoints_dir``: ``RUN``, ``RUN/best.ckpt``, or
    ``best.ckpt`` or ``last.ckpt`` of the newest run."""
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
    """Windows of a tile predicted at once; by default a tile's on a GPU, and on a processor 32 cells of them."""
    accelerator: Accelerator = "auto"
    precision: Precision = "auto"
    simple_baselines: bool = True
    """Fit cell_logistic and cell_boosting to the checkpoint's training tiles and score them beside it; what
    was fitted is kept in ``predictions_dir/.baselines``."""
    bootstrap_resamples: Annotated[int, Field(ge=100)] = 2000
    """Resamples of the tiles behind each 95 % interval."""
    bootstrap_seed: Seed = 0
