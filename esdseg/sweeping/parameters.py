"""Reading one parameter of a sweep file: its kind and what the kind needs."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from esdseg.config.loading import Key
from esdseg.sweeping.continuous import Beta, Continuous, LogNormal, LogUniform, Normal, Quantized, Uniform
from esdseg.sweeping.problems import Problems, suggestion
from esdseg.sweeping.space import Choices, Integers, Parameter, Value, WeightedChoices

Numbers = Mapping[str, float]

POSITIVE_KEYS = ("q", "sigma", "a", "b")
_EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


@dataclass(frozen=True)
class Constant:
    """A setting that is the same in every trial."""

    value: Value


@dataclass(frozen=True)
class _Distribution:
    """What a distribution needs, what it may be given, and what it becomes."""

    required: tuple[str, ...]
    defaults: Numbers
    build: Callable[[Numbers], Continuous]
    positive: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        return (*self.required, *self.defaults)


def _uniform(n: Numbers) -> Continuous:
    return Uniform(n["min"], n["max"])


def _log_uniform(n: Numbers) -> Continuous:
    return LogUniform(n["min"], n["max"])


_BOUNDS = ("min", "max")
_SHAPE = {"mu": 0.0, "sigma": 1.0}
_CONTINUOUS = {
    "uniform": _Distribution(_BOUNDS, {}, _uniform),
    "log_uniform_values": _Distribution(_BOUNDS, {}, _log_uniform, positive=_BOUNDS),
    "log_uniform": _Distribution(_BOUNDS, {}, lambda n: LogUniform(math.exp(n["min"]), math.exp(n["max"]))),
    # The inverse of a log-uniform number is log-uniform.
    "inv_log_uniform_values": _Distribution(_BOUNDS, {}, _log_uniform, positive=_BOUNDS),
    "inv_log_uniform": _Distribution(
        _BOUNDS, {}, lambda n: LogUniform(math.exp(-n["max"]), math.exp(-n["min"]))
    ),
    "normal": _Distribution((), _SHAPE, lambda n: Normal(n["mu"], n["sigma"])),
    "log_normal": _Distribution((), _SHAPE, lambda n: LogNormal(n["mu"], n["sigma"])),
    "beta": _Distribution((), {"a": 1.0, "b": 1.0}, lambda n: Beta(n["a"], n["b"])),
}
_QUANTIZED = {
    f"q_{name}": name
    for name in ("uniform", "log_uniform", "log_uniform_values", "normal", "log_normal", "beta")
}
_DISCRETE_KEYS = {
    "constant": ("value",),
    "categorical": ("values",),
    "categorical_w_probabilities": ("values", "probabilities"),
    "int_uniform": ("min", "max"),
}

DISTRIBUTIONS = (*_DISCRETE_KEYS, *_CONTINUOUS, *_QUANTIZED)
"""Their names in W&B's sweeps."""

EXPONENTS = ("log_uniform", "q_log_uniform", "inv_log_uniform")
"""Distributions whose bounds are natural logarithms."""


def read_number(value: object) -> object:
    """Return a number for a text such as ``1e-4``, which YAML 1.1 does not take for one; else the value."""
    if isinstance(value, str) and _EXPONENT.fullmatch(value.strip()):
        return float(value)
    if isinstance(value, list):
        return [read_number(item) for item in value]
    return value


def read_parameter(key: Key, content: object, problems: Problems) -> Constant | Parameter | None:
    """Read a parameter.

    Args:
        key: Where it stands.
        content: What stands there.
        problems: Told of what is wrong.

    Returns:
        The parameter, or ``None`` where it is wrong.
    """
    if not isinstance(content, dict):
        form = "values: [...]" if isinstance(content, list) else f"value: {content}"
        problems.add(key, f"{key[-1]}: write what to try as a mapping, such as {{{form}}}.")
        return None
    name = _distribution_of(key, content, problems)
    if name is None:
        return None
    keys = _keys_of(name)
    given = {str(one): read_number(value) for one, value in content.items() if one != "distribution"}
    wrong = [one for one in given if one not in keys]
    for one in wrong:
        problems.add((*key, one), f"{name} has no key '{one}'; {suggestion(one, keys)}")
    if wrong:
        return None
    needed = _CONTINUOUS[_QUANTIZED.get(name, name)].required if name not in _DISCRETE_KEYS else keys
    missing = [one for one in needed if one not in given]
    if missing:
        problems.add(key, f"{key[-1]}: {name} needs {' and '.join(missing)}.")
        return None
    if name == "constant":
        return Constant(given["value"])  # type: ignore[arg-type]
    if name.startswith("categorical"):
        return _read_choices(key, given, problems)
    return _read_numbers(key, name, given, problems)


