"""``ablate``: what each sensor, place and band is worth to a network.

The steps: plan what is taken away, predict and score the tiles without it, train again without it where that
is asked for, and write the results.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from esdseg import __version__
from esdseg.ablation.removal import (
    Effect,
    Removal,
    TileVariants,
    list_removals,
    predict_variants,
    recomputable_nights,
)
from esdseg.ablation.result import (
    SECTION_TITLES,
    SHOWN_SCORES,
    Ablation,
    DataOrigin,
    NetworkScores,
    Row,
    WholeNetwork,
    in_order,
    reading_notes,
    summarize,
)
from esdseg.ablation.retraining import (
    Retraining,
    RunListener,
    can_be_retrained,
    plan_retrainings,
    runs_to_train,
    train_runs,
)
from esdseg.config.evaluation import LEVELS, AblationConfig, Level
from esdseg.config.loading import dump_config
from esdseg.errors import InputDataError, UsageError
from esdseg.metrics.resampling import (
    LEVEL,
    ScoredTiles,
    bootstrap_intervals,
    few_tiles_notes,
    paired_differences,
)
from esdseg.metrics.score_table import SCORE_TITLES, describe_tiles, show
from esdseg.metrics.scorecard import BootstrapSettings, Difference, Versions
from esdseg.prediction.open_checkpoints import open_for_scoring
from esdseg.prediction.sources import Sources
from esdseg.prediction.tile_prediction import scored_tiles
from esdseg.prediction.windows import Device, Passes, choose_device
from esdseg.report.ablation_picture import AblationPanel, AblationRow, write_ablation_picture
from esdseg.report.look import shorten
from esdseg.scoring.results import CONFIG_NAME
from esdseg.scoring.score import identity_notes, training_notes
from esdseg.scoring.verdict import tiles_that_chose
from esdseg.sensors.channels import Channel, sensor_names
from esdseg.system.files import make_folder, write_text
from esdseg.system.processes import ItemListener, ignore
from esdseg.tiles.discovery import natural_key
from esdseg.training.callbacks import EpochListener

PICTURE_NAME = "ablation.png"
LONGEST_RUN = 60
"""Characters of a run's name for which there is room in the picture's title."""

RECOMPUTED = (
    "Where a night is taken away, the projections over nights are computed anew from the others, as "
    "preprocessing would without it."
)
NOT_RECOMPUTED = (
    "The projections over nights could not be computed anew without one: the store lacks its single "
    "nights, or its recipe smooths them or scales them by tile. They still hold a night that is taken away, "
    "so that its row says too little."
)
NO_NIGHTS = (
    "No single night could be taken away: the network sees projections over nights alone, and these "
    "could not be computed anew: the store lacks its single nights, or its recipe smooths them or scales "
    "them by tile."
)
PLACES_NOT_RETRAINED = (
    "Networks are trained again without the last place of a sensor alone, since they take a tile's first "
    "acquisitions, and without none of the nights that stored projections look at: for that, write a store "
    "without the night's rasters and train on it."
)


@dataclass(frozen=True)
class AblationPlan:
    """What is to be taken away from which checkpoints; nothing was predicted or trained yet.

    Attributes:
        config: The settings.
        sources: The checkpoints with their tiles.
        device: Where to predict.
        removals: What is taken away at inference.
        retrainings: What is trained again.
        notes: What to know of the tiles, and of what cannot be taken away.
    """

    config: AblationConfig
    sources: Sources
    device: Device
    removals: tuple[Removal, ...]
    retrainings: tuple[Retraining, ...]
    notes: tuple[str, ...]

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels of the network's images."""
        return self.sources.ensembles[0].checkpoint.channels

    @property
    def passes(self) -> Passes:
        """How a tile is predicted."""
        return Passes(self.config.tta, self.config.overlap)

    @property
    def output_dir(self) -> Path:
        """Folder of the results."""
        return self.config.predictions_dir / (self.config.name or f"ablate-{self.sources.name}")


