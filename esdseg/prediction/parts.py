"""Which checkpoints predict which tiles: all those of a split, or each fold's the tiles that it held out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from esdseg.config.evaluation import ScoredPredictionConfig, ScoredSplit
from esdseg.errors import InputDataError, UsageError
from esdseg.metrics.confusion import IntArray
from esdseg.metrics.scorecard import EnsembleMember, FoldScored
from esdseg.prediction.inputs import Inputs, select_tiles, shorten
from esdseg.prediction.sources import Sources, open_sources
from esdseg.store.manifest import SplitName
from esdseg.store.store import Store

_SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Part:
    """Checkpoints that predict together, and the labelled tiles that they are scored on.

    Attributes:
        inputs: The checkpoints, mostly one, and the store.
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
        checkpoint: The checkpoint's path, or the pattern of the folds' paths; of several runs with commas.
        run_name: The run; or what the folds, or the runs that predict together, are called.
        output_dir: Folder for the results.
        of_sweep: Whether the checkpoints are a sweep's best, whose validation tiles then chose them too.
    """

    parts: tuple[Part, ...]
    split: ScoredSplit
    checkpoint: str
    run_name: str
    output_dir: Path
    of_sweep: bool = False

    @property
    def store(self) -> Store:
        """The store that holds the tiles."""
        return self.parts[0].inputs.store

    @property
    def tiles(self) -> tuple[str, ...]:
        """All tiles, part after part."""
        return tuple(tile for part in self.parts for tile in part.tiles)

    def writing_to(self, folder: Path) -> "Scored":
        """Return the same with another folder for the results."""
        parts = tuple(replace(part, inputs=replace(part.inputs, output_dir=folder)) for part in self.parts)
        return replace(self, parts=parts, output_dir=folder)

    @property
    def model_names(self) -> str:
        """The model, or the models that predict together."""
        names = [one.config.model.name for part in self.parts for one in part.inputs.checkpoints]
        return " + ".join(dict.fromkeys(names))

    @property
    def parameters(self) -> int:
        """Numbers that the checkpoints learned which predict a tile."""
        return sum(
            values.numel() for one in self.parts[0].inputs.checkpoints for values in one.model.parameters()
        )

    def training_counts(self) -> IntArray:
        """Return the cells of each class, shape (4,), in the tiles that the checkpoints were trained on.

        Of several checkpoints all are counted, so that a tile counts as often as it was trained on. Tiles
        that the store does not hold are left out; where it holds none, its own training tiles stand in.
        """
        trained_on = [
            tile
            for part in self.parts
            for checkpoint in part.inputs.checkpoints
            for tile in checkpoint.metadata.train_tiles
            if tile in self.store.manifest.tiles
        ]
        return self.store.class_counts(trained_on or self.store.tile_names("train"))

    def describe_folds(self) -> tuple[FoldScored, ...] | None:
        """Return each fold's checkpoint and tiles; ``None`` for runs without folds.

        Where runs in folds predict together, an entry is of the folds that held out the same tiles.
        """
        if self.split != "fold":
            return None
        return tuple(
            FoldScored(
                fold="+".join(str(one.config.folds.fold) for one in part.inputs.checkpoints),
                seed=part.inputs.checkpoint.config.folds.seed,
                checkpoint=", ".join(str(one.path) for one in part.inputs.checkpoints),
                tiles=part.tiles,
                temperature=part.inputs.temperature,
                contest_threshold=part.inputs.threshold,
            )
            for part in self.parts
        )

    def describe_ensemble(self) -> tuple[EnsembleMember, ...] | None:
        """Return each checkpoint that predicts together with others; ``None`` where one predicts alone."""
        if all(len(part.inputs.checkpoints) == 1 for part in self.parts):
            return None
        members = {one.path: one for part in self.parts for one in part.inputs.checkpoints}
        return tuple(
            EnsembleMember(
                run=one.run_name,
                checkpoint=str(path),
                model=one.config.model.name,
                channels=len(one.channels),
                window_size=one.window_size,
                temperature=one.metadata.temperature,
            )
            for path, one in members.items()
        )


def open_scored(config: ScoredPredictionConfig) -> Scored:
    """Load the checkpoints and see which tiles each of them is scored on.

    Raises:
        InputDataError: A checkpoint, the store or a tile is missing or does not fit, or nothing is labelled.
        UsageError: The split cannot be scored by these checkpoints, such as when one that predicts together
            with others was trained on it.
    """
    sources = open_sources(config)
    split = _split_of(sources, config.split)
    store = sources.inputs.store
    if split == "fold":
        tiles = select_tiles(store, _held_out_by_all(sources))
        parts = [
            Part(inputs, labelled_tiles(store, group, split, config))
            for inputs, group in sources.grouped(tiles)
        ]
    else:
        parts = [Part(sources.inputs, labelled_tiles(store, store.tile_names(split), split, config))]
    if len(sources.sources) > 1 and split != "train":
        _refuse_trained_on(parts, split)
    output_dir = sources.inputs.output_dir
    return Scored(tuple(parts), split, sources.paths, sources.name, output_dir, sources.of_sweep)


def _split_of(sources: Sources, asked: Literal["auto", "train", "val", "test", "fold"]) -> ScoredSplit:
    """Decide what ``auto`` means, and refuse what the checkpoints cannot be scored on."""
    together = next((source for source in sources.sources if source.is_folds), None)
    held_out = all(one.metadata.held_out_tiles for one in sources.inputs.checkpoints)
    if together is not None and asked not in ("auto", "fold"):
        raise UsageError(
            f"--split {asked}: {together.path.parent} are scored together on the tiles that each of them "
            "held out; for other tiles name one of them, such as --checkpoint "
            f"{together.checkpoints[0].path.parent.name}."
        )
    if asked == "auto":
        return "fold" if held_out or together is not None else "val"
    if asked == "fold" and not held_out:
        plain = next(one for one in sources.inputs.checkpoints if not one.metadata.held_out_tiles)
        raise UsageError(
            f"--split fold: {plain.path} is of no fold, it held out no tiles; score it with --split val or "
            "--split test."
        )
    return asked


def _held_out_by_all(sources: Sources) -> list[str]:
    """Return the tiles that every run held out, fold by fold of the first."""
    by_run = [
        [tile for one in source.checkpoints for tile in one.metadata.held_out_tiles]
        for source in sources.sources
    ]
    shared = [tile for tile in by_run[0] if all(tile in held_out for held_out in by_run)]
    if not shared:
        names = " and ".join(str(source.path) for source in sources.sources)
        raise UsageError(
            f"{names} held out no tile in common, so they cannot be scored together: each was trained on, or "
            "chosen by, what another held out. Name the run whose folds they are to score each tile by the "
            "fold that held it out."
        )
    return shared


def _refuse_trained_on(parts: Sequence[Part], split: ScoredSplit) -> None:
    """Refuse an ensemble a member of which was trained on tiles that are to be scored (``UsageError``)."""
    for part in parts:
        for one in part.inputs.checkpoints:
            shared = [tile for tile in part.tiles if tile in one.metadata.train_tiles]
            if shared:
                raise UsageError(
                    f"{one.path} was trained on {len(shared)} of the {split} tiles that the ensemble is to "
                    f"be scored on ({shorten(shared)}); leave it out, or score tiles that none was trained "
                    "on, such as --split test."
                )


def labelled_tiles(
    store: Store, tiles: Sequence[str], split: ScoredSplit, config: ScoredPredictionConfig
) -> tuple[str, ...]:
    """Return those of the tiles that have ground truth.

    Raises:
        InputDataError: There are none.
    """
    labelled = tuple(tile for tile in tiles if store.class_counts([tile]).any())
    if labelled:
        return labelled
    if tiles:
        named = " ".join(f"--checkpoint {name}" for name in config.checkpoints)
        raise InputDataError(
            f"The {len(tiles)} tiles of the {split} split of {store.path} have no ground truth to score "
            f"against; map them with `esdseg restitch {named} --processed-dir {config.processed_dir}`, or "
            "score another split."
        )
    others = [f"--split {other}" for other in _SPLITS if store.tile_names(other)]
    raise InputDataError(
        f"{store.path} has no tiles in its {split} split; score one that has: {' or '.join(others)}, or "
        f"write the store anew with another --{'test' if split == 'test' else 'val'}-fraction."
    )
