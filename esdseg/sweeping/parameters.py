"""The parameters of a sweep file: their names, their distributions, and the mistakes in them."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from esdseg.config.loading import Key, setting_names
from esdseg.config.models import MODEL_CONFIGS, SensorBranchesConfig, model_uses
from esdseg.config.section import did_you_mean, nearest_names
from esdseg.config.training import SHORT_NAMES as TRAINING_NAMES
from esdseg.config.training import ESDConfig
from esdseg.errors import ConfigError
from esdseg.sweeping.distributions import Choices, Numbers, Parameter, Value
from esdseg.sweeping.search_space import Sweep


class Mistakes:
    """Gathers the mistakes in a file, so that all are told at once.

    Args:
        file: The file.
        places: The place of each key in it, as ``FILE:LINE:COLUMN``.
    """

    def __init__(self, file: Path, places: Mapping[Key, str]) -> None:
        self._file = file
        self._places = places
        self._lines: dict[str, None] = {}

    def place(self, key: Key) -> str:
        """Return the place of a key, or of the nearest key above it that stands in the file."""
        for length in range(len(key), 0, -1):
            if key[:length] in self._places:
                return self._places[key[:length]]
        return f"{self._file}:1:1"

    def add(self, key: Key, message: str) -> None:
        """Add a mistake at a key."""
        self._lines[f"{self.place(key)}: {message}"] = None

    def add_placed(self, message: str) -> None:
        """Add mistakes, a line each, that begin with their places."""
        for line in message.splitlines():
            self._lines[line] = None

    def add_unknown(self, key: Key, known: Sequence[str]) -> None:
        """Add an unknown key, with the nearest right one or all of them."""
        self.add(key, f"unknown key '{key[-1]}'; {suggestion(str(key[-1]), known)}")

    def raise_if_any(self) -> None:
        """Refuse the file if there are mistakes.

        Raises:
            ConfigError: With a line for each mistake, in the order of the file.
        """
        if self._lines:
            raise ConfigError("\n".join(sorted(self._lines, key=self._position)))

    def _position(self, line: str) -> tuple[int, int]:
        """Return line and column of a mistake; one outside the file comes first."""
        found = re.match(r":(\d+):(\d+)", line.removeprefix(str(self._file)))
        return (int(found[1]), int(found[2])) if found else (0, 0)


def suggestion(name: str, known: Sequence[str]) -> str:
    """Return the names that were probably meant by an unknown one, in words, or all known names."""
    return did_you_mean(nearest_names(name, known)) or f"known: {', '.join(known)}."


_BOUNDS = ("min", "max")
_KEYS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "categorical": ("values",),
    "categorical_w_probabilities": ("values", "probabilities"),
    **dict.fromkeys(("int_uniform", "uniform", "log_uniform", "log_uniform_values"), _BOUNDS),
    **dict.fromkeys(("inv_log_uniform", "inv_log_uniform_values"), _BOUNDS),
    **dict.fromkeys(("normal", "log_normal"), ("mu", "sigma")),
    "beta": ("a", "b"),
}
_QUANTIZED = ("uniform", "log_uniform", "log_uniform_values", "normal", "log_normal", "beta")
_KEYS |= {f"q_{name}": (*_KEYS[name], "q") for name in _QUANTIZED}

DISTRIBUTIONS = tuple(_KEYS)
"""The names of the distributions in W&B's sweeps."""

_DEFAULTS = {"q": 1.0, "mu": 0.0, "sigma": 1.0, "a": 1.0, "b": 1.0}
_POSITIVE = ("q", "sigma", "a", "b")
_EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


@dataclass(frozen=True)
class Constant:
    """A setting that is the same in every trial."""

    value: Value


def read_number(value: object) -> object:
    """Return a number for a text such as ``1e-4``, which YAML 1.1 does not take for one; else the value."""
    if isinstance(value, str) and _EXPONENT.fullmatch(value.strip()):
        return float(value)
    if isinstance(value, list):
        return [read_number(item) for item in value]
    return value


def read_parameter(key: Key, content: object, mistakes: Mistakes) -> Constant | Parameter | None:
    """Read a parameter.

    Args:
        key: Where it stands.
        content: What stands there.
        mistakes: Gets what is wrong.

    Returns:
        The parameter, or ``None`` where it is wrong.
    """
    if not isinstance(content, dict):
        form = "values: [...]" if isinstance(content, list) else f"value: {content}"
        mistakes.add(key, f"{key[-1]}: write what to try as a mapping, such as {{{form}}}.")
        return None
    name = _read_name(key, content, mistakes)
    if name is None:
        return None
    keys = _KEYS[name]
    given = {str(word): read_number(value) for word, value in content.items() if word != "distribution"}
    wrong = [word for word in given if word not in keys]
    for word in wrong:
        mistakes.add((*key, word), f"{name} has no key '{word}'; {suggestion(word, keys)}")
    missing = [word for word in keys if word not in given and word not in _DEFAULTS]
    if missing and not wrong:
        mistakes.add(key, f"{key[-1]}: {name} needs {' and '.join(missing)}.")
    if wrong or missing:
        return None
    if name == "constant":
        return Constant(given["value"])  # type: ignore[arg-type]
    if name.startswith("categorical"):
        return _read_choices(key, given, mistakes)
    return _read_numbers(key, name, given, mistakes)


