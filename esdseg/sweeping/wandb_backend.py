"""Sweeps that Weights & Biases steers: created there or joined, trained here, and what came out of them."""

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from esdseg.config.models import listed_name
from esdseg.config.training import PLACE_SETTINGS, SWEEPS_FOLDER, TrackingConfig
from esdseg.errors import MissingResourceError, UsageError
from esdseg.sweeping.distributions import Choices, Draw, Numbers, Parameter, Value
from esdseg.sweeping.parameters import long_name
from esdseg.sweeping.results import write_result_files
from esdseg.sweeping.search_space import Settings, Sweep
from esdseg.sweeping.storage import STUDY_NAME
from esdseg.sweeping.study import State, TrialRecord
from esdseg.sweeping.sweep import (
    OTHER_FOLDER,
    SweepResult,
    TrialsListener,
    check_named_runs,
    check_store,
    sweep_folder,
)
from esdseg.sweeping.sweep_file import WANDB_COMMAND, SweepFile, read_sweep
from esdseg.sweeping.wandb_agents import train_with_agents
from esdseg.system.files import make_folder, write_text
from esdseg.training.wandb_connection import (
    OFFLINE_MODES,
    START_SECONDS,
    NoteListener,
    has_login,
    refusal_of,
    wandb_settings,
)

ADDRESS_NAME = "wandb-sweep.txt"
"""Keeps the address of its sweep in a sweep's folder."""

SENT_NAME = "wandb-sweep.yml"
"""Keeps there what Weights & Biases holds of the sweep."""

OVER = ("FINISHED", "CANCELED", "CRASHED", "FAILED")
"""States of a sweep at Weights & Biases that gets no more runs."""

STATES: Mapping[str, State] = {
    "finished": "finished",
    "running": "running",
    "killed": "pruned",
    "preempted": "pruned",
    "failed": "failed",
    "crashed": "failed",
}
"""What the states of runs at Weights & Biases are called here; others have not begun."""

STOPPED = "stopped after"
"""Begins the reason of a run that was ended before its last epoch."""


