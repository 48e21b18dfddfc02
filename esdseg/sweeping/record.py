"""What is known of each trial of a study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from optuna.trial import FrozenTrial, TrialState

from esdseg.sweeping.spec import Metric, Settings

State = Literal["waiting", "running", "finished", "pruned", "failed"]

ENDED: tuple[State, ...] = ("finished", "pruned", "failed")
DETAILS = "esdseg"
"""The attribute of an Optuna trial that holds what we know of it besides."""

_STATES: dict[TrialState, State] = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


@dataclass(frozen=True)
class TrialRecord:
    """One trial.

    Attributes:
        number: Its number in the study, counted from 0; those of left-out duplicates and of interrupted
            trials are missing.
        state: Where it stands.
        settings: The value of each searched setting that its model has.
        key: The same for two trials of one configuration.
        value: The metric's best value so far; ``None`` before the first epoch.
        best_epoch: The epoch of that value, counted from 1.
        epochs: Epochs trained.
        seconds: Time it took, or ``None`` where it is not over.
        reason: Why it failed or was pruned.
        run: Its folder's name.
        host: The machine that trained it.
    """

    number: int
    state: State
    settings: Settings
    key: str
    value: float | None
    best_epoch: int | None
    epochs: int
    seconds: float | None
    reason: str | None
    run: str
    host: str

    def to_json(self) -> dict[str, object]:
        """Return the trial as plain JSON types."""
        return {
            "trial": self.number,
            "state": self.state,
            "value": self.value,
            "best_epoch": self.best_epoch,
            "epochs": self.epochs,
            "seconds": self.seconds,
            "settings": dict(self.settings),
            "reason": self.reason,
            "run": self.run,
            "host": self.host,
        }


def run_name(number: int) -> str:
    """Return what a trial's folder is called."""
    return f"trial-{number:03}"


def read_records(trials: Sequence[FrozenTrial], metric: Metric) -> list[TrialRecord]:
    """Return the trials that count: neither duplicates nor interrupted ones that are run again.

    Args:
        trials: All of the study.
        metric: What they are judged by.
    """
    run_again = {number for trial in trials for number in retried_by(trial)}
    return [
        _record(trial, metric)
        for trial in trials
        if trial.number not in run_again and DETAILS in trial.user_attrs and duplicated(trial) is None
    ]


def retried_by(trial: FrozenTrial) -> Sequence[int]:
    """Return the numbers of the interrupted trials that a trial stands in for."""
    history: Sequence[int] = trial.system_attrs.get("retry_history", ())
    return history


def duplicated(trial: FrozenTrial) -> int | None:
    """Return the number of the earlier trial with the same configuration, where there is one."""
    number: int | None = details_of(trial).get("duplicate_of")
    return number


def details_of(trial: FrozenTrial) -> Mapping[str, Any]:
    """Return what we know of a trial besides Optuna."""
    details: Mapping[str, Any] = trial.user_attrs.get(DETAILS, {})
    return details


def scored(records: Sequence[TrialRecord], state: State) -> list[tuple[TrialRecord, float]]:
    """Return the trials of a state that have a value, each with it."""
    return [(one, one.value) for one in records if one.state == state and one.value is not None]


def best_record(records: Sequence[TrialRecord], metric: Metric) -> TrialRecord | None:
    """Return the best finished trial; of equal ones the first."""
    best: tuple[TrialRecord, float] | None = None
    for one, value in scored(records, "finished"):
        if best is None or metric.is_better(value, best[1]):
            best = one, value
    return best[0] if best else None


def _record(trial: FrozenTrial, metric: Metric) -> TrialRecord:
    details = details_of(trial)
    state = _STATES[trial.state]
    best: tuple[float, int] | None = None
    for epoch, value in sorted(trial.intermediate_values.items()):
        if best is None or metric.is_better(value, best[0]):
            best = (value, epoch)
    reason = trial.user_attrs.get("reason")
    if state == "failed" and reason is None:
        reason = "its process died each time; most likely there was not enough memory"
    running = state in ("waiting", "running")
    return TrialRecord(
        number=trial.number,
        state=state,
        settings=details["settings"],
        key=details["key"],
        value=best[0] if best else None,
        best_epoch=best[1] if best else None,
        epochs=int(trial.user_attrs.get("epochs", max(trial.intermediate_values, default=0))),
        seconds=None if running or trial.duration is None else trial.duration.total_seconds(),
        reason=reason,
        run=run_name(trial.number),
        host=details["host"],
    )