def _keys_of(name: str) -> tuple[str, ...]:
    if name in _DISCRETE_KEYS:
        return _DISCRETE_KEYS[name]
    keys = _CONTINUOUS[_QUANTIZED.get(name, name)].keys
    return (*keys, "q") if name in _QUANTIZED else keys


def _distribution_of(key: Key, content: Mapping[object, object], problems: Problems) -> str | None:
    """Return the distribution that is named, or the one that W&B takes where none is."""
    if "distribution" in content:
        name = str(content["distribution"])
        if name not in DISTRIBUTIONS:
            at = (*key, "distribution")
            problems.add(at, f"unknown distribution '{name}'; {suggestion(name, DISTRIBUTIONS)}")
            return None
        return name
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
    known = ("value", "values", "min", "max", "distribution", "parameters")
    for one in content:
        problems.add_unknown((*key, str(one)), known)
    if not content:
        problems.add(key, f"{key[-1]}: give value, values, or min and max.")
    elif "q" in content or "mu" in content:
        problems.add(key, f"{key[-1]}: name its distribution, such as normal.")
    return None


def _read_choices(key: Key, given: Mapping[str, object], problems: Problems) -> Parameter | None:
    values = given["values"]
    if not isinstance(values, list) or not values:
        problems.add((*key, "values"), f"{key[-1]}: values is a list of one value or more.")
        return None
    for position, value in enumerate(values):
        # 1, 1.0 and true are one label to a search.
        if value in values[:position]:
            problems.add((*key, "values", position), f"{key[-1]}: the value {value!r} stands twice.")
            return None
    if "probabilities" not in given:
        return Choices(tuple(values))
    shares = given["probabilities"]
    at = (*key, "probabilities")
    if not isinstance(shares, list) or not all(_is_number(share) and share >= 0 for share in shares):
        problems.add(at, f"{key[-1]}: probabilities are numbers of 0 and more.")
        return None
    if len(shares) != len(values):
        problems.add(at, f"{key[-1]}: {len(shares)} probabilities for {len(values)} values.")
        return None
    if not math.isclose(math.fsum(shares), 1, abs_tol=1e-3):
        problems.add(at, f"{key[-1]}: the probabilities add up to {math.fsum(shares):g}, not 1.")
        return None
    return WeightedChoices(tuple(values), tuple(map(float, shares)))


def _read_numbers(key: Key, name: str, given: Mapping[str, object], problems: Problems) -> Parameter | None:
    bad = [one for one, value in given.items() if not _is_number(value)]
    for one in bad:
        problems.add((*key, one), f"{key[-1]}: {one} = {given[one]!r} is no number.")
    if bad:
        return None
    numbers = {one: value for one, value in given.items() if isinstance(value, (int, float))}
    base = _CONTINUOUS.get(_QUANTIZED.get(name, name))
    positive = (*POSITIVE_KEYS, *(base.positive if base else ()))
    for one in positive:
        if one in numbers and numbers[one] <= 0:
            problems.add((*key, one), f"{key[-1]}: {one} = {numbers[one]:g} should be greater than 0.")
            return None
    if "min" in numbers and numbers["min"] > numbers["max"]:
        problems.add(
            (*key, "min"), f"{key[-1]}: min {numbers['min']:g} is greater than max {numbers['max']:g}."
        )
        return None
    if name in EXPONENTS and _looks_like_values(numbers):
        low, high = math.exp(numbers["min"]), math.exp(numbers["max"])
        problems.add(
            (*key, "distribution"),
            f"{key[-1]}: {name} takes natural logarithms as min and max, so this goes from {low:.4g} to "
            f"{high:.4g}; for values between {numbers['min']:g} and {numbers['max']:g} use {name}_values.",
        )
        return None
    if base is None:
        low_bound, high_bound = numbers["min"], numbers["max"]
        if not float(low_bound).is_integer() or not float(high_bound).is_integer():
            problems.add(key, f"{key[-1]}: int_uniform takes whole numbers as min and max; or use uniform.")
            return None
        return Integers(int(low_bound), int(high_bound))
    try:
        continuous = base.build({**base.defaults, **numbers})
        usable = all(map(math.isfinite, continuous.bounds))
    except OverflowError:
        usable = False
    if not usable:
        problems.add(key, f"{key[-1]}: its largest value is too large for a number.")
        return None
    if name not in _QUANTIZED:
        return continuous
    quantized = Quantized(continuous, numbers.get("q", 1.0))
    if not quantized.multiples:
        low, high = continuous.bounds
        problems.add(key, f"{key[-1]}: no multiple of q = {quantized.quantum:g} lies in {low:g} to {high:g}.")
        return None
    return quantized


def _looks_like_values(numbers: Numbers) -> bool:
    """Say whether bounds are hardly logarithms: their exponentials differ by less than a factor of e."""
    return 0 < numbers["min"] < numbers["max"] <= 1


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