@dataclass(frozen=True)
class InferenceResult:
    """The scores of a finished network with all channels, and after each removal.

    Attributes:
        tiles: Predictions with all channels, which others are compared with.
        whole: The network with all channels.
        rows: One for each removal.
        seconds: Time of all passes of the network together.
    """

    tiles: ScoredTiles
    whole: WholeNetwork
    rows: tuple[Row, ...]
    seconds: float


def plan_ablation(config: AblationConfig) -> AblationPlan:
    """Load the checkpoints, open the store, and list what is taken away; all mistakes are found here.

    Raises:
        InputDataError: A checkpoint, the store, a tile or a run is missing or does not fit, or the folds of a
            run take different channels.
        UsageError: There is nothing to take away, the split cannot be scored by this checkpoint, or the
            machine lacks what the settings name.
    """
    sources = open_for_scoring(config)
    channels = sources.ensembles[0].checkpoint.channels
    if any(ensemble.checkpoint.channels != channels for ensemble in sources.ensembles):
        raise InputDataError(
            f"{sources.paths}: the folds take different channels, so that nothing can be taken away from "
            "all of them; name one fold."
        )
    sensors = _chosen_sensors(channels, config, sources.paths)
    nights = recomputable_nights(sources.store)
    levels = config.by or LEVELS
    removals = list_removals(channels, levels, sensors, nights)
    if not removals:
        raise UsageError(_nothing_to_remove(channels, levels, sources.paths))
    notes = _selection_notes(sources)
    has_projections = any(channel.place is None and channel.sensor.name in sensors for channel in channels)
    if has_projections and "place" in levels:
        night_lights = {channel.sensor.name for channel in channels if channel.sensor.kind == "night_light"}
        has_nights = any(removal.kind == "place" and removal.sensor in night_lights for removal in removals)
        notes.append(RECOMPUTED if nights is not None else NOT_RECOMPUTED if has_nights else NO_NIGHTS)
    retrainings: tuple[Retraining, ...] = ()
    if config.retrain:
        retrained_levels: tuple[Level, ...] = config.by or ("sensor",)
        wanted = list_removals(channels, retrained_levels, sensors, nights)
        impossible = [removal for removal in wanted if not can_be_retrained(removal, channels)]
        if len(impossible) == len(wanted):
            raise UsageError(f"--retrain: {_nothing_to_remove(channels, retrained_levels, sources.paths)}")
        retrainings = plan_retrainings(sources, wanted, config)
        if any(removal.kind == "place" for removal in impossible):
            notes.append(PLACES_NOT_RETRAINED)
    device = choose_device(config.accelerator, config.precision)
    return AblationPlan(config, sources, device, removals, retrainings, tuple(notes))


def take_away(plan: AblationPlan, on_tile: ItemListener = ignore) -> InferenceResult:
    """Predict every tile with all channels and after each removal, and score the differences.

    Args:
        plan: Checkpoints, tiles and removals.
        on_tile: Called after each tile, once all its variants are predicted.

    Raises:
        InputDataError: A tile cannot be read, or the network gives numbers that are not finite.
    """
    sources, config = plan.sources, plan.config
    variants: list[TileVariants] = []
    for ensemble in sources.ensembles:
        for tile in predict_variants(
            ensemble.checkpoint,
            ensemble.store,
            ensemble.tiles,
            plan.removals,
            plan.device,
            config.batch_size,
            plan.passes,
        ):
            variants.append(tile)
            on_tile(tile.whole.tile, len(variants), len(sources.tiles))
    variants.sort(key=lambda tile: natural_key(tile.whole.tile))
    seconds = np.mean([tile.seconds for tile in variants], axis=0)
    tiles = scored_tiles([tile.whole for tile in variants])
    known: dict[Effect, tuple[NetworkScores, dict[str, Difference]]] = {}
    rows = []
    for index, removal in enumerate(plan.removals):
        if removal.effect not in known:
            reduced = scored_tiles([tile.reduced[index] for tile in variants])
            known[removal.effect] = (
                _score(reduced, config, seconds[index + 1], sources.parameters),
                _compare(reduced, tiles, config),
            )
        left = [channel for channel in plan.channels if channel not in removal.effect.absent]
        rows.append(_row(plan, removal, left, *known[removal.effect]))
    whole = _score(tiles, config, seconds[0], sources.parameters)
    return InferenceResult(
        tiles,
        WholeNetwork(**dict(whole), channels=len(plan.channels)),
        tuple(rows),
        float(sum(tile.seconds.sum() for tile in variants)),
    )


