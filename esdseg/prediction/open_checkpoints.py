"""Opening what ``--checkpoint`` names, with a store that fits it, or refusing it."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from esdseg.baselines.checkpoint import open_checkpoint
from esdseg.config.evaluation import (
    NetworkPredictionConfig,
    PredictionConfig,
    RestitchConfig,
    RunConfig,
    ScoredPredictionConfig,
    ScoredSplit,
    check_overlap,
)
from esdseg.config.preprocessing import Recipe
from esdseg.errors import InputDataError, UsageError
from esdseg.models.bundle import Bundle, BundledRun, bundle_of
from esdseg.models.checkpoint import LoadedCheckpoint
from esdseg.models.runs import find_bundle, find_sweep, folds_name, resolve_checkpoint, resolve_folds
from esdseg.prediction.known_tiles import KnownTiles, find_lost_tiles
from esdseg.prediction.sources import Ensemble, Run, Sources, shorten
from esdseg.sensors.channels import sensor_names
from esdseg.sensors.classes import GRID_SIZE
from esdseg.store.commands import UNKNOWN_RAW_DIR
from esdseg.store.manifest import SplitName
from esdseg.store.store import Store, open_store

NAMED_RUNS = 3
"""Runs whose names make up the name of an ensemble; of more only the first is named."""

_SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


def open_for_scoring(config: ScoredPredictionConfig) -> Sources:
    """Open the checkpoints, and see which labelled tiles each of them is scored on.

    Raises:
        InputDataError: A checkpoint, the store or a tile is missing or does not fit, or nothing is labelled.
        UsageError: The split cannot be scored by these checkpoints, such as when one that predicts together
            with others was trained on it.
    """
    sources = open_checkpoints(config)
    split = _split_of(sources, config.split)
    store = sources.store
    if split == "fold":
        ensembles = sources.predicting(_held_out_by_all(sources))
    else:
        ensembles = (Ensemble(sources.checkpoints, store, store.tile_names(split)),)
    scored = tuple(
        replace(ensemble, tiles=_labelled_tiles(store, ensemble.tiles, split, config))
        for ensemble in ensembles
    )
    if len(sources.runs) > 1 and split != "train":
        _refuse_trained_on(scored, split)
    return replace(sources, ensembles=scored, split=split)


def open_for_mapping(config: RestitchConfig) -> Sources:
    """Open the checkpoints for the tiles that are to be mapped, all of the store unless some are named.

    Raises:
        InputDataError: A checkpoint, the store or a tile is missing or does not fit.
        UsageError: A checkpoint is named twice, or cannot work on the windows that are asked for.
    """
    sources = open_checkpoints(config)
    return replace(sources, ensembles=sources.predicting(sources.store.select(config.tiles)))


def open_checkpoints(config: PredictionConfig) -> Sources:
    """Find and load all checkpoints, open the store, and see that they fit.

    Raises:
        InputDataError: One is missing or unreadable, or the store lacks what it needs.
        UsageError: One is named twice, or cannot work on the windows that are asked for.
    """
    runs = open_runs(config)
    checkpoints = tuple(checkpoint for run in runs for checkpoint in run.checkpoints)
    _check_overlap(checkpoints, config)
    store = _open_store_for(checkpoints, config, is_ensemble=len(runs) > 1)
    for checkpoint in checkpoints:
        check_store(checkpoint, store)
    name = name_of_runs(runs, config)
    is_plain = len(runs) == 1 and not runs[0].is_folds
    folder = config.name or (checkpoints[0].config.model.folder_name if is_plain else name)
    return Sources(runs, store, name, config.predictions_dir / folder)


def open_runs(config: RunConfig) -> tuple[Run, ...]:
    """Find and load all checkpoints that the settings name; no store is looked for.

    Raises:
        InputDataError: One is missing or unreadable.
        UsageError: One is named twice, or cannot work on the windows that are asked for.
    """
    runs = tuple(run for name in config.checkpoints for run in _open_named(name, config))
    for index, run in enumerate(runs):
        if run.path.resolve() in [other.path.resolve() for other in runs[:index]]:
            raise UsageError(f"{run.path} is named twice; an ensemble counts each run once.")
    return runs


def _open_named(name: str, config: RunConfig) -> list[Run]:
    ensemble = config.ensemble if isinstance(config, NetworkPredictionConfig) else None
    sweep = find_sweep(name, config.checkpoints_dir)
    if sweep is not None:
        return [replace(_open_one(path, config), is_trial=True) for path in sweep.best(ensemble or 1)]
    if ensemble is not None:
        raise UsageError(
            f"--ensemble {ensemble}: {name!r} is no sweep's folder, whose best trials could be taken; "
            "name one, such as sweeps/unet. Or leave --ensemble out and name several runs, each by its own "
            "--checkpoint; `esdseg predict` takes further runs by --with."
        )
    bundle = find_bundle(name, config.checkpoints_dir)
    if bundle is not None:
        return [_open_bundled(bundle, run, config) for run in bundle.runs]
    folds = resolve_folds(name, config.checkpoints_dir)
    if folds:
        run_name = folds[0].parent.name.rpartition("-fold")[0]
        pattern = folds[0].parent.with_name(folds_name(run_name, len(folds))) / folds[0].name
        return [_open_folds(run_name, pattern, folds, config)]
    return [_open_one(resolve_checkpoint(name, config.checkpoints_dir), config)]


def _open_one(path: Path, config: RunConfig) -> Run:
    checkpoint = open_checkpoint(path, config.window_size)
    return Run(checkpoint.run_name, path, (checkpoint,))


def _open_bundled(bundle: Bundle, run: BundledRun, config: RunConfig) -> Run:
    paths = [bundle.path / name for name in run.checkpoints]
    if len(paths) > 1:
        return _open_folds(run.name, bundle.path / "*" / paths[0].name, paths, config)
    return replace(_open_one(paths[0], config), is_trial=run.is_trial)


def _open_folds(name: str, pattern: Path, paths: Sequence[Path], config: RunConfig) -> Run:
    """Load the checkpoints of all folds of a run and see that they belong together."""
    checkpoints = tuple(open_checkpoint(path, config.window_size) for path in paths)
    metadata = [checkpoint.metadata for checkpoint in checkpoints]
    held_out = [tile for trained in metadata for tile in trained.held_out_tiles]
    if len(set(held_out)) < len(held_out) or len({trained.manifest_hash for trained in metadata}) > 1:
        raise InputDataError(
            f"{pattern.parent} do not belong together: they were trained on different versions of the store, "
            f"or hold out the same tiles. Train them in one go: `esdseg train --folds {len(paths)} --name "
            "NAME`."
        )
    return Run(name, pattern, checkpoints)


def _check_overlap(checkpoints: Sequence[LoadedCheckpoint], config: PredictionConfig) -> None:
    """Refuse an overlap that some windows cannot have; windows of whole tiles beside others have none."""
    if not config.overlap:
        return
    sizes = {checkpoint.window_size for checkpoint in checkpoints}
    for checkpoint in checkpoints:
        if checkpoint.window_size == GRID_SIZE and len(sizes) > 1:
            continue
        try:
            check_overlap(config.overlap, checkpoint.window_size)
        except ValueError as error:
            raise UsageError(f"--overlap {config.overlap}: {checkpoint.path}: {error}.") from None


def name_of_runs(runs: Sequence[Run], config: NetworkPredictionConfig) -> str:
    """Return what the runs are called together: by their folders, since checkpoints may claim any name.

    Where two lie in folders of one name, the files' names tell them apart: ``first-best+first-last``.
    """
    if len(runs) == 1:
        return runs[0].name
    if len(config.checkpoints) == 1:
        source = Path(config.checkpoints[0]).resolve()
        name = source.stem if source.is_file() else source.name
        names = [name, f"best{len(runs)}"] if runs[0].is_trial else [name]
    else:
        names = [run.name if run.is_folds else run.path.resolve().parent.name for run in runs]
        names = [
            f"{name}-{run.path.stem}" if names.count(name) > 1 and not run.is_folds else name
            for name, run in zip(names, runs, strict=True)
        ]
        if len(names) > NAMED_RUNS:
            names = [names[0], f"{len(names) - 1}-more"]
    return "+".join(names)


def _open_store_for(
    checkpoints: Sequence[LoadedCheckpoint], config: PredictionConfig, *, is_ensemble: bool
) -> Store:
    """Open the store that checkpoints predict from: that of the size which the first was trained on.

    Args:
        checkpoints: What predicts.
        config: Where the store is, and perhaps its size.
        is_ensemble: Whether these are several runs, which may have been trained on stores of several sizes;
            of one run, a size that it was not trained on is more likely a mistake.

    Raises:
        InputDataError: There is none, or its size is not that of the one run.
    """
    first = checkpoints[0]
    if not is_ensemble and config.subtile_size not in (None, first.subtile_size):
        raise InputDataError(
            f"{first.path} was trained on subtiles of {first.subtile_size} cells, not of "
            f"{config.subtile_size}; leave --subtile-size out, or train one with `esdseg train "
            f"--subtile-size {config.subtile_size}`."
        )
    return open_store(config.processed_dir, config.subtile_size or first.subtile_size)


def check_store(checkpoint: LoadedCheckpoint, store: Store) -> None:
    """Refuse a store without any of the checkpoint's bands, or of other steps (``InputDataError``)."""
    _check_channels(checkpoint, store)
    _check_recipe(checkpoint, store)


