"""Reading and checking a sweep file, which has W&B's own format."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from esdseg.config.evaluation import check_folder_name
from esdseg.config.loading import Key, read_yaml
from esdseg.config.section import did_you_mean
from esdseg.config.shipped import find_file
from esdseg.config.training import MONITORED_METRICS, meant_metrics
from esdseg.errors import ConfigError, UsageError
from esdseg.sweeping.distributions import MOST_LISTED, Choices, Parameter, Value, listed
from esdseg.sweeping.parameters import (
    DECIDED_BY_SWEEP,
    LEFT_OUT,
    Constant,
    Mistakes,
    fault_of_name,
    fault_of_use,
    is_of_others,
    long_name,
    owner_of,
    read_number,
    read_parameter,
)
from esdseg.sweeping.search_space import (
    MODEL,
    EarlyTermination,
    Method,
    Metric,
    Settings,
    Sweep,
    goal_of,
)

KEYS = (
    "name", "description", "project", "entity", "method", "metric", "parameters", "early_terminate",
    "run_cap",
)  # fmt: skip
IGNORED_KEYS = (
    "program", "command", "controller", "scheduler", "apiVersion", "kind", "job", "image_uri", "imageuri",
    "settings", "tags", "display_name", "resource", "resource_args", "queue", "priority",
)  # fmt: skip
"""Keys that say how W&B starts a training program; this command trains by itself."""

WANDB_COMMAND = ["${env}", "esdseg", "train", "--wandb-sweep"]
"""What an agent of W&B starts for each run, where the file says so; ``${env}`` is what finds a program."""

TERMINATION_KEYS = ("type", "min_iter", "max_iter", "s", "eta", "strict")
"""Keys of ``early_terminate``; a trial's best epoch counts here, with ``strict`` or without."""

METRIC_KEYS = ("name", "goal", "target", "impute", "impute_while_running")

CONTEXTS = 30
"""Points tried around a value before it is refused: another parameter's value may be what it clashes with."""


@dataclass(frozen=True)
class SweepFile:
    """A sweep as a file describes it.

    Attributes:
        sweep: What is searched.
        content: The file itself.
        notes: What of it is left out and why, and what it leaves open, a sentence each.
    """

    sweep: Sweep
    content: Mapping[str, Any]
    notes: tuple[str, ...]


