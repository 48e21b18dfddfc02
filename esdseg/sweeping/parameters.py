"""Reading one parameter of a sweep file: the name of its distribution and the keys that belong to it."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from esdseg.config.loading import Key
from esdseg.sweeping.distributions import Choices, Numbers, Parameter, Value
from esdseg.sweeping.mistakes import Mistakes, suggestion

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