def _check_channels(checkpoint: LoadedCheckpoint, store: Store) -> None:
    """Refuse a store whose sensors are described otherwise, or of which a network would see nothing.

    Places that a tile lacks are no data, whatever dates it has.

    Raises:
        InputDataError: The store's numbers mean something else than the checkpoint's, or no tile has any of
            its channels.
    """
    stored = store.manifest.sensors.sensors
    for sensor in {channel.sensor for channel in checkpoint.channels}:
        own = stored.get(sensor.name)
        if own is not None and (own.kind, own.conversion) != (sensor.kind, sensor.conversion):
            raise InputDataError(
                f"{store.path} describes {sensor.name} otherwise than {checkpoint.path} was trained with: "
                f"{own.kind}, {own.conversion.name} instead of {sensor.kind}, {sensor.conversion.name}, or "
                f"with other numbers. Write the store anew with the checkpoint's description: {_anew(store)} "
                "--sensors FILE.yml --overwrite`; or train on this store."
            )
    bands = {(channel.sensor.name, channel.band) for channel in checkpoint.channels}
    held = {(sensor, band) for sensor, kept in store.manifest.bands.items() for band in kept}
    if not bands & held:
        names = [" ".join(band) for band in sorted(bands)]
        raise InputDataError(
            f"{store.path} holds none of the bands that {checkpoint.path} was trained on: {shorten(names)}. "
            f"Write a store that holds them, from raw tiles with these bands: {_anew(store)} --overwrite`; "
            "or train on this store."
        )


