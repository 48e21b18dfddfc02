"""What ``--checkpoint`` names: checkpoints, a store that fits them, and which of them predict which tile."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from esdseg.baselines.checkpoint import open_checkpoint
from esdseg.config.evaluation import (
    PredictionConfig,
    RestitchConfig,
    ScoredPredictionConfig,
    ScoredSplit,
    check_overlap,
)
from esdseg.config.preprocessing import Recipe
from esdseg.config.section import nearest_name
from esdseg.errors import InputDataError, UsageError
from esdseg.metrics.scorecard import EnsembleMember, FoldScored
from esdseg.metrics.scores import IntArray
from esdseg.models.checkpoint import CheckpointMetadata, LoadedCheckpoint
from esdseg.models.runs import find_sweep, folds_name, resolve_checkpoint, resolve_folds
from esdseg.prediction.calibration import Calibration
from esdseg.sensors.classes import GRID_SIZE
from esdseg.sensors.sensors import SENSOR_NAMES
from esdseg.store.manifest import SplitName
from esdseg.store.store import Store, open_store

SHOWN_NAMES = 5
"""Channels or tiles listed in a message."""

NAMED_RUNS = 3
"""Runs whose names make up the name of an ensemble; of more only the first is named."""

_SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Ensemble:
    """Checkpoints that predict together by the mean of their probabilities, mostly a single one.

    Attributes:
        checkpoints: The loaded checkpoints, at least one.
        store: A store that holds all that they need.
        tiles: The tiles that they predict.
        calibration: What was fitted to what they say together; ``None`` where each one's own acts.
    """

    checkpoints: tuple[LoadedCheckpoint, ...]
    store: Store
    tiles: tuple[str, ...]
    calibration: Calibration | None = None

    @property
    def checkpoint(self) -> LoadedCheckpoint:
        """The only checkpoint, or the first of several."""
        return self.checkpoints[0]

    @property
    def temperature(self) -> float | None:
        """The temperature of the probabilities; ``None`` where each of several checkpoints has its own."""
        if self.calibration is not None:
            return self.calibration.temperature
        return self.checkpoint.metadata.temperature if len(self.checkpoints) == 1 else None

    @property
    def threshold(self) -> float | None:
        """The threshold on the probability of class 1; ``None`` where there is none for this prediction."""
        if self.calibration is not None:
            return self.calibration.threshold
        return self.checkpoint.metadata.contest_threshold if len(self.checkpoints) == 1 else None

    def trained(self) -> CheckpointMetadata:
        """Return the metadata as if one checkpoint had been trained on everything that these were trained on.

        Channels and training tiles are those of all checkpoints, each once. The rest is the first one's.
        """
        metadata = [checkpoint.metadata for checkpoint in self.checkpoints]
        together: dict[str, object] = {
            "channels": tuple(dict.fromkeys(name for trained in metadata for name in trained.channels)),
            "train_tiles": tuple(dict.fromkeys(tile for trained in metadata for tile in trained.train_tiles)),
        }
        return metadata[0].model_copy(update=together)

    def is_to_be_calibrated(self, config: PredictionConfig) -> bool:
        """Say whether what the checkpoints say together is to get a temperature of its own."""
        if config.calibrate is not None:
            return config.calibrate
        return all(checkpoint.metadata.is_calibrated for checkpoint in self.checkpoints) and self.is_changed(
            config
        )

    def is_changed(self, config: PredictionConfig) -> bool:
        """Say whether the prediction is another than that for which each checkpoint was calibrated."""
        return (
            len(self.checkpoints) > 1
            or config.tta != "none"
            or any(
                checkpoint.window_size != checkpoint.metadata.trained_window_size
                or (config.overlap > 0 and checkpoint.window_size < GRID_SIZE)
                for checkpoint in self.checkpoints
            )
        )

    def choosing_tiles(self) -> tuple[str, ...]:
        """Return the labelled tiles that chose the epoch of every checkpoint and trained none."""
        metadata = [checkpoint.metadata for checkpoint in self.checkpoints]
        return tuple(
            tile
            for tile in metadata[0].val_tiles
            if all(tile in trained.val_tiles and tile not in trained.train_tiles for trained in metadata)
            and tile in self.store.manifest.tiles
            and self.store.class_counts([tile]).any()
        )


@dataclass(frozen=True)
class Run:
    """A run that predicts: by one checkpoint, or in folds.

    Attributes:
        name: What it is called.
        path: Path of its checkpoint, or the pattern of the folds' paths.
        checkpoints: The one, or each fold's in order.
        is_trial: Whether it is one of a sweep's best trials.
    """

    name: str
    path: Path
    checkpoints: tuple[LoadedCheckpoint, ...]
    is_trial: bool = False

    @property
    def is_folds(self) -> bool:
        """Whether these are all folds of a run."""
        return len(self.checkpoints) > 1

    def predicting(self, tile: str) -> tuple[LoadedCheckpoint, ...]:
        """Return what predicts a tile: of folds the one that held it out, where there is one, else all."""
        held_out = [
            checkpoint for checkpoint in self.checkpoints if tile in checkpoint.metadata.held_out_tiles
        ]
        return (held_out[0],) if self.is_folds and held_out else self.checkpoints


@dataclass(frozen=True)
class Sources:
    """All that predicts: the named runs, and which of their checkpoints predict which tiles.

    Attributes:
        runs: The runs.
        store: The store that holds the tiles.
        name: What the runs are called together.
        output_dir: Folder for the results.
        ensembles: The checkpoints with their tiles; no tile is in two.
        split: What the tiles are: a split of the store, or ``fold`` for tiles that were held out; ``None``
            where they are not scored.
    """

    runs: tuple[Run, ...]
    store: Store
    name: str
    output_dir: Path
    ensembles: tuple[Ensemble, ...] = ()
    split: ScoredSplit | None = None

    @property
    def checkpoints(self) -> tuple[LoadedCheckpoint, ...]:
        """All checkpoints of all runs."""
        return tuple(checkpoint for run in self.runs for checkpoint in run.checkpoints)

    @property
    def paths(self) -> str:
        """The checkpoint's path, or the pattern of the folds' paths; of several runs with commas."""
        return ", ".join(str(run.path) for run in self.runs)

    @property
    def tiles(self) -> tuple[str, ...]:
        """All tiles, ensemble after ensemble."""
        return tuple(tile for ensemble in self.ensembles for tile in ensemble.tiles)

    @property
    def is_one_in_folds(self) -> bool:
        """Whether this is one run, in folds."""
        return len(self.runs) == 1 and self.runs[0].is_folds

    @property
    def of_sweep(self) -> bool:
        """Whether a run is one of a sweep's best trials, whose validation tiles then chose the trial too."""
        return any(run.is_trial for run in self.runs)

    @property
    def model_names(self) -> str:
        """The model, or the models that predict together."""
        return " + ".join(dict.fromkeys(checkpoint.config.model.name for checkpoint in self.checkpoints))

    @property
    def parameters(self) -> int:
        """Numbers that the checkpoints learned which predict a tile."""
        return sum(checkpoint.parameters for checkpoint in self.ensembles[0].checkpoints)

    def short_names(self) -> dict[str, str]:
        """Return what each checkpoint is called, by its path: its run, and where two are alike its file too.

        So best and last of one run are ``first/best.ckpt`` and ``first/last.ckpt``.
        """
        checkpoints = self.checkpoints
        runs = [checkpoint.run_name for checkpoint in checkpoints]
        files = [f"{checkpoint.run_name}/{checkpoint.path.name}" for checkpoint in checkpoints]
        names = [str(checkpoint.path) for checkpoint in checkpoints]
        for forms in (files, runs):
            names = [
                form if forms.count(form) == 1 else name for form, name in zip(forms, names, strict=True)
            ]
        return {str(checkpoint.path): name for checkpoint, name in zip(checkpoints, names, strict=True)}

    def predicting(self, tiles: Sequence[str]) -> tuple[Ensemble, ...]:
        """Group tiles by the checkpoints that predict them, in the order of the folds."""
        position = {str(checkpoint.path): index for index, checkpoint in enumerate(self.checkpoints)}
        groups: dict[tuple[int, ...], list[str]] = {}
        for tile in tiles:
            predicting = [checkpoint for run in self.runs for checkpoint in run.predicting(tile)]
            groups.setdefault(tuple(position[str(checkpoint.path)] for checkpoint in predicting), []).append(
                tile
            )
        # What more checkpoints predict comes after what the folds held out.
        order = sorted(groups, key=lambda places: (len(places), places))
        return tuple(
            Ensemble(tuple(self.checkpoints[place] for place in places), self.store, tuple(groups[places]))
            for places in order
        )

    def training_counts(self) -> IntArray:
        """Return the cells of each class, shape (4,), in the tiles that the checkpoints were trained on.

        Of several checkpoints all are counted, so that a tile counts as often as it was trained on. Tiles
        that the store does not hold are left out; where it holds none, its own training tiles stand in.
        """
        trained_on = [
            tile
            for ensemble in self.ensembles
            for checkpoint in ensemble.checkpoints
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
                fold="+".join(str(checkpoint.config.folds.fold) for checkpoint in ensemble.checkpoints),
                seed=ensemble.checkpoint.config.folds.seed,
                checkpoint=", ".join(str(checkpoint.path) for checkpoint in ensemble.checkpoints),
                tiles=ensemble.tiles,
                temperature=ensemble.temperature,
                contest_threshold=ensemble.threshold,
            )
            for ensemble in self.ensembles
        )

    def describe_ensemble(self) -> tuple[EnsembleMember, ...] | None:
        """Return each checkpoint that predicts together with others; ``None`` where one predicts alone."""
        if all(len(ensemble.checkpoints) == 1 for ensemble in self.ensembles):
            return None
        members = {
            checkpoint.path: checkpoint for ensemble in self.ensembles for checkpoint in ensemble.checkpoints
        }
        return tuple(
            EnsembleMember(
                run=member.run_name,
                checkpoint=str(path),
                model=member.config.model.name,
                channels=len(member.channels),
                window_size=member.window_size,
                temperature=member.metadata.temperature,
            )
            for path, member in members.items()
        )


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
        ensembles = sources.predicting(select_tiles(store, _held_out_by_all(sources)))
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
    return replace(sources, ensembles=sources.predicting(select_tiles(sources.store, config.tiles)))


