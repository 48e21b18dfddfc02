"""What is to be trained again, with which settings, and how far each run is."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import JsonValue

from esdseg.ablation.removals import Removal
from esdseg.ablation.retraining import Retraining, Run
from esdseg.config.evaluation import AblationConfig
from esdseg.config.training import ABLATIONS_FOLDER, DataConfig, ESDConfig
from esdseg.errors import InputDataError, UsageError
from esdseg.models.checkpoint import LoadedCheckpoint
from esdseg.models.checkpoint_lookup import BEST_NAME, HISTORY_NAME, LAST_NAME, fold_run_name
from esdseg.prediction.checkpoints import Ensemble, Sources
from esdseg.sensors.channels import Channel, select_channels
from esdseg.training.run_folder import read_standing

OF_THE_MACHINE = {"accelerator", "devices", "num_nodes"}
"""Settings of the section ``trainer`` that another machine may change."""


def can_be_retrained(removal: Removal, channels: Sequence[Channel]) -> bool:
    """Say whether a network of these channels can be trained without the group.

    A sensor alone is not asked for. A night cannot be taken out of projections that are stored already.
    """
    if removal.kind == "date":
        left = [channel for channel in channels if channel not in removal.effect.absent]
        return all(channel.acquired for channel in left if channel.sensor == removal.sensor)
    return removal.kind == "sensor" or removal.kind == "band"


def plan_retrainings(
    scored: Sources, removals: Sequence[Removal], config: AblationConfig
) -> tuple[Retraining, ...]:
    """Say what is to be trained, and where each run stands.

    Args:
        scored: The checkpoints with their tiles.
        removals: The groups to do without; those that cannot be are left out.
        config: Where runs and store lie.

    Raises:
        InputDataError: The store has changed since the checkpoint was trained, or a run cannot be read.
        UsageError: A run of that name has other settings.
    """
    for part in scored.ensembles:
        checkpoint = part.checkpoint
        if checkpoint.metadata.manifest_hash != scored.store.manifest_hash:
            raise InputDataError(
                f"--retrain: {scored.store.path} is not the store that {checkpoint.path} was trained on, or "
                "has changed since, so that a network trained on it now would differ by more than its "
                "channels; name that store with --processed-dir, or train on this one."
            )
    folder = config.checkpoints_dir / ABLATIONS_FOLDER / scored.name
    channels = scored.ensembles[0].checkpoint.channels
    possible = [removal for removal in removals if can_be_retrained(removal, channels)]
    # Of groups of the same channels the first stands for all.
    distinct = {removal.effect: removal for removal in reversed(possible)}
    return tuple(
        Retraining(removal, tuple(_run(part, removal, folder, scored, config) for part in scored.ensembles))
        for removal in removals
        if removal in distinct.values()
    )


def _run(part: Ensemble, removal: Removal, folder: Path, scored: Sources, config: AblationConfig) -> Run:
    settings = settings_without(part.checkpoint, removal, scored.store.channels, config)
    name = f"without-{removal.label.replace(' ', '-')}"
    if len(scored.ensembles) > 1:
        name = fold_run_name(name, settings.folds.number, settings.folds.count)
    path = folder / name
    standing = read_standing(path / LAST_NAME) if (path / LAST_NAME).is_file() else None
    if standing is not None:
        _check_settings(standing.metadata.config, settings, path)
    elif any((path / kept).exists() for kept in (BEST_NAME, HISTORY_NAME)):
        raise InputDataError(f"The run {path} lacks its {LAST_NAME}; remove the folder to train it again.")
    return Run(part, path, settings, standing, config.window_size)


def settings_without(
    checkpoint: LoadedCheckpoint, removal: Removal, stored: Sequence[Channel], config: AblationConfig
) -> ESDConfig:
    """Return a checkpoint's settings without a group of channels, on one device.

    Args:
        checkpoint: Whose settings; its seed, folds and all else stay.
        removal: The group.
        stored: The store's channels.
        config: Where the store lies, and what to compute on.
    """
    own = checkpoint.config
    kept = tuple(channel for channel in checkpoint.channels if channel not in removal.effect.absent)
    bands = {
        sensor: tuple(dict.fromkeys(channel.band for channel in kept if channel.sensor == sensor))
        for sensor in dict.fromkeys(channel.sensor for channel in kept)
    }
    dates = {
        sensor: days
        for sensor in bands
        if (days := tuple(sorted({c.acquired for c in kept if c.sensor == sensor and c.acquired})))
    }
    data = DataConfig.model_validate(
        {
            **own.data.model_dump(),
            "processed_dir": config.processed_dir,
            "selected_bands": bands,
            "selected_dates": dates,
        }
    )
    assert select_channels(stored, data.selected_bands, data.selected_dates) == kept
    trainer: dict[str, object] = {"devices": 1, "num_nodes": 1}
    if config.accelerator != "auto":
        trainer["accelerator"] = config.accelerator
    group = own.tracking.group or f"ablate-{checkpoint.run_name}"
    return own.model_copy(
        update={
            "data": data,
            "trainer": own.trainer.model_copy(update=trainer),
            "tracking": own.tracking.model_copy(update={"group": group}),
        }
    )


def _check_settings(kept: ESDConfig, wanted: ESDConfig, path: Path) -> None:
    """Refuse a run that lies there already and has other settings (``UsageError``)."""
    differing = [
        f"{section}.{key}"
        for section, values in _comparable(wanted).items()
        for key, value in values.items()
        if _comparable(kept)[section].get(key) != value
    ]
    if differing:
        raise UsageError(
            f"The run {path} was trained with other settings ({', '.join(differing)}) than the checkpoint "
            "has; remove the folder to train it again, or move it away."
        )


def _comparable(config: ESDConfig) -> dict[str, dict[str, JsonValue]]:
    return config.model_dump(
        mode="json",
        exclude={
            "tracking": True,
            "data": {"processed_dir", "num_workers", "cache"},
            "trainer": OF_THE_MACHINE,
        },
    )