def train_again(
    plan: AblationPlan,
    tiles: ScoredTiles,
    on_run: RunListener | None = None,
    on_epoch: EpochListener | None = None,
    on_step: ItemListener = ignore,
) -> tuple[Row, ...]:
    """Train what is not finished yet, then predict the tiles with each network and compare.

    Args:
        plan: What is to be trained.
        tiles: Predictions with all channels.
        on_run: Called before each run.
        on_epoch: Called after each epoch.
        on_step: Called after each training step.

    Returns:
        A row for each retraining.

    Raises:
        ESDSegError: A run cannot be trained, or a tile cannot be read.
    """
    train_runs(runs_to_train(plan.retrainings), on_run, on_epoch, on_step)
    return tuple(_score_retraining(retraining, plan, tiles) for retraining in plan.retrainings)


def write_ablation(plan: AblationPlan, inference: InferenceResult, retrained: Sequence[Row] = ()) -> Ablation:
    """Write ``ablation.png``, ``config.yml`` and, last, ``ablation.json``.

    Args:
        plan: What was taken away.
        inference: The rows of the finished network.
        retrained: The rows of networks that were trained again.

    Raises:
        InputDataError: A file cannot be written.
    """
    rows = in_order((*inference.rows, *retrained))
    folder = make_folder(plan.output_dir)
    sources, config = plan.sources, plan.config
    checkpoint = sources.ensembles[0].checkpoint
    result = Ablation(
        model=checkpoint.config.model.name,
        run=sources.name,
        checkpoint=sources.paths,
        split=sources.split,
        tta=config.tta,
        overlap=config.overlap,
        window_size=checkpoint.window_size,
        tiles=tuple(sorted(sources.tiles, key=natural_key)),
        folds=sources.describe_folds(),
        channels=tuple(channel.name for channel in plan.channels),
        prediction_seconds=inference.seconds,
        bootstrap=BootstrapSettings(
            unit="tile", level=LEVEL, resamples=config.bootstrap_resamples, seed=config.bootstrap_seed
        ),
        data=DataOrigin(store=str(sources.store.path), manifest_hash=sources.store.manifest_hash),
        versions=Versions(esdseg=__version__, torch=torch.__version__),
        whole=inference.whole,
        rows=rows,
        summary=summarize(rows),
        notes=(*reading_notes(rows), *plan.notes, *few_tiles_notes(len(sources.tiles))),
        output_dir=folder,
        picture=folder / PICTURE_NAME,
    )
    write_ablation_picture(
        result.picture, picture_title(result), picture_panels(result), picture_rows(result)
    )
    write_text(folder / CONFIG_NAME, dump_config(config))
    write_text(result.json_path, result.model_dump_json(indent=2) + "\n")
    return result


def _chosen_sensors(
    channels: tuple[Channel, ...], config: AblationConfig, checkpoint: str
) -> tuple[str, ...]:
    held = sensor_names(channels)
    for sensor in config.sensors or ():
        if sensor not in held:
            raise UsageError(
                f"--sensors {sensor}: {checkpoint} takes no channel of it; its sensors: {', '.join(held)}."
            )
    return config.sensors or held


def _nothing_to_remove(channels: tuple[Channel, ...], levels: tuple[Level, ...], checkpoint: str) -> str:
    if len(channels) == 1:
        return (
            f"{checkpoint} takes a single channel, {channels[0].name}: there is nothing to take away from it."
        )
    others = ",".join(level for level in LEVELS if level not in levels)
    hint = f"; try --by {others}" if others else ""
    return (
        f"{checkpoint} takes {len(channels)} channels, and by {' or '.join(levels)} none can be taken away "
        f"that leaves any{hint}."
    )