def _read_name(key: Key, content: Mapping[object, object], mistakes: Mistakes) -> str | None:
    """Return the name of the distribution, or of the one that W&B takes where none is given."""
    if "distribution" in content:
        name = str(content["distribution"])
        if name in DISTRIBUTIONS:
            return name
        fix = suggestion(name, DISTRIBUTIONS)
        mistakes.add((*key, "distribution"), f"unknown distribution '{name}'; {fix}")
        return None
    if "value" in content:
        return "constant"
    if "probabilities" in content:
        return "categorical_w_probabilities"
    if "values" in content:
        return "categorical"
    if "min" in content or "max" in content:
        bounds = [content.get(bound) for bound in _BOUNDS]
        whole = all(isinstance(bound, int) and not isinstance(bound, bool) for bound in bounds)
        return "int_uniform" if whole else "uniform"
    for word in content:
        mistakes.add_unknown(
            (*key, str(word)), ("value", "values", "min", "max", "distribution", "parameters")
        )
    if not content:
        mistakes.add(key, f"{key[-1]}: give value, values, or min and max.")
    elif "q" in content or "mu" in content:
        mistakes.add(key, f"{key[-1]}: name its distribution, such as normal.")
    return None


def _read_choices(key: Key, given: Mapping[str, object], mistakes: Mistakes) -> Parameter | None:
    values = given["values"]
    if not isinstance(values, list) or not values:
        such = f", such as [{values}]" if isinstance(values, (str, int, float)) else ""
        mistakes.add((*key, "values"), f"{key[-1]}: values is a list of one value or more{such}.")
        return None
    for position, value in enumerate(values):
        # 1, 1.0 and true are one label to a search.
        if value in values[:position]:
            mistakes.add((*key, "values", position), f"{key[-1]}: the value {value!r} stands twice.")
            return None
    if "probabilities" not in given:
        return Choices(tuple(values))
    shares = given["probabilities"]
    fault = None
    if not isinstance(shares, list) or not all(_is_number(share) and share >= 0 for share in shares):
        fault = "probabilities are numbers of 0 and more."
    elif len(shares) != len(values):
        fault = f"{len(shares)} probabilities for {len(values)} values."
    elif not math.isclose(math.fsum(shares), 1, abs_tol=1e-3):
        fault = f"the probabilities add up to {math.fsum(shares):g}, not 1."
    if fault is not None:
        mistakes.add((*key, "probabilities"), f"{key[-1]}: {fault}")
        return None
    assert isinstance(shares, list)
    return Choices(tuple(values), tuple(map(float, shares)))


def _read_numbers(key: Key, name: str, given: Mapping[str, object], mistakes: Mistakes) -> Parameter | None:
    positive = (*_POSITIVE, *(_BOUNDS if name.endswith("_values") else ()))
    numbers: dict[str, float] = {}
    for word, value in given.items():
        if not isinstance(value, (int, float)) or not _is_number(value):
            mistakes.add((*key, word), f"{key[-1]}: {word} = {value!r} is no number.")
        elif word in positive and value <= 0:
            mistakes.add((*key, word), f"{key[-1]}: {word} = {value:g} should be greater than 0.")
        else:
            numbers[word] = value
    if len(numbers) < len(given):
        return None
    low, high = numbers.get("min", 0.0), numbers.get("max", 0.0)
    if low > high:
        mistakes.add((*key, "min"), f"{key[-1]}: min {low:g} is greater than max {high:g}.")
        return None
    if name == "int_uniform" and not (float(low).is_integer() and float(high).is_integer()):
        mistakes.add(key, f"{key[-1]}: int_uniform takes whole numbers as min and max; or use uniform.")
        return None
    # Bounds whose exponentials differ by less than a factor of e are hardly meant as logarithms.
    if name in ("log_uniform", "q_log_uniform", "inv_log_uniform") and 0 < low < high <= 1:
        mistakes.add(
            (*key, "distribution"),
            f"{key[-1]}: {name} takes natural logarithms as min and max, so this goes from "
            f"{math.exp(low):.4g} to {math.exp(high):.4g}; for values between {low:g} and {high:g} use "
            f"{name}_values.",
        )
        return None
    try:
        parameter = _numbers_of(name, {**_DEFAULTS, **numbers})
        usable = all(map(math.isfinite, parameter.bounds))
    except OverflowError:
        usable = False
    if not usable:
        mistakes.add(key, f"{key[-1]}: its largest value is too large for a number.")
        return None
    if parameter.quantum is not None and not parameter.multiples:
        low, high = parameter.bounds
        mistakes.add(key, f"{key[-1]}: no multiple of q = {parameter.quantum:g} lies in {low:g} to {high:g}.")
        return None
    return parameter


def _numbers_of(name: str, given: Mapping[str, float]) -> Numbers:
    base = name.removeprefix("q_")
    quantum = 1 if name == "int_uniform" else given["q"] if name != base else None
    match base:
        case "normal":
            return Numbers("normal", given["mu"], given["sigma"], quantum)
        case "log_normal":
            return Numbers("log_normal", given["mu"], given["sigma"], quantum)
        case "beta":
            return Numbers("beta", given["a"], given["b"], quantum)
        case "int_uniform" | "uniform":
            return Numbers("uniform", given["min"], given["max"], quantum)
        case "log_uniform":
            return Numbers("log_uniform", math.exp(given["min"]), math.exp(given["max"]), quantum)
        case "inv_log_uniform":
            return Numbers("log_uniform", math.exp(-given["max"]), math.exp(-given["min"]), quantum)
        case _:  # The inverse of a log-uniform number is log-uniform.
            return Numbers("log_uniform", given["min"], given["max"], quantum)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


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