def open_checkpoints(config: PredictionConfig) -> Sources:
    """Find and load all checkpoints, open the store, and see that they fit.

    Raises:
        InputDataError: One is missing or unreadable, or the store lacks what it needs.
        UsageError: One is named twice, or cannot work on the windows that are asked for.
    """
    runs = [run for name in config.checkpoints for run in _open_named(name, config)]
    for index, run in enumerate(runs):
        if run.path.resolve() in [other.path.resolve() for other in runs[:index]]:
            raise UsageError(f"--checkpoint names {run.path} twice; an ensemble counts each run once.")
    checkpoints = tuple(checkpoint for run in runs for checkpoint in run.checkpoints)
    _check_overlap(checkpoints, config)
    store = _open_store_for(checkpoints, config, is_ensemble=len(runs) > 1)
    for checkpoint in checkpoints:
        check_store(checkpoint, store)
    name = _name_of(runs, config)
    is_plain = len(runs) == 1 and not runs[0].is_folds
    folder = config.name or (checkpoints[0].config.model.folder_name if is_plain else name)
    return Sources(tuple(runs), store, name, config.predictions_dir / folder)


def _open_named(name: str, config: PredictionConfig) -> list[Run]:
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


def _open_one(path: Path, config: PredictionConfig) -> Run:
    checkpoint = open_checkpoint(path, config.window_size)
    return Run(checkpoint.run_name, path, (checkpoint,))


