"""The checkpoints of all folds of a run, opened together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from esdseg.config import EvalConfig
from esdseg.errors import InputDataError
from esdseg.evaluation.inputs import Inputs, open_inputs
from esdseg.models import folds_name


@dataclass(frozen=True)
class FoldSet:
    """All folds of a run, with a store that fits them.

    Attributes:
        checkpoint: The pattern of their checkpoints' paths.
        inputs: Checkpoint and store of each fold, in order.
    """

    checkpoint: Path
    inputs: tuple[Inputs, ...]


def folds_pattern(checkpoints: Sequence[Path]) -> Path:
    """Return the pattern of the paths of all folds' checkpoints."""
    first = checkpoints[0]
    name = folds_name(first.parent.name.rpartition("-fold")[0], len(checkpoints))
    return first.parent.with_name(name) / first.name


def open_folds(config: EvalConfig, checkpoints: Sequence[Path]) -> FoldSet:
    """Load the checkpoints of all folds, open the store, and see that they belong together.

    Args:
        config: The store, and where the results go: unless named, to a folder called as the folds together.
        checkpoints: Of each fold, in order.

    Raises:
        InputDataError: One cannot be read, does not fit the store, or is not of the others' folds.
    """
    pattern = folds_pattern(checkpoints)
    name = config.name or pattern.parent.name.rpartition("-fold")[0]
    inputs = tuple(
        open_inputs(config.model_copy(update={"checkpoint": str(path), "name": name})) for path in checkpoints
    )
    metadata = [one.checkpoint.metadata for one in inputs]
    held_out = [tile for one in metadata for tile in one.held_out_tiles]
    if len(set(held_out)) < len(held_out) or len({one.manifest_hash for one in metadata}) > 1:
        raise InputDataError(
            f"{pattern.parent} do not belong together: they were trained on different versions of the store, "
            f"or hold out the same tiles. Train them in one go: `esdseg train --folds {len(inputs)} --name "
            "NAME`."
        )
    return FoldSet(pattern, inputs)