def _selection_notes(sources: Sources) -> list[str]:
    """Return where the tiles taught or chose the network, so that its scores are too good."""
    notes = [*identity_notes(sources)]
    notes += [note for ensemble in sources.ensembles for note in training_notes(ensemble)]
    for ensemble in sources.ensembles:
        known = tiles_that_chose(ensemble)
        if known.all:
            these, unsure = (
                ("These tiles", "") if known.same else ("Tiles of the same names", "if the same, ")
            )
            notes.append(
                f"{these} chose {ensemble.checkpoint.path.name}: {unsure}with all channels its scores are "
                "too good for new tiles, and what a group of channels is worth may be so too."
            )
    return notes


def _score(
    tiles: ScoredTiles, config: AblationConfig, seconds_per_tile: float, parameters: int
) -> NetworkScores:
    return NetworkScores(
        scores=tiles.scores().headline(),
        intervals=bootstrap_intervals(tiles, config.bootstrap_resamples, config.bootstrap_seed),
        seconds_per_tile=float(seconds_per_tile),
        parameters=parameters,
    )


def _compare(reduced: ScoredTiles, whole: ScoredTiles, config: AblationConfig) -> dict[str, Difference]:
    return paired_differences(reduced, whole, config.bootstrap_resamples, config.bootstrap_seed)


def _row(
    plan: AblationPlan,
    removal: Removal,
    left: Sequence[Channel],
    network: NetworkScores,
    differences: dict[str, Difference],
    checkpoint: Path | None = None,
) -> Row:
    """Return the row of a network that sees ``left``; with a checkpoint it was trained again."""
    return Row(
        **dict(network),
        label=removal.label,
        kind=removal.kind,
        how="inference" if checkpoint is None else "retrained",
        sensor=removal.sensor,
        place=removal.place,
        band=removal.band,
        removed_channels=tuple(channel.name for channel in plan.channels if channel not in left),
        remaining_channels=len(left),
        differences=differences,
        checkpoint=checkpoint,
    )


def _score_retraining(retraining: Retraining, plan: AblationPlan, tiles: ScoredTiles) -> Row:
    config = plan.config
    variants: list[TileVariants] = []
    for run in retraining.runs:
        checkpoint = run.load()
        store, names = run.ensemble.store, run.ensemble.tiles
        variants += predict_variants(
            checkpoint, store, names, (), plan.device, config.batch_size, plan.passes
        )
    variants.sort(key=lambda tile: natural_key(tile.whole.tile))
    retrained = scored_tiles([tile.whole for tile in variants])
    network = _score(
        retrained,
        config,
        float(np.mean([tile.seconds for tile in variants])),
        checkpoint.parameters,
    )
    differences = _compare(retrained, tiles, config)
    return _row(plan, retraining.removal, checkpoint.channels, network, differences, retraining.checkpoint)


def picture_title(result: Ablation) -> str:
    """Return the title of ``ablation.png``."""
    tiles = describe_tiles(result.split, len(result.tiles))
    return f"What each group of channels is worth to {shorten(result.run, LONGEST_RUN)}, on {tiles}"


def picture_panels(result: Ablation) -> tuple[AblationPanel, ...]:
    """Return the panels of ``ablation.png``: one for each shown score."""
    return tuple(
        AblationPanel(
            name, f"{SCORE_TITLES[name]}, {show(getattr(result.whole.scores, name))} with all channels"
        )
        for name in SHOWN_SCORES
    )


def picture_rows(result: Ablation) -> tuple[AblationRow, ...]:
    """Return the rows of ``ablation.png``."""
    sensors = list(dict.fromkeys(name.partition("_")[0] for name in result.channels))
    return tuple(
        AblationRow(
            section=SECTION_TITLES[row.kind],
            label=row.title,
            series=sensors.index(row.sensor),
            is_retrained=row.how == "retrained",
            differences={name: row.differences[name] for name in SHOWN_SCORES},
        )
        for row in result.rows
    )