def _open_folds(paths: Sequence[Path], config: PredictionConfig) -> Run:
    """Load the checkpoints of all folds and see that they belong together."""
    run = paths[0].parent.name.rpartition("-fold")[0]
    pattern = paths[0].parent.with_name(folds_name(run, len(paths))) / paths[0].name
    checkpoints = tuple(open_checkpoint(path, config.window_size) for path in paths)
    metadata = [checkpoint.metadata for checkpoint in checkpoints]
    held_out = [tile for trained in metadata for tile in trained.held_out_tiles]
    if len(set(held_out)) < len(held_out) or len({trained.manifest_hash for trained in metadata}) > 1:
        raise InputDataError(
            f"{pattern.parent} do not belong together: they were trained on different versions of the store, "
            f"or hold out the same tiles. Train them in one go: `esdseg train --folds {len(paths)} --name "
            "NAME`."
        )
    return Run(run, pattern, checkpoints)


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


def _name_of(runs: Sequence[Run], config: PredictionConfig) -> str:
    """Return what the runs are called together: by their folders, since checkpoints may claim any name.

    Where two lie in folders of one name, the files' names tell them apart: ``first-best+first-last``.
    """
    if len(runs) == 1:
        return runs[0].name
    if len(config.checkpoints) == 1:
        names = [Path(config.checkpoints[0]).resolve().name, f"best{len(runs)}"]
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
    """Refuse a store without some of the checkpoint's channels, or of other steps (``InputDataError``)."""
    _check_channels(checkpoint, store)
    _check_recipe(checkpoint, store)