@dataclass(frozen=True)
class Place:
    """Where on this machine a sweep's runs are trained.

    Attributes:
        checkpoints_dir: Folder of the runs; the sweep's is in ``sweeps/`` below.
        name: The sweep's folder there; by default what the sweep is called.
        settings: Settings that may differ between machines: dotted name, value, and where it comes from.
    """

    checkpoints_dir: Path = Path("checkpoints")
    name: str | None = None
    settings: tuple[tuple[str, Value, str], ...] = ()

    def to_text(self) -> str:
        """Return the place as text for a variable of the environment."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_text(cls, text: str) -> "Place":
        """Read what :meth:`to_text` returned."""
        content = json.loads(text)
        settings = tuple((name, value, origin) for name, value, origin in content["settings"])
        return cls(Path(content["checkpoints_dir"]), content["name"], settings)


@dataclass(frozen=True)
class WandbSweep:
    """A sweep at Weights & Biases, opened on this machine.

    Attributes:
        address: ENTITY/PROJECT/ID.
        state: Where it stands there, such as ``RUNNING``.
        sweep: What is searched.
        folder: Where its runs lie on this machine.
    """

    address: str
    state: str
    sweep: Sweep
    folder: Path


def local_settings(
    settings: Sequence[tuple[str, Value, str]], *, is_joined: bool
) -> tuple[tuple[str, Value, str], ...]:
    """Return the settings of the command line that stay on this machine.

    Args:
        settings: Dotted name, value, and the flag it comes from.
        is_joined: Whether the sweep exists, so that no other setting can be given any more.

    Raises:
        UsageError: A setting is one that the sweep decides.
    """
    for name, value, origin in settings:
        if name == "tracking.wandb" and value not in ("auto", "online"):
            raise UsageError(f"{origin} {value}: the runs of a sweep at Weights & Biases are logged online.")
        if is_joined and name not in PLACE_SETTINGS:
            raise UsageError(f"{origin}: the sweep that is joined decides {name}; leave it out.")
    return tuple(
        setting for setting in settings if setting[0] in PLACE_SETTINGS and setting[0] != "tracking.wandb"
    )


def run_wandb_sweep(
    target: SweepFile | str,
    place: Place,
    *,
    workers: int,
    count: int | None,
    on_trials: TrialsListener | None,
    on_note: NoteListener,
) -> SweepResult:
    """Create a sweep at Weights & Biases, go on with it or join it, and train its runs here until it ends.

    Args:
        target: The sweep file; or the address of a sweep, which another machine may have created.
        place: Where on this machine the runs are trained.
        workers: Agents that train runs side by side.
        count: Runs in all, those of earlier calls and of other machines too.
        on_trials: Gets the runs while they are trained.
        on_note: Gets the sweep's address.

    Returns:
        The result, of the runs of all machines.

    Raises:
        UsageError: The folder belongs to another sweep, the file was changed, or the search would never end.
        InputDataError: The store is missing or broken, a run that settings name is missing, or the folder
            cannot be written.
        MissingResourceError: There is no login, or the server refuses the sweep or cannot be reached.
        KeyboardInterrupt: Interrupted; what is finished is kept and written.
    """
    mode = wandb_settings().mode
    if mode in OFFLINE_MODES:
        raise UsageError(
            f"wandb is switched to '{mode}' here, by WANDB_MODE or its settings, and a sweep at W&B "
            "is online: switch it by `wandb online`, or unset WANDB_MODE, or search by --backend local."
        )
    if not has_login():
        raise MissingResourceError(
            "--backend wandb needs a login to Weights & Biases; run `wandb login` or set WANDB_API_KEY, or "
            "search without it by --backend local."
        )
    if isinstance(target, SweepFile):
        check_store(target.sweep)
        check_named_runs(target.sweep, place.checkpoints_dir)
        opened, is_new = _begin_or_go_on(target, place, count)
    else:
        opened, is_new = open_sweep(target, place), False
        check_store(opened.sweep)
        check_named_runs(opened.sweep, place.checkpoints_dir)
    on_note(f"Sweep at Weights & Biases: {opened.address}")
    records: list[TrialRecord] = []

    def look() -> None:
        records[:] = read_records(opened)
        if on_trials is not None:
            on_trials(opened.sweep, records)

    look()
    left = None if count is None or is_new else count - len(records)
    try:
        if opened.state not in OVER and (left is None or left > 0):
            train_with_agents(opened.address, opened.folder, place.to_text(), workers, left, look)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "What is finished is kept; go on by the same command, or on any machine by `esdseg sweep "
            f"{opened.address}`."
        ) from None
    finally:
        with contextlib.suppress(MissingResourceError):
            look()
        write_result_files(opened.sweep, opened.folder, records, _study_of(opened.sweep, records))
    return SweepResult(opened.sweep, opened.folder, tuple(records), address=opened.address)


def open_sweep(address: str, place: Place) -> WandbSweep:
    """Read a sweep from Weights & Biases.

    Args:
        address: ENTITY/PROJECT/ID; an agent's sweep may lack what wandb knows by default.
        place: Where on this machine its runs are trained.

    Raises:
        UsageError: The folder belongs to another sweep.
        ConfigError: The sweep searches what esdseg has not.
        MissingResourceError: There is no such sweep, or the server cannot be reached.
    """
    with naming_refusals(TrackingConfig(), f"the sweep {address}"):
        held = _api().sweep(address)
        content, state = dict(held.config), str(held.state)
        address = "/".join((held.entity, held.project, held.id))
    name = place.name or str(content.get("name") or held.id)
    folder = place.checkpoints_dir / SWEEPS_FOLDER / name
    make_folder(folder, OTHER_FOLDER)
    _check_folder(folder, address)
    write_text(folder / ADDRESS_NAME, address + "\n")
    write_text(folder / SENT_NAME, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    file = read_sweep(folder / SENT_NAME, place.settings, name)
    return WandbSweep(address, state, file.sweep, folder)


@contextmanager
def naming_refusals(config: TrackingConfig, what: str) -> Iterator[None]:
    """Say in the user's words what Weights & Biases refuses in the block.

    Raises:
        MissingResourceError: It refused something.
    """
    from wandb.errors import Error
    from wandb.sdk.lib.service.service_connection import WandbApiFailedError

    try:
        # wandb prints addresses; standard output is for results.
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except (Error, WandbApiFailedError, TimeoutError, ValueError) as error:
        if "could not find sweep" in str(error).lower():
            raise MissingResourceError(
                f"Weights & Biases has no sweep {what.rpartition(' ')[2]}: look after its address "
                "(ENTITY/PROJECT/ID), or begin a new one under another --name."
            ) from error
        raise MissingResourceError(
            f"{refusal_of(error, config)}. That was for {what}; --backend local searches without it."
        ) from error


def sent_content(file: SweepFile, place: Place, runs: int | None) -> dict[str, Any]:
    """Return a sweep as it is sent to Weights & Biases, with every distribution named.

    Args:
        file: The sweep file.
        place: Its settings stay on this machine.
        runs: How many runs there are to be; ``None`` for a grid, which ends by itself.
    """
    sweep, local = file.sweep, {name for name, _, _ in place.settings}
    parameters: dict[str, Any] = {}
    for name, value in sweep.fixed.items():
        if name not in local and name not in ("tracking.project", "tracking.entity", "tracking.wandb"):
            _nest(parameters, name, {"value": value})
    for name, parameter in sweep.parameters.items():
        _nest(parameters, name, _entry_of(parameter))
    content: dict[str, Any] = {
        "name": sweep.name,
        "program": "esdseg",
        "command": WANDB_COMMAND,
        "method": sweep.method,
        "metric": {"name": sweep.metric.name, "goal": sweep.metric.goal},
        "parameters": parameters,
    }
    if sweep.metric.target is not None:
        content["metric"]["target"] = sweep.metric.target
    if runs is not None:
        content["run_cap"] = runs
    if sweep.termination is not None:
        rule = sweep.termination
        words = {
            "min_iter": rule.min_epochs,
            "max_iter": rule.max_epochs,
            "s": rule.most_bands,
            "eta": rule.eta,
        }
        given = {word: value for word, value in words.items() if value is not None}
        content["early_terminate"] = {"type": "hyperband", **given}
    if file.content.get("description") is not None:
        content["description"] = file.content["description"]
    return content


def values_of(sweep: Sweep, arguments: Mapping[str, Any], prefix: str = "") -> dict[str, Value]:
    """Return the value of each searched setting from what Weights & Biases chose, nested or not."""
    values: dict[str, Value] = {}
    for key, value in arguments.items():
        name = long_name(f"{prefix}{key}")
        if name in sweep.parameters:
            values[name] = value
        elif isinstance(value, Mapping):
            values |= values_of(sweep, value, f"{prefix}{key}.")
    return values


def read_records(opened: WandbSweep) -> list[TrialRecord]:
    """Read the runs of a sweep, those of all machines, in the order in which they were begun.

    Raises:
        MissingResourceError: The server cannot be reached.
    """
    entity_and_project, _, identity = opened.address.rpartition("/")
    with naming_refusals(TrackingConfig(), f"the sweep {opened.address}"):
        runs = list(_api().runs(entity_and_project, {"sweep": identity}, lazy=False))
    return [_record(opened, number, run) for number, run in enumerate(runs) if run.state in STATES]


def _begin_or_go_on(file: SweepFile, place: Place, count: int | None) -> tuple[WandbSweep, bool]:
    """Open the sweep that the folder belongs to, or create one; say whether it is new."""
    folder = sweep_folder(place.checkpoints_dir, file.sweep)
    kept = folder / ADDRESS_NAME
    if kept.is_file():
        opened = open_sweep(kept.read_text(encoding="utf-8").strip(), place)
        file.sweep.check_unchanged(opened.sweep.identity())
        return opened, False
    _check_folder(folder, "")
    sweep = file.sweep
    runs = count or sweep.trials or (None if sweep.method == "grid" else sweep.count_trainings())
    if runs is None and sweep.method != "grid":
        raise UsageError(
            f"A {sweep.method} search never ends by itself: say how many trials there are to be, with "
            "run_cap in the file or --count N."
        )
    import wandb

    make_folder(folder, OTHER_FOLDER)
    config = TrackingConfig.model_validate(
        {key: file.content[key] for key in ("project", "entity") if file.content.get(key) is not None}
    )
    with naming_refusals(config, f"the sweep {sweep.name}"):
        api = _api()
        entity, project = config.entity or api.default_entity, config.project
        identity = wandb.sweep(sent_content(file, place, runs), entity=config.entity, project=project)
    return open_sweep(f"{entity}/{project}/{identity}", place), True


def _api() -> Any:
    """Return a fresh view of the server, which keeps nothing of earlier answers."""
    import wandb

    return wandb.Api(timeout=START_SECONDS)


def _check_folder(folder: Path, address: str) -> None:
    """Refuse a folder that holds another sweep."""
    kept = folder / ADDRESS_NAME
    other = kept.read_text(encoding="utf-8").strip() if kept.is_file() else address
    if other != address:
        raise UsageError(f"{folder} holds the sweep {other}: choose another --name.")
    if (folder / STUDY_NAME).exists():
        raise UsageError(f"{folder} holds a sweep of --backend local: choose another --name.")


def _nest(parameters: dict[str, Any], name: str, entry: Mapping[str, Any]) -> None:
    """Put a setting's entry below those of its sections, as W&B nests parameters."""
    *sections, last = name.split(".")
    for section in sections:
        parameters = parameters.setdefault(section, {"parameters": {}})["parameters"]
    parameters[last] = dict(entry)


