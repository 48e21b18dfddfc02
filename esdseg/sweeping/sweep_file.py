"""Reading a sweep file, in W&B's own format."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from esdseg.config.evaluation import check_folder_name
from esdseg.config.loading import Key, read_yaml
from esdseg.config.training import MONITORED_METRICS
from esdseg.errors import UsageError
from esdseg.sweeping.checking import check_settings, check_values
from esdseg.sweeping.names import DECIDED_BY_SWEEP, long_name
from esdseg.sweeping.parameters import Constant, read_number, read_parameter
from esdseg.sweeping.problems import Problems, suggestion
from esdseg.sweeping.space import Parameter, Value
from esdseg.sweeping.spec import EarlyTermination, Method, Metric, Sweep, goal_of

IGNORED_KEYS = ("program", "command", "controller", "apiVersion", "kind", "job", "image_uri")
"""Keys that say how W&B starts a training program; this command trains by itself."""

KEYS = (
    "name", "description", "project", "entity", "method", "metric", "parameters", "early_terminate",
    "run_cap",
)  # fmt: skip
METRIC_KEYS = ("name", "goal", "target", "impute", "impute_while_running")
TERMINATION_KEYS = ("type", "min_iter", "max_iter", "s", "eta", "strict")


@dataclass(frozen=True)
class SweepFile:
    """A sweep as a file describes it.

    Attributes:
        sweep: What is searched.
        content: The file itself, with the settings' dotted names, for W&B.
        ignored: Keys that have no meaning here.
    """

    sweep: Sweep
    content: Mapping[str, Any]
    ignored: tuple[str, ...]


def read_sweep(
    path: Path, settings: Sequence[tuple[str, Value, str]] = (), name: str | None = None
) -> SweepFile:
    """Read and check a sweep file.

    Args:
        path: The file.
        settings: Settings of every trial besides the file's: dotted name, value, and where it comes from,
            such as a flag. They win over the file's constants.
        name: The sweep's name; by default the file's key ``name``, or what the file is called.

    Raises:
        ConfigError: With a line for each mistake: its place, and the nearest right name.
    """
    content, places = read_yaml(path)
    problems = Problems(path, places)
    if not isinstance(content, dict):
        problems.add((), f"expected keys such as 'parameters:', found {content!r}.")
        problems.raise_if_any()
        raise AssertionError("unreachable")
    for key in content:
        if key not in KEYS and key not in IGNORED_KEYS:
            problems.add_unknown((str(key),), KEYS)
    method = _read_method(content, problems)
    metric = _read_metric(content.get("metric"), method, problems)
    termination = _read_termination(content.get("early_terminate"), problems)
    trials = content.get("run_cap")
    if trials is not None and (not isinstance(trials, int) or isinstance(trials, bool) or trials < 1):
        problems.add(("run_cap",), f"run_cap = {trials!r} should be a whole number of 1 or more.")
        trials = None
    chosen = name or content.get("name") or path.stem
    try:
        check_folder_name(str(chosen))
    except ValueError as error:
        if name is not None:
            raise UsageError(f"--name: {error}.") from None
        problems.add(("name",), f"name: {error}.")

    fixed: dict[str, Value] = {}
    parameters: dict[str, Parameter] = {}
    keys: dict[str, Key] = {}
    for key, entry in _entries(content.get("parameters"), problems):
        setting = long_name(".".join(part for part in map(str, key[1:]) if part != "parameters"))
        if setting in keys:
            problems.add(key, f"'{setting}' is given twice, also at {problems.place(keys[setting])}.")
        keys[setting] = key
        found = read_parameter(key, entry, problems)
        if isinstance(found, Constant):
            fixed[setting] = found.value
        elif found is not None:
            parameters[setting] = found
    if not keys and "parameters" not in content:
        problems.add(
            (), "parameters: is missing; it names what to try, such as batch_size: {values: [4, 8]}."
        )

    sweep = Sweep(str(chosen), method, metric, fixed, parameters, termination, trials)
    given = _given(sweep, settings, content)
    sweep = replace(sweep, fixed={**fixed, **{one: value for one, (value, _) in given.items()}})
    _check_grid(sweep, keys, problems)
    # What is wrong with a name would only be said again of its values.
    wrong = check_settings(sweep, keys, problems)
    usable = replace(
        sweep,
        fixed={one: value for one, value in sweep.fixed.items() if one not in wrong},
        parameters={one: parameter for one, parameter in parameters.items() if one not in wrong},
    )
    check_values(usable, keys, {one: origin for one, (_, origin) in given.items()}, problems)
    problems.raise_if_any()
    return SweepFile(sweep, _for_wandb(content, sweep), tuple(key for key in IGNORED_KEYS if key in content))


def _read_method(content: Mapping[str, Any], problems: Problems) -> Method:
    method = content.get("method")
    if method in get_args(Method):
        return method  # type: ignore[return-value]
    if method is None:
        problems.add((), "method: is missing; use grid, random or bayes.")
    else:
        problems.add(("method",), f"method = {method!r} should be grid, random or bayes.")
    return "random"


def _read_metric(content: object, method: Method, problems: Problems) -> Metric:
    at = ("metric",)
    if content is None:
        if method == "bayes":
            problems.add(
                at, "metric: is missing; bayes needs one, such as {name: val_f1_macro, goal: maximize}."
            )
        return Metric()
    if not isinstance(content, dict):
        problems.add(at, "metric: write it as {name: val_f1_macro, goal: maximize}.")
        return Metric()
    for key in content:
        if key not in METRIC_KEYS:
            problems.add_unknown((*at, str(key)), METRIC_KEYS)
    name = content.get("name")
    if name is None:
        problems.add(at, "metric: name is missing, such as val_f1_macro.")
        return Metric()
    if name not in MONITORED_METRICS:
        problems.add((*at, "name"), f"nothing logs '{name}'; {suggestion(str(name), MONITORED_METRICS)}")
        return Metric()
    goal = content.get("goal", "minimize")
    right = goal_of(name)
    if goal not in ("minimize", "maximize"):
        problems.add((*at, "goal"), f"goal = {goal!r} should be {right} for {name}.")
    elif goal != right:
        better = "lower" if right == "minimize" else "higher"
        unless = "" if "goal" in content else " (W&B minimizes unless told otherwise)"
        problems.add((*at, "goal"), f"{name} is better when {better}{unless}: write goal: {right}.")
    target = read_number(content.get("target"))
    if target is not None and (not isinstance(target, (int, float)) or isinstance(target, bool)):
        problems.add((*at, "target"), f"target = {target!r} is no number.")
        target = None
    return Metric(name, right, None if target is None else float(target))


def _read_termination(content: object, problems: Problems) -> EarlyTermination | None:
    at = ("early_terminate",)
    if content is None:
        return None
    if not isinstance(content, dict):
        problems.add(at, "early_terminate: write it as {type: hyperband, min_iter: 3}.")
        return None
    for key in content:
        if key not in TERMINATION_KEYS:
            problems.add_unknown((*at, str(key)), TERMINATION_KEYS)
    if content.get("type") != "hyperband":
        problems.add((*at, "type"), f"type = {content.get('type')!r} should be hyperband.")
        return None
    bad = False
    for key, least in (("min_iter", 1), ("max_iter", 1), ("s", 1), ("eta", 2)):
        value = content.get(key, least)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            problems.add((*at, key), f"{key} = {value!r} should be a whole number of {least} or more.")
            bad = True
    if bad:
        return None
    eta = content.get("eta", 3)
    if "min_iter" in content:
        return EarlyTermination(content["min_iter"], eta)
    if "max_iter" not in content or "s" not in content:
        problems.add(at, "early_terminate: hyperband needs min_iter, or max_iter and s.")
        return None
    return EarlyTermination(max(1, content["max_iter"] // eta ** content["s"]), eta)


def _entries(content: object, problems: Problems, at: Key = ("parameters",)) -> Iterator[tuple[Key, object]]:
    """Yield every parameter with its key, those nested in others too."""
    if content is None:
        return
    if not isinstance(content, dict):
        problems.add(at, "parameters: write it as a mapping, such as batch_size: {values: [4, 8]}.")
        return
    for name, entry in content.items():
        key = (*at, str(name))
        if isinstance(entry, dict) and "parameters" in entry:
            yield from _entries(entry["parameters"], problems, (*key, "parameters"))
        else:
            yield key, entry


def _given(
    sweep: Sweep, settings: Sequence[tuple[str, Value, str]], content: Mapping[str, Any]
) -> dict[str, tuple[Value, str]]:
    """Return the settings given beside the file, each with its origin, the file's project among them."""
    given: dict[str, tuple[Value, str]] = {}
    for key in ("project", "entity"):
        if content.get(key) is not None:
            given[f"tracking.{key}"] = (content[key], key)
    for setting, value, origin in settings:
        if setting in sweep.parameters:
            raise UsageError(f"{origin}: the sweep searches {setting}; leave one of the two out.")
        if setting in DECIDED_BY_SWEEP and setting not in given and not setting.startswith("tracking."):
            raise UsageError(f"{origin}: {setting} is decided by the sweep: {DECIDED_BY_SWEEP[setting]}.")
        given[setting] = (value, origin)
    return given


def _check_grid(sweep: Sweep, keys: Mapping[str, Key], problems: Problems) -> None:
    if sweep.method != "grid":
        return
    for setting, parameter in sweep.parameters.items():
        if parameter.positions() is None:
            problems.add(
                keys[setting],
                f"{setting}: a grid cannot list all of {parameter}; give values, int_uniform or q_uniform, "
                "or use method random or bayes.",
            )


def _for_wandb(content: Mapping[str, Any], sweep: Sweep) -> dict[str, Any]:
    """Return the file for W&B: without keys that are ignored here, and with dotted names."""
    kept = {key: value for key, value in content.items() if key in KEYS}
    kept["name"] = sweep.name
    kept["metric"] = {**(kept.get("metric") or {}), "name": sweep.metric.name, "goal": sweep.metric.goal}
    kept["parameters"] = {
        long_name(".".join(part for part in map(str, key[1:]) if part != "parameters")): {
            one: value if one == "distribution" else read_number(value) for one, value in entry.items()
        }
        for key, entry in _entries(content["parameters"], Problems(Path(), {}))
        if isinstance(entry, dict)
    }
    return kept