def _check_recipe(checkpoint: LoadedCheckpoint, store: Store) -> None:
    """Refuse a store whose values were written by other steps than the checkpoint's (``InputDataError``)."""
    names = sensor_names(checkpoint.channels)
    differing = differing_steps(checkpoint.metadata.recipe, store.manifest.config.recipe, names)
    if differing:
        raise InputDataError(
            f"{store.path} was written by another recipe than {checkpoint.path} was trained on: "
            f"{'; '.join(differing)}. Write it anew with the checkpoint's recipe: {_anew(store)} --config "
            "FILE.yml --overwrite`, FILE.yml holding the recipe; or train on this store."
        )


def _anew(store: Store) -> str:
    """Return the beginning, after a backquote, of a command that writes a store anew from its raw tiles."""
    folder = shlex.quote(str(store.path.parent))
    return (
        f"`esdseg preprocess --raw-dir {UNKNOWN_RAW_DIR} --processed-dir {folder} --subtile-size "
        f"{store.subtile_size}"
    )


def differing_steps(expected: Recipe, found: Recipe, sensors: Sequence[str]) -> tuple[str, ...]:
    """Return in words which steps that shape the stored values of some sensors differ."""
    steps = zip(
        _writing_steps(expected, sensors).items(), _writing_steps(found, sensors).values(), strict=True
    )
    return tuple(f"{key} {other!r} instead of {value!r}" for (key, value), other in steps if other != value)