def _entry_of(parameter: Parameter) -> dict[str, Any]:
    """Return a parameter with its distribution named as W&B does."""
    if isinstance(parameter, Choices):
        if parameter.probabilities is None:
            return {"distribution": "categorical", "values": list(parameter.values)}
        return {
            "distribution": "categorical_w_probabilities",
            "values": list(parameter.values),
            "probabilities": list(parameter.probabilities),
        }
    assert isinstance(parameter, Numbers)
    if parameter.shape == "uniform" and parameter.quantum == 1:
        return {
            "distribution": "int_uniform",
            "min": parameter.multiples[0],
            "max": parameter.multiples[-1],
        }
    name = {"log_uniform": "log_uniform_values"}.get(parameter.shape, parameter.shape)
    keys = {"normal": ("mu", "sigma"), "log_normal": ("mu", "sigma"), "beta": ("a", "b")}
    first, second = keys.get(parameter.shape, ("min", "max"))
    entry: dict[str, Any] = {first: float(parameter.first), second: float(parameter.second)}
    if parameter.quantum is None:
        return {"distribution": name, **entry}
    return {"distribution": f"q_{name}", **entry, "q": parameter.quantum}


def _record(opened: WandbSweep, number: int, run: Any) -> TrialRecord:
    sweep, summary, config = opened.sweep, run.summary_metrics, run.config
    reason = summary.get("reason")
    state = STATES[run.state]
    if state == "failed" and str(reason).startswith(STOPPED):
        state = "pruned"
    if reason is None and state in ("failed", "pruned"):
        reason = f"Weights & Biases says that it {'was ' if run.state == 'killed' else ''}{run.state}"
    value = summary.get(sweep.metric.name)
    folder = f"run-{run.id}"
    trainer = config.get("trainer") or {}
    return TrialRecord(
        trial=number,
        state=state,
        value=float(value) if isinstance(value, (int, float)) else None,
        best_epoch=summary.get("best_epoch"),
        epochs=int(summary.get("epoch") or 0),
        max_epochs=trainer.get("max_epochs") if isinstance(trainer, Mapping) else None,
        seconds=summary.get("_runtime"),
        settings=_acting(sweep, values_of(sweep, config)),
        reason=reason,
        run=folder,
        host="here" if (opened.folder / folder).is_dir() else "another machine",
    )


