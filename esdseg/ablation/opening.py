"""What an ablation starts from: checkpoints with their tiles, and what is to be taken away from them."""

from dataclasses import dataclass
from pathlib import Path

from esdseg.ablation.night_projections import recomputable_nights
from esdseg.ablation.removals import Removal, list_removals
from esdseg.ablation.retraining import Retraining
from esdseg.ablation.retraining_plan import can_be_retrained, plan_retrainings
from esdseg.config.evaluation import LEVELS, AblationConfig, Level
from esdseg.errors import InputDataError, UsageError
from esdseg.prediction.checkpoints import Sources, open_for_scoring
from esdseg.prediction.windows import Device, Passes, choose_device
from esdseg.scoring.score import training_notes
from esdseg.scoring.verdict import tiles_that_chose
from esdseg.sensors.channels import Channel
from esdseg.sensors.sensors import SENSOR_NAMES, SensorName


@dataclass(frozen=True)
class Opened:
    """All that an ablation needs; nothing was predicted or trained yet.

    Attributes:
        config: Its settings.
        scored: The checkpoints with their tiles.
        device: Where to predict.
        removals: What is taken away at inference.
        retrainings: What is trained again.
        notes: What to know of the tiles and of what cannot be taken away.
    """

    config: AblationConfig
    scored: Sources
    device: Device
    removals: tuple[Removal, ...]
    retrainings: tuple[Retraining, ...]
    notes: tuple[str, ...]

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels of the images."""
        return self.scored.ensembles[0].checkpoint.channels

    @property
    def passes(self) -> Passes:
        """How a tile is predicted."""
        return Passes(self.config.tta, self.config.overlap)

    @property
    def output_dir(self) -> Path:
        """Folder of the results."""
        return self.config.predictions_dir / (self.config.name or f"ablate-{self.scored.name}")


def open_ablation(config: AblationConfig) -> Opened:
    """Load the checkpoints, open the store, and say what is taken away; all mistakes are found here.

    Raises:
        InputDataError: A checkpoint, the store, a tile or a run is missing or does not fit, or the folds of a
            run take different channels.
        UsageError: There is nothing to take away, the split cannot be scored by this checkpoint, or the
            machine lacks what the settings name.
    """
    scored = open_for_scoring(config)
    channels = scored.ensembles[0].checkpoint.channels
    if any(part.checkpoint.channels != channels for part in scored.ensembles):
        raise InputDataError(
            f"{scored.paths}: the folds take different channels, so that nothing can be taken away from "
            "all of them; name one fold."
        )
    sensors = _sensors(channels, config, scored.paths)
    nights = recomputable_nights(scored.store)
    levels = config.by or LEVELS
    removals = list_removals(channels, levels, sensors, nights)
    if not removals:
        raise UsageError(_nothing_to_remove(channels, levels, scored.paths))
    notes = [*_tile_notes(scored)]
    has_projections = "viirs" in sensors and any(channel.acquired is None for channel in channels)
    if has_projections and "date" in levels:
        has_nights = any(removal.kind == "date" and removal.sensor == "viirs" for removal in removals)
        notes.append(_RECOMPUTED if nights is not None else _NOT_RECOMPUTED if has_nights else _NO_NIGHTS)
    retrainings: tuple[Retraining, ...] = ()
    if config.retrain:
        retrained_levels: tuple[Level, ...] = config.by or ("sensor",)
        wanted = list_removals(channels, retrained_levels, sensors, nights)
        impossible = [removal for removal in wanted if not can_be_retrained(removal, channels)]
        if len(impossible) == len(wanted):
            raise UsageError(f"--retrain: {_nothing_to_remove(channels, retrained_levels, scored.paths)}")
        retrainings = plan_retrainings(scored, wanted, config)
        if any(removal.kind == "date" for removal in impossible):
            notes.append(_NIGHTS_NOT_RETRAINED)
    device = choose_device(config.accelerator, config.precision)
    return Opened(config, scored, device, removals, retrainings, tuple(notes))


_RECOMPUTED = (
    "Where a night of viirs is taken away, the projections over nights are computed anew from the others, as "
    "preprocessing would without it."
)
_NOT_RECOMPUTED = (
    "The projections of viirs over nights could not be computed anew without one: the store lacks its single "
    "nights, or its recipe smooths them or scales them by tile. They still hold a night that is taken away, "
    "so that its row says too little."
)
_NO_NIGHTS = (
    "No single night of viirs could be taken away: the network sees projections over nights alone, and these "
    "could not be computed anew: the store lacks its single nights, or its recipe smooths them or scales "
    "them by tile."
)
_NIGHTS_NOT_RETRAINED = (
    "No network was trained again without a single night of viirs: the store's projections look at all of "
    "them. Write a store without the night (--set selected_dates) and train on it."
)


def _sensors(
    channels: tuple[Channel, ...], config: AblationConfig, checkpoint: str
) -> tuple[SensorName, ...]:
    held = tuple(sensor for sensor in SENSOR_NAMES if any(channel.sensor == sensor for channel in channels))
    if config.sensors is None:
        return held
    for sensor in config.sensors:
        if sensor not in held:
            raise UsageError(
                f"--sensors {sensor}: {checkpoint} takes no channel of it; its sensors: {', '.join(held)}."
            )
    return config.sensors


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


def _tile_notes(scored: Sources) -> list[str]:
    """Say where the tiles taught or chose the network, so that its scores are too good."""
    notes = [note for part in scored.ensembles for note in training_notes(part)]
    for part in scored.ensembles:
        path = part.checkpoint.path
        if tiles_that_chose(part):
            notes.append(
                f"These tiles chose {path.name}: with all channels its scores are too good for new tiles, "
                "and what a group of channels is worth may be so too."
            )
    return notes