def read_sweep(
    path: Path, settings: Sequence[tuple[str, Value, str]] = (), name: str | None = None
) -> SweepFile:
    """Read and check a sweep file.

    Args:
        path: The file, or the name of one that comes with esdseg, such as ``unet``.
        settings: Settings of every trial besides the file's: dotted name, value, and where it comes from,
            such as a flag. They win over the file's constants.
        name: The sweep's name; by default the file's key ``name``, or what the file is called.

    Raises:
        ConfigError: With a line for each mistake: its place, and the nearest right name.
        UsageError: A setting beside the file is one that the sweep searches or decides, or ``name`` names no
            folder.
    """
    path = find_file(path, "sweeps")
    content, places = read_yaml(path)
    mistakes = Mistakes(path, places)
    if not isinstance(content, dict):
        raise ConfigError(f"{path}:1:1: expected keys such as 'parameters:', found {content!r}.")
    for key in content:
        if key not in KEYS and key not in IGNORED_KEYS:
            mistakes.add_unknown((str(key),), KEYS)
    method = _read_method(content, mistakes)
    metric = _read_metric(content.get("metric"), method, mistakes)
    termination = _read_termination(content.get("early_terminate"), mistakes)
    trials = _read_count(content, ("run_cap",), mistakes)
    title = str(name or content.get("name") or path.stem)
    try:
        check_folder_name(title)
    except ValueError as error:
        if name is not None:
            raise UsageError(f"--name: {error}.") from None
        mistakes.add(("name",), f"name: {error}.")

    fixed: dict[str, Value] = {}
    parameters: dict[str, Parameter] = {}
    keys: dict[str, Key] = {}
    left_out: dict[str, list[str]] = {}
    for key, entry in _entries(content.get("parameters"), mistakes):
        setting = _setting_at(key)
        reason = next((why for why, names in LEFT_OUT.items() if setting.rpartition(".")[2] in names), None)
        if reason is not None:
            left_out.setdefault(f"they {reason}", []).append(str(key[-1]))
            continue
        if setting in keys:
            mistakes.add(key, f"'{setting}' is given twice, also at {mistakes.place(keys[setting])}.")
        keys[setting] = key
        found = read_parameter(key, entry, mistakes)
        if isinstance(found, Constant):
            fixed[setting] = found.value
        elif found is not None:
            parameters[setting] = found
    if "parameters" not in content:
        mistakes.add(
            (), "parameters: is missing; it names what to try, such as batch_size: {values: [4, 8]}."
        )

    given = _given(parameters, settings, content)
    fixed |= {setting: value for setting, (value, _) in given.items()}
    sweep = Sweep(title, method, metric, fixed, parameters, termination, trials)
    unused = tuple(setting for setting in keys if setting not in given and is_of_others(sweep, setting))
    if unused:
        models = " and ".join(sweep.models)
        left_out[f"{models} {'has' if len(sweep.models) == 1 else 'have'} no such settings"] = [
            str(keys[setting][-1]) for setting in unused
        ]
        sweep = _without(sweep, unused)
        keys = {setting: key for setting, key in keys.items() if setting not in unused}
    wrong = _check_names(sweep, keys, mistakes)
    for setting, (_, origin) in given.items():
        if is_of_others(sweep, setting):
            mistakes.add_placed(f"{origin}: {fault_of_use(sweep, setting)}")
    # What is wrong with a name would only be said again of its values.
    origins = {setting: origin for setting, (_, origin) in given.items()}
    _check_values(_without(sweep, wrong), keys, origins, mistakes)
    mistakes.raise_if_any()
    notes = []
    if MODEL not in sweep.fixed and MODEL not in sweep.parameters:
        notes.append(
            f"{path} names no model: {sweep.models[0]} is searched. Another one: --set "
            f"model.name={owner_of(unused)}"
        )
    notes += [f"{path}: left out, since {why}: {', '.join(names)}." for why, names in left_out.items()]
    passed_over = [key for key in IGNORED_KEYS if key in content]
    if passed_over and content.get("command") != WANDB_COMMAND:
        notes.append(f"{path}: passed over, since this command trains by itself: {', '.join(passed_over)}.")
    return SweepFile(sweep, content, tuple(notes))


def _without(sweep: Sweep, settings: Collection[str]) -> Sweep:
    """Return the search without some of its settings."""
    return replace(
        sweep,
        fixed={setting: value for setting, value in sweep.fixed.items() if setting not in settings},
        parameters={setting: kind for setting, kind in sweep.parameters.items() if setting not in settings},
    )


def _setting_at(key: Key) -> str:
    """Return the setting that a key below ``parameters`` names."""
    return long_name(".".join(part for part in map(str, key[1:]) if part != "parameters"))


def _read_method(content: Mapping[str, Any], mistakes: Mistakes) -> Method:
    method = content.get("method")
    if method in get_args(Method):
        return method  # type: ignore[return-value]
    if method is None:
        mistakes.add((), "method: is missing; use grid, random or bayes.")
    else:
        mistakes.add(("method",), f"method = {method!r} should be grid, random or bayes.")
    return "random"