def _acting(sweep: Sweep, values: Settings) -> Settings:
    """Return the values of those settings that the run's model uses."""
    model = listed_name(values.get("model.name", sweep.fixed.get("model.name")))
    return {name: value for name, value in values.items() if model is None or sweep.is_used_by(model, name)}


def _study_of(sweep: Sweep, records: Sequence[TrialRecord]) -> optuna.Study:
    """Return the finished runs as a study of Optuna, which draws the pictures."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(study_name=sweep.name, direction=sweep.metric.goal)
    finished = [record for record in records if record.state == "finished" and record.value is not None]
    distributions = {
        name: _distribution_of(
            parameter, [record.settings[name] for record in finished if name in record.settings]
        )
        for name, parameter in sweep.parameters.items()
    }
    for record in finished:
        params = {name: _label(value) for name, value in record.settings.items()}
        trial = optuna.trial.create_trial(
            state=TrialState.COMPLETE,
            value=record.value,
            params=params,
            distributions={name: distributions[name] for name in params},
        )
        study.add_trial(trial)
    return study


def _distribution_of(parameter: Parameter, drawn: Sequence[Value]) -> BaseDistribution:
    if isinstance(parameter, Choices):
        labels = [
            json.dumps(value) if isinstance(value, (list, dict)) else value for value in parameter.values
        ]
        return CategoricalDistribution(labels)
    # The server draws beyond the bounds at which a distribution without bounds is cut off here.
    numbers = [*parameter.bounds, *(float(value) for value in drawn if isinstance(value, (int, float)))]
    is_log = parameter.shape in ("log_uniform", "log_normal")
    return FloatDistribution(min(numbers), max(numbers), log=is_log)


def _label(value: Value) -> Draw:
    return json.dumps(value) if isinstance(value, (list, dict)) else value
