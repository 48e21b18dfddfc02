"""What ``--checkpoint`` names: single checkpoints, all folds of a run, or a sweep's best trials."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from esdseg.config.evaluation import PredictionConfig, check_overlap
from esdseg.errors import InputDataError, UsageError
from esdseg.models.checkpoint import LoadedCheckpoint, load_checkpoint
from esdseg.models.checkpoint_lookup import find_sweep, folds_name, resolve_checkpoint, resolve_folds
from esdseg.prediction.inputs import Inputs, check_store, open_store_for
from esdseg.sensors.classes import GRID_SIZE

NAMED_RUNS = 3
"""Runs whose names make up the name of an ensemble; of more only the first is named."""


@dataclass(frozen=True)
class Source:
    """A run that predicts: by one checkpoint, or in folds.

    Attributes:
        run: What it is called.
        path: Of its checkpoint, or the pattern of the folds' paths.
        checkpoints: The one, or each fold's in order.
        is_trial: Whether it is one of a sweep's best trials.
    """

    run: str
    path: Path
    checkpoints: tuple[LoadedCheckpoint, ...]
    is_trial: bool = False

    @property
    def is_folds(self) -> bool:
        """Whether these are all folds of a run."""
        return len(self.checkpoints) > 1

    def predicting(self, tile: str) -> tuple[LoadedCheckpoint, ...]:
        """Return what predicts a tile: of folds the one that held it out, where there is one, else all."""
        held_out = [one for one in self.checkpoints if tile in one.metadata.held_out_tiles]
        return (held_out[0],) if self.is_folds and held_out else self.checkpoints


@dataclass(frozen=True)
class Sources:
    """All that predicts together.

    Attributes:
        sources: The runs.
        inputs: All their checkpoints, and the store.
        name: What they are called together, as a run is.
    """

    sources: tuple[Source, ...]
    inputs: Inputs
    name: str

    @property
    def paths(self) -> str:
        """The checkpoints that were taken: a path, or the pattern of folds; of several runs with commas."""
        return ", ".join(str(source.path) for source in self.sources)

    @property
    def is_one_in_folds(self) -> bool:
        """Whether this is one run, in folds."""
        return len(self.sources) == 1 and self.sources[0].is_folds

    @property
    def of_sweep(self) -> bool:
        """Whether a run is one of a sweep's best trials."""
        return any(source.is_trial for source in self.sources)

    def grouped(self, tiles: Sequence[str]) -> list[tuple[Inputs, tuple[str, ...]]]:
        """Group tiles by the checkpoints that predict them, in the order of the folds."""
        position = {str(one.path): index for index, one in enumerate(self.inputs.checkpoints)}
        groups: dict[tuple[int, ...], list[str]] = {}
        for tile in tiles:
            predicting = [one for source in self.sources for one in source.predicting(tile)]
            groups.setdefault(tuple(position[str(one.path)] for one in predicting), []).append(tile)
        # What more checkpoints predict comes after what the folds held out.
        order = sorted(groups, key=lambda one: (len(one), one))
        return [(self.inputs.only(places), tuple(groups[places])) for places in order]


def open_sources(config: PredictionConfig) -> Sources:
    """Find and load all checkpoints, open the store, and see that they fit.

    Raises:
        InputDataError: One is missing or unreadable, or the store lacks what it needs.
        UsageError: One is named twice, or cannot work on the windows that are asked for.
    """
    sources = [source for name in config.checkpoints for source in _open_named(name, config)]
    for index, source in enumerate(sources):
        if source.path.resolve() in [other.path.resolve() for other in sources[:index]]:
            raise UsageError(f"--checkpoint names {source.path} twice; an ensemble counts each run once.")
    checkpoints = tuple(one for source in sources for one in source.checkpoints)
    _check_overlap(checkpoints, config)
    store = open_store_for(checkpoints, config, is_ensemble=len(sources) > 1)
    for checkpoint in checkpoints:
        check_store(checkpoint, store)
    name = _name_of(sources, config)
    is_plain = len(sources) == 1 and not sources[0].is_folds
    folder = config.name or (checkpoints[0].config.model.folder_name if is_plain else name)
    return Sources(tuple(sources), Inputs(checkpoints, store, config.predictions_dir / folder), name)


def _open_named(name: str, config: PredictionConfig) -> list[Source]:
    sweep = find_sweep(name, config.checkpoints_dir)
    if sweep is not None:
        return [replace(_open_one(path, config), is_trial=True) for path in sweep.best(config.ensemble or 1)]
    if config.ensemble is not None:
        raise UsageError(
            f"--ensemble {config.ensemble}: {name!r} is no sweep's folder, whose best trials could be taken; "
            "name one, such as --checkpoint sweeps/unet, or give each checkpoint with its own --checkpoint."
        )
    folds = resolve_folds(name, config.checkpoints_dir)
    if folds:
        return [_open_folds(folds, config)]
    return [_open_one(resolve_checkpoint(name, config.checkpoints_dir), config)]


def _open_one(path: Path, config: PredictionConfig) -> Source:
    checkpoint = load_checkpoint(path, config.window_size)
    return Source(checkpoint.run_name, path, (checkpoint,))


def _open_folds(paths: Sequence[Path], config: PredictionConfig) -> Source:
    """Load the checkpoints of all folds and see that they belong together."""
    run = paths[0].parent.name.rpartition("-fold")[0]
    pattern = paths[0].parent.with_name(folds_name(run, len(paths))) / paths[0].name
    checkpoints = tuple(load_checkpoint(path, config.window_size) for path in paths)
    metadata = [one.metadata for one in checkpoints]
    held_out = [tile for one in metadata for tile in one.held_out_tiles]
    if len(set(held_out)) < len(held_out) or len({one.manifest_hash for one in metadata}) > 1:
        raise InputDataError(
            f"{pattern.parent} do not belong together: they were trained on different versions of the store, "
            f"or hold out the same tiles. Train them in one go: `esdseg train --folds {len(paths)} --name "
            "NAME`."
        )
    return Source(run, pattern, checkpoints)


def _check_overlap(checkpoints: Sequence[LoadedCheckpoint], config: PredictionConfig) -> None:
    """Refuse an overlap that some windows cannot have; windows of whole tiles beside others have none."""
    if not config.overlap:
        return
    sizes = {one.window_size for one in checkpoints}
    for one in checkpoints:
        if one.window_size == GRID_SIZE and len(sizes) > 1:
            continue
        try:
            check_overlap(config.overlap, one.window_size)
        except ValueError as error:
            raise UsageError(f"--overlap {config.overlap}: {one.path}: {error}.") from None


def _name_of(sources: Sequence[Source], config: PredictionConfig) -> str:
    """Return what the runs are called together: by their folders, since checkpoints may claim any name.

    Where two lie in folders of one name, the files' names tell them apart: ``first-best+first-last``.
    """
    if len(sources) == 1:
        return sources[0].run
    if len(config.checkpoints) == 1:
        names = [Path(config.checkpoints[0]).resolve().name, f"best{len(sources)}"]
    else:
        names = [source.run if source.is_folds else source.path.resolve().parent.name for source in sources]
        names = [
            f"{name}-{source.path.stem}" if names.count(name) > 1 and not source.is_folds else name
            for name, source in zip(names, sources, strict=True)
        ]
        if len(names) > NAMED_RUNS:
            names = [names[0], f"{len(names) - 1}-more"]
    return "+".join(names)