def _read_metric(content: object, method: Method, mistakes: Mistakes) -> Metric:
    at = ("metric",)
    if content is None:
        if method == "bayes":
            mistakes.add(
                at, "metric: is missing; bayes needs one, such as {name: val_f1_macro, goal: maximize}."
            )
        return Metric()
    if not isinstance(content, dict):
        mistakes.add(at, "metric: write it as {name: val_f1_macro, goal: maximize}.")
        return Metric()
    for key in content:
        if key not in METRIC_KEYS:
            mistakes.add_unknown((*at, str(key)), METRIC_KEYS)
    name = content.get("name")
    if name is None:
        mistakes.add(at, "metric: name is missing, such as val_f1_macro.")
        return Metric()
    if name not in MONITORED_METRICS:
        fix = did_you_mean(meant_metrics(str(name))) or f"use one of {', '.join(MONITORED_METRICS)}."
        mistakes.add((*at, "name"), f"nothing logs '{name}'; {fix}")
        return Metric()
    goal = content.get("goal", "minimize")
    right = goal_of(name)
    if goal not in ("minimize", "maximize"):
        mistakes.add((*at, "goal"), f"goal = {goal!r} should be {right} for {name}.")
    elif goal != right:
        better = "lower" if right == "minimize" else "higher"
        unless = "" if "goal" in content else " (W&B minimizes unless told otherwise)"
        mistakes.add((*at, "goal"), f"{name} is better when {better}{unless}: write goal: {right}.")
    target = read_number(content.get("target"))
    if target is not None and (not isinstance(target, (int, float)) or isinstance(target, bool)):
        mistakes.add((*at, "target"), f"target = {target!r} is no number.")
        target = None
    return Metric(name, right, None if target is None else float(target))


def _read_termination(content: object, mistakes: Mistakes) -> EarlyTermination | None:
    at = ("early_terminate",)
    if content is None:
        return None
    if not isinstance(content, dict):
        mistakes.add(at, "early_terminate: write it as {type: hyperband, min_iter: 3}.")
        return None
    if content.get("type") != "hyperband":
        mistakes.add((*at, "type"), f"type = {content.get('type')!r} should be hyperband.")
        return None
    for key in content:
        if key not in TERMINATION_KEYS:
            mistakes.add_unknown((*at, str(key)), TERMINATION_KEYS)
    eta = read_number(content.get("eta", EarlyTermination.eta))
    if not isinstance(eta, (int, float)) or isinstance(eta, bool) or not 1 < eta < math.inf:
        mistakes.add((*at, "eta"), f"eta = {eta!r} should be a number above 1, such as 3.")
        return None
    first = _read_count(content, (*at, "min_iter"), mistakes)
    last = _read_count(content, (*at, "max_iter"), mistakes)
    most = _read_count(content, (*at, "s"), mistakes)
    if "min_iter" not in content and "max_iter" not in content:
        mistakes.add(at, "early_terminate: hyperband needs min_iter or max_iter.")
    if last is not None and last < eta:
        mistakes.add(
            (*at, "max_iter"),
            f"max_iter = {last}: the latest epoch that is judged is max_iter / eta, which is below 1 here; "
            f"use {math.ceil(eta)} or more, or min_iter.",
        )
    if last is None and first is None:
        return None
    # W&B's max_iter wins over min_iter.
    return EarlyTermination(first if last is None else None, last, most, eta)


def _read_count(content: Mapping[str, Any], key: tuple[str, ...], mistakes: Mistakes) -> int | None:
    value = content.get(key[-1])
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    mistakes.add(key, f"{key[-1]} = {value!r} should be a whole number of 1 or more.")
    return None


def _entries(content: object, mistakes: Mistakes, at: Key = ("parameters",)) -> Iterator[tuple[Key, object]]:
    """Yield every parameter with its key, those nested in others too."""
    if content is None:
        return
    if not isinstance(content, dict):
        mistakes.add(at, "parameters: write it as a mapping, such as batch_size: {values: [4, 8]}.")
        return
    for name, entry in content.items():
        key = (*at, str(name))
        if isinstance(entry, dict) and "parameters" in entry:
            yield from _entries(entry["parameters"], mistakes, (*key, "parameters"))
        else:
            yield key, entry