def _writing_steps(recipe: Recipe, sensors: Sequence[str]) -> dict[str, object]:
    """Return what shapes stored values; the scale of ``training_tiles`` is the network's own affair."""
    steps: dict[str, object] = {"scale_by": recipe.scale_by}
    for sensor in sensors:
        own = recipe.steps(sensor)
        steps[f"{sensor}.smoothing_sigma_px"] = own.smoothing_sigma_px
        steps[f"{sensor}.clip_fraction"] = own.clip_fraction if recipe.scale_by == "tile" else None
        steps[f"{sensor}.gamma"] = own.gamma if recipe.scale_by == "tile" else None
    steps["rescale"] = recipe.rescale if recipe.scale_by == "tile" else None
    return steps


def _split_of(sources: Sources, asked: Literal["auto", "train", "val", "test", "fold"]) -> ScoredSplit:
    """Decide what ``auto`` means, and refuse what the checkpoints cannot be scored on."""
    together = next((run for run in sources.runs if run.is_folds), None)
    held_out = all(checkpoint.metadata.held_out_tiles for checkpoint in sources.checkpoints)
    if together is not None and asked not in ("auto", "fold"):
        first = together.checkpoints[0].path
        raise UsageError(
            f"--split {asked}: {together.path.parent} are scored together on the tiles that each of them "
            "held out; for other tiles name one of them, such as --checkpoint "
            f"{first.parent.name if bundle_of(first) is None else first}."
        )
    if asked == "auto":
        return "fold" if held_out or together is not None else "val"
    if asked == "fold" and not held_out:
        plain = next(
            checkpoint for checkpoint in sources.checkpoints if not checkpoint.metadata.held_out_tiles
        )
        raise UsageError(
            f"--split fold: {plain.path} is of no fold, it held out no tiles; score it with --split val or "
            "--split test."
        )
    return asked


def _held_out_by_all(sources: Sources) -> tuple[str, ...]:
    """Return the store's tiles that every run held out.

    Raises:
        InputDataError: The store lacks some of the tiles that were held out.
        UsageError: The runs held out no tile in common.
    """
    store, shared = sources.store, set(sources.store.manifest.tiles)
    for run in sources.runs:
        shared &= KnownTiles.union(run.held_out(store, tuple(store.manifest.tiles))).all
        for checkpoint in run.checkpoints:
            held_out = checkpoint.metadata.held_out_tiles
            lost = find_lost_tiles(checkpoint.metadata, held_out, store)
            if lost:
                others = [tile for tile in lost if tile in store.manifest.tiles]
                but = f", though other tiles of these names ({shorten(others)})" if others else ""
                raise InputDataError(
                    f"{store.path} lacks {len(lost)} of the {len(held_out)} tiles that {checkpoint.path} "
                    f"held out ({shorten(lost)}){but}. Score it on the store that it was trained on, or this "
                    "fold alone on other tiles with --split val or --split test."
                )
    if not shared:
        names = " and ".join(str(run.path) for run in sources.runs)
        raise UsageError(
            f"{names} held out no tile in common, so they cannot be scored together: each was trained on, or "
            "chosen by, what another held out. Name the run whose folds they are to score each tile by the "
            "fold that held it out."
        )
    return tuple(tile for tile in store.manifest.tiles if tile in shared)


def _refuse_trained_on(ensembles: Sequence[Ensemble], split: ScoredSplit) -> None:
    """Refuse an ensemble if any member was surely trained on scored tiles (``UsageError``)."""
    for ensemble in ensembles:
        for checkpoint in ensemble.checkpoints:
            trained_on = replace(ensemble, checkpoints=(checkpoint,)).trained_on().same
            shared = [tile for tile in ensemble.tiles if tile in trained_on]
            if shared:
                raise UsageError(
                    f"{checkpoint.path} was trained on {len(shared)} of the {split} tiles that the ensemble "
                    f"is to be scored on ({shorten(shared)}); leave it out, or score tiles that none was "
                    "trained on, such as --split test."
                )


def _labelled_tiles(
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
