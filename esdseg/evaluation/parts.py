"""Which checkpoint predicts which tiles: one all of a split, or each fold's the tiles that it held out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from esdseg.config import EvalConfig
from esdseg.config.evaluation import ScoredSplit
from esdseg.errors import InputDataError, UsageError
from esdseg.evaluation.fold_set import folds_pattern, open_folds
from esdseg.evaluation.inputs import Inputs, open_inputs, select_tiles
from esdseg.metrics.arrays import IntArray
from esdseg.models import resolve_folds
from esdseg.store import SplitName, Store

_SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Part:
    """A checkpoint and the labelled tiles that it is scored on.

    Attributes:
        inputs: The checkpoint and the store.
        tiles: Names of the tiles, in natural order.
    """

    inputs: Inputs
    tiles: tuple[str, ...]


@dataclass(frozen=True)
class Scored:
    """All that one evaluation scores.

    Attributes:
        parts: The checkpoints with their tiles; no tile is in two.
        split: What the tiles are: a split of the store, or ``fold`` for tiles that were held out.
        checkpoint: The checkpoint's path, or the pattern of the folds' paths.
        output_dir: Folder for the results.
    """

    parts: tuple[Part, ...]
    split: ScoredSplit
    checkpoint: Path
    output_dir: Path

    @property
    def store(self) -> Store:
        """The store that holds the tiles."""
        return self.parts[0].inputs.store

    @property
    def run_name(self) -> str:
        """The run, or what the folds' runs are called together."""
        if len(self.parts) == 1:
            return self.parts[0].inputs.checkpoint.run_name
        return self.checkpoint.parent.name.rpartition("-fold")[0]

    @property
    def tiles(self) -> tuple[str, ...]:
        """All tiles, part after part."""
        return tuple(tile for part in self.parts for tile in part.tiles)

    def training_counts(self) -> IntArray:
        """Return the cells of each class, shape (4,), in the tiles that the checkpoints were trained on.

        Of several folds all are counted, so that a tile counts as often as it was trained on. Tiles that the
        store does not hold are left out; where it holds none, its own training tiles stand in.
        """
        trained_on = [
            tile
            for part in self.parts
            for tile in part.inputs.checkpoint.metadata.train_tiles
            if tile in self.store.manifest.tiles
        ]
        return self.store.class_counts(trained_on or self.store.tile_names("train"))

    def describe_folds(self) -> list[JsonValue] | None:
        """Return each fold's checkpoint and tiles for ``metrics.json``; ``None`` for runs without folds."""
        if self.split != "fold":
            return None
        return [
            {
                "fold": part.inputs.checkpoint.config.folds.fold,
                "seed": part.inputs.checkpoint.config.folds.seed,
                "checkpoint": str(part.inputs.checkpoint.path),
                "tiles": list(part.tiles),
                "temperature": part.inputs.checkpoint.metadata.temperature,
                "contest_threshold": part.inputs.checkpoint.metadata.contest_threshold,
            }
            for part in self.parts
        ]


def open_scored(config: EvalConfig) -> Scored:
    """Load the checkpoints and see which tiles each of them is scored on.

    Raises:
        InputDataError: A checkpoint, the store or a tile is missing or does not fit, or nothing is labelled.
        UsageError: The split cannot be scored by this checkpoint.
    """
    folds = resolve_folds(config.checkpoint, config.checkpoints_dir)
    if folds:
        return _open_folds(config, folds)
    inputs = open_inputs(config)
    held_out = inputs.checkpoint.metadata.held_out_tiles
    split = config.split
    if split == "auto":
        split = "fold" if held_out else "val"
    if split == "fold" and not held_out:
        raise UsageError(
            f"--split fold: {inputs.checkpoint.path} is of no fold, it held out no tiles; score it with "
            "--split val or --split test."
        )
    tiles = held_out if split == "fold" else inputs.store.tile_names(split)
    if split == "fold":
        select_tiles(inputs.store, tiles)
    part = Part(inputs, labelled_tiles(inputs.store, tiles, split, config))
    return Scored((part,), split, inputs.checkpoint.path, inputs.output_dir)


def _open_folds(config: EvalConfig, checkpoints: Sequence[Path]) -> Scored:
    """Open the checkpoints of all folds, each with the tiles that it held out."""
    together = folds_pattern(checkpoints).parent
    if config.split not in ("auto", "fold"):
        raise UsageError(
            f"--split {config.split}: {together} are scored together on the tiles that each of them held "
            f"out; for other tiles name one of them, such as --checkpoint {checkpoints[0].parent.name}."
        )
    folds = open_folds(config, checkpoints)
    parts = []
    for inputs in folds.inputs:
        tiles = select_tiles(inputs.store, inputs.checkpoint.metadata.held_out_tiles)
        parts.append(Part(inputs, labelled_tiles(inputs.store, tiles, "fold", config)))
    return Scored(tuple(parts), "fold", folds.checkpoint, parts[0].inputs.output_dir)


def labelled_tiles(
    store: Store, tiles: Sequence[str], split: ScoredSplit, config: EvalConfig
) -> tuple[str, ...]:
    """Return those of the tiles that have ground truth.

    Raises:
        InputDataError: There are none.
    """
    labelled = tuple(tile for tile in tiles if store.class_counts([tile]).any())
    if labelled:
        return labelled
    if tiles:
        raise InputDataError(
            f"The {len(tiles)} tiles of the {split} split of {store.path} have no ground truth to score "
            f"against; map them with `esdseg restitch --checkpoint {config.checkpoint} --processed-dir "
            f"{config.processed_dir}`, or score another split."
        )
    others = [f"--split {other}" for other in _SPLITS if store.tile_names(other)]
    raise InputDataError(
        f"{store.path} has no tiles in its {split} split; score one that has: {' or '.join(others)}, or "
        f"write the store anew with another --{'test' if split == 'test' else 'val'}-fraction."
    )