def _given(
    parameters: Mapping[str, Parameter],
    settings: Sequence[tuple[str, Value, str]],
    content: Mapping[str, Any],
) -> dict[str, tuple[Value, str]]:
    """Return the settings given beside the file, each with its origin, the file's project among them."""
    given = {
        f"tracking.{key}": (content[key], key)
        for key in ("project", "entity")
        if content.get(key) is not None
    }
    for name, value, origin in settings:
        setting = long_name(name)
        if setting in parameters:
            raise UsageError(f"{origin}: the sweep searches {setting}; leave one of the two out.")
        if setting in DECIDED_BY_SWEEP and not setting.startswith("tracking."):
            raise UsageError(f"{origin}: {setting} is decided by the sweep: {DECIDED_BY_SWEEP[setting]}.")
        given[setting] = (value, origin)
    return given


def _check_names(sweep: Sweep, keys: Mapping[str, Key], mistakes: Mistakes) -> set[str]:
    """Add unknown settings, and those that this sweep cannot use; return them."""
    wrong = set()
    for setting, key in keys.items():
        message = fault_of_name(sweep, setting, str(key[-1]))
        if message is not None:
            wrong.add(setting)
            mistakes.add(key, message)
        elif (
            sweep.method == "grid"
            and setting in sweep.parameters
            and listed(sweep.parameters[setting]) is None
        ):
            mistakes.add(
                key,
                f"{setting}: a grid cannot list all of {sweep.parameters[setting]}; give values, or at most "
                f"{MOST_LISTED} by int_uniform or q_uniform, or use method random or bayes.",
            )
    return wrong


def _check_values(
    sweep: Sweep, keys: Mapping[str, Key], given: Mapping[str, str], mistakes: Mistakes
) -> None:
    """Add listed values and ends of ranges that the configuration refuses whatever the other parameters are.

    Args:
        sweep: What is searched.
        keys: Where each of the file's settings stands in it.
        given: Where settings come from that do not stand in the file.
        mistakes: Gets them.
    """
    origins = {
        setting: mistakes.place((*key, "value") if setting in sweep.fixed else key)
        for setting, key in keys.items()
    }
    origins |= given
    models = listed(sweep.parameters[MODEL]) if MODEL in sweep.parameters else None
    bare: list[Settings] = [{}] if models is None else [{MODEL: name} for name in models]
    refusal = _refusal(sweep, bare, origins)
    if refusal is not None and models is None:
        mistakes.add_placed(refusal)
        return
    if refusal is not None:
        # No model can be trained: what is wrong with the other values cannot be known.
        sweep = _without(sweep, set(sweep.parameters) - {MODEL})
    contexts = [*bare, *map(sweep.values_at, islice(sweep.random_points(), CONTEXTS))]
    for setting, parameter in sweep.parameters.items():
        for position, value in enumerate(parameter.examples()):
            if isinstance(parameter, Choices):
                where: Key = ("values", parameter.values.index(value))
            else:
                where = (("min",), ("max",), ())[position]
            points = [{**context, setting: value} for context in contexts]
            points = [point for point in points if setting in sweep.settings_at(point)]
            place = mistakes.place((*keys[setting], *where))
            refusal = _refusal(sweep, points, {**origins, setting: place})
            if refusal is None:
                continue
            if where == ():
                refusal += " Its ends are allowed, but not what lies between; use int_uniform or q_uniform."
            mistakes.add_placed(refusal)
            if not isinstance(parameter, Choices):
                break


def _refusal(sweep: Sweep, points: Sequence[Settings], origins: Mapping[str, str]) -> str | None:
    """Return why the first of some points is refused, or ``None`` if any of them is allowed."""
    first = None
    for point in points:
        try:
            sweep.config_at(point, origins)
        except ConfigError as error:
            first = first or str(error)
        else:
            return None
    return first