def _check_channels(checkpoint: LoadedCheckpoint, store: Store) -> None:
    """Refuse a store without some of the checkpoint's channels (``InputDataError``)."""
    held = set(store.channels)
    missing = [channel.name for channel in checkpoint.channels if channel not in held]
    if missing:
        raise InputDataError(
            f"{store.path} lacks {len(missing)} of the {len(checkpoint.channels)} channels that "
            f"{checkpoint.path} was trained on: {shorten(missing)}. Write a store that holds them, from raw "
            f"tiles with these dates and without selecting bands or dates: `esdseg preprocess --raw-dir "
            f"RAW_DIR --processed-dir {store.path.parent} --subtile-size {store.subtile_size} --overwrite`; "
            "or train on this store."
        )


def _check_recipe(checkpoint: LoadedCheckpoint, store: Store) -> None:
    """Refuse a store whose values were written by other steps than the checkpoint's (``InputDataError``)."""
    trained_on, stored = checkpoint.metadata.recipe, store.manifest.config.recipe
    differing = [
        f"{key} {mine!r} instead of {theirs!r}"
        for (key, theirs), mine in zip(
            _writing_steps(trained_on).items(), _writing_steps(stored).values(), strict=True
        )
        if mine != theirs
    ]
    if differing:
        raise InputDataError(
            f"{store.path} was written by another recipe than {checkpoint.path} was trained on: "
            f"{'; '.join(differing)}. Write it anew with the checkpoint's recipe (`esdseg preprocess "
            "--config FILE.yml --overwrite`, FILE.yml holding the recipe), or train on this store."
        )


def select_tiles(store: Store, names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the tiles to map: all of the store, or the named ones, each once.

    Raises:
        InputDataError: A named tile is not in the store.
    """
    known = tuple(store.manifest.tiles)
    if names is None:
        return known
    for name in names:
        if name not in store.manifest.tiles:
            nearest = nearest_name(name, known)
            hint = f"did you mean '{nearest}'? " if nearest else ""
            raise InputDataError(f"{store.path} holds no tile '{name}'; {hint}Its tiles: {shorten(known)}.")
    return tuple(dict.fromkeys(names))


def _writing_steps(recipe: Recipe) -> dict[str, object]:
    """Return what shapes stored values: the scale of ``training_tiles`` is the network's own affair."""
    steps: dict[str, object] = {"scale_by": recipe.scale_by}
    for sensor in SENSOR_NAMES:
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
        raise UsageError(
            f"--split {asked}: {together.path.parent} are scored together on the tiles that each of them "
            "held out; for other tiles name one of them, such as --checkpoint "
            f"{together.checkpoints[0].path.parent.name}."
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


def _held_out_by_all(sources: Sources) -> list[str]:
    """Return the tiles that every run held out, fold by fold of the first."""
    by_run = [
        [tile for checkpoint in run.checkpoints for tile in checkpoint.metadata.held_out_tiles]
        for run in sources.runs
    ]
    shared = [tile for tile in by_run[0] if all(tile in held_out for held_out in by_run)]
    if not shared:
        names = " and ".join(str(run.path) for run in sources.runs)
        raise UsageError(
            f"{names} held out no tile in common, so they cannot be scored together: each was trained on, or "
            "chosen by, what another held out. Name the run whose folds they are to score each tile by the "
            "fold that held it out."
        )
    return shared


def _refuse_trained_on(ensembles: Sequence[Ensemble], split: ScoredSplit) -> None:
    """Refuse an ensemble if any member was trained on scored tiles (``UsageError``)."""
    for ensemble in ensembles:
        for checkpoint in ensemble.checkpoints:
            shared = [tile for tile in ensemble.tiles if tile in checkpoint.metadata.train_tiles]
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


def shorten(names: Sequence[str]) -> str:
    """List names, the first of many only."""
    more = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
