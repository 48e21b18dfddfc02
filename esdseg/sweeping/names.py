"""The names of settings in sweep files: short ones, those of other programs, and wrong ones."""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches

from esdseg.config.loading import setting_names
from esdseg.config.models import MODEL_CONFIGS, SensorBranchesConfig, model_uses
from esdseg.config.section import did_you_mean
from esdseg.config.training import SHORT_NAMES as TRAINING_NAMES
from esdseg.config.training import ESDConfig
from esdseg.sweeping.distributions import Value
from esdseg.sweeping.search import Sweep

SHORT_NAMES = {
    **TRAINING_NAMES,
    "model_name": "model.name",
    "model_type": "model.name",
    "tile_size_gt": "data.subtile_size",
    "epochs": "trainer.max_epochs",
    "lr": "optimizer.learning_rate",
    "optimizer": "optimizer.name",
}
"""The names of train's flags and of the course's parameters, and the settings they stand for."""

LEFT_OUT: Mapping[str, tuple[str, ...]] = {
    "follow from the data": (
        "in_channels", "out_channels", "n_channels", "num_channels", "n_classes", "num_classes",
        "scale_factor",
    ),
    "mean nothing to a sweep": (
        "raw_dir", "results_dir", "output_dir", "save_dir", "log_dir", "model_path", "load_from_chkpt",
        "run_name", "wandb_run_name", "wandb_project", "wandb_entity", "experiment_name", "log_every",
        "log_every_n_steps", "log_interval", "verbose", "pin_memory", "persistent_workers",
    ),
}  # fmt: skip
"""Parameters of other programs that are no settings here, by the reason."""

DECIDED_BY_SWEEP = {
    "trainer.monitor": "the sweep's metric is what every trial monitors",
    "trainer.devices": "every trial uses one device; --workers N trains on several",
    "trainer.num_nodes": "every trial uses one machine; --storage URL joins several",
    "tracking.group": "the sweep's name groups the runs",
    "tracking.project": "write it as the file's own key project",
    "tracking.entity": "write it as the file's own key entity",
}
"""Settings that a sweep file may not name, each with the reason."""

NEVER_SEARCHED = ("folds.fold", "folds.seed", "tracking.wandb")
"""Settings that change what a score means or where it goes, so that trials cannot be compared by it."""


def long_name(name: str) -> str:
    """Return the dotted name of a setting that may be named shortly, or by the last part that only it has."""
    if name in SHORT_NAMES:
        return SHORT_NAMES[name]
    owners = [setting for setting in setting_names(ESDConfig) if setting.rpartition(".")[2] == name]
    return owners[0] if len(owners) == 1 else name


def is_of_others(sweep: Sweep, setting: str) -> bool:
    """Say whether some models have a setting, and none of the sweep's."""
    return (
        bool(sweep.models)
        and not any(_has(sweep, model, setting) for model in sweep.models)
        and any(_has(sweep, model, setting) for model in MODEL_CONFIGS)
    )


def _has(sweep: Sweep, model: str, setting: str) -> bool:
    return setting in setting_names(ESDConfig, (model,)) and sweep.is_used_by(model, setting)


def owner_of(settings: Collection[str]) -> str:
    """Return the model that has the most of some settings; of equal ones the first that is no default."""
    others = [model for model in MODEL_CONFIGS if model != SensorBranchesConfig().name]
    return max(others, key=lambda model: sum(model_uses(model, setting) for setting in settings))


def fault_of_name(sweep: Sweep, setting: str, written: str) -> str | None:
    """Say why a sweep file may not name a setting, or return ``None`` where it may.

    Args:
        sweep: What is searched.
        setting: The setting's dotted name.
        written: How the file names it.
    """
    decided: dict[str, Value] = {
        "trainer.devices": 1, "trainer.num_nodes": 1, "trainer.monitor": sweep.metric.name,
    }  # fmt: skip
    is_as_decided = setting in decided and sweep.fixed.get(setting) == decided[setting]
    if setting in DECIDED_BY_SWEEP and not is_as_decided:
        return f"{written} is no parameter of a sweep: {DECIDED_BY_SWEEP[setting]}."
    if setting in sweep.parameters and setting in NEVER_SEARCHED:
        return f"{written} cannot be searched, only fixed: trials of different ones cannot be compared."
    known = setting_names(ESDConfig, sweep.models or tuple(MODEL_CONFIGS))
    if setting in known:
        return None
    return f"unknown parameter '{written}'; {_suggest_settings(written, known)}"


def _suggest_settings(written: str, known: Sequence[str]) -> str:
    """Ask for the three settings nearest to an unknown name, each by its short name where it has one."""
    shortest = {
        setting: part for setting in known if long_name(part := setting.rpartition(".")[2]) == setting
    }
    shortest |= {long: short for short, long in reversed(SHORT_NAMES.items())}
    names = {setting: setting for setting in known}
    names |= {setting.rpartition(".")[2]: setting for setting in known}
    names |= {short: long for short, long in SHORT_NAMES.items() if long in known}
    likely = [names[match] for match in get_close_matches(written, names, n=len(names), cutoff=0)]
    three = tuple(dict.fromkeys(shortest.get(setting, setting) for setting in likely))[:3]
    return did_you_mean(three)


def fault_of_use(sweep: Sweep, setting: str) -> str:
    """Say why no model of the sweep uses a setting of others."""
    models = " and ".join(sweep.models)
    if not setting.startswith("model."):
        because = MODEL_CONFIGS[sweep.models[0]].unused_because
        return f"{setting} does not apply to {models}, which {because}; leave it out."
    owners = ", ".join(model for model in MODEL_CONFIGS if sweep.is_used_by(model, setting))
    return f"{setting} is a setting of {owners}, and the sweep's model is {models}; leave it out."
