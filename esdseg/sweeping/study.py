"""A sweep's Optuna study: where it is kept, which training comes next, and what became of the others.

Optuna keeps the trials, draws points, prunes, and hears the heartbeats of other machines' processes. Several
processes share a study and any of them may be killed, so three things are added:

- Trials are *tickets* that are queued under a lock, so that there are exactly as many as asked for. Optuna's
  own ``MaxTrialsCallback`` counts finished trials, and lets every process begin one too many.
- A ticket has the key of its training, so that no training is run twice.
- A trial names its process, so that a process of this machine is known to be dead at once, and not only after
  some heartbeats that did not come.
"""

import copy
import math
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

import optuna
import psutil
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.pruners import BasePruner, NopPruner
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from esdseg.config.training import ESDConfig
from esdseg.sweeping.distributions import Draw
from esdseg.sweeping.search_space import EarlyTermination, Metric, Settings, Sweep, Training
from esdseg.sweeping.storage import Storage

MAX_RETRIES = 3
"""A trial whose process dies so often again has most likely killed it, by using more memory than there is."""

# The attributes of Optuna's study and trials in which this package keeps what Optuna does not.
IDENTITY = "sweep"
TICKET = "ticket"
KEY = "key"
BEGUN = "begun"
DEATHS = "deaths"
REASON = "reason"
DUPLICATE_OF = "duplicate_of"

DIED = "its process died each time; most likely there was not enough memory"

State = Literal["running", "finished", "pruned", "failed"]
ENDED: tuple[State, ...] = ("finished", "pruned", "failed")
_STATES: dict[TrialState, State] = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


class TrialFailedError(Exception):
    """A trial that cannot be trained; the next one may work."""


@dataclass(frozen=True)
class TrialRecord:
    """One trial, as tables and pictures show it.

    Attributes:
        trial: Its number, counted from 0; some are missing, such as those of interrupted trials.
        state: Where it stands.
        value: The metric's best value so far; ``None`` before the first epoch.
        best_epoch: The epoch of that value, counted from 1.
        epochs: Epochs trained; a pruned trial is judged after so many.
        max_epochs: Epochs that it was to be trained at most.
        seconds: Time it took, or ``None`` where it is not over.
        settings: The value of each searched setting that its model uses.
        reason: Why it failed or was pruned.
        run: Its folder's name.
        host: The machine that trained it.
    """

    trial: int
    state: State
    value: float | None
    best_epoch: int | None
    epochs: int
    max_epochs: int | None
    seconds: float | None
    settings: Settings
    reason: str | None
    run: str
    host: str

    def to_json(self) -> dict[str, object]:
        """Return the trial as plain JSON types."""
        return asdict(self)


def run_name(number: int) -> str:
    """Return what a trial's folder is called."""
    return f"trial-{number:03}"


class SweepStudy:
    """A sweep's trials, shared by all processes that work on it.

    Args:
        sweep: What is searched.
        folder: The sweep's folder.
        storage: Where the trials are kept.

    Attributes:
        optuna: The study itself.

    Raises:
        UsageError: A sweep of this name began with other contents.
    """

    def __init__(self, sweep: Sweep, folder: Path, storage: Storage) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.sweep = sweep
        self.folder = folder
        self._storage = storage
        self._distributions = {name: parameter.distribution for name, parameter in sweep.parameters.items()}
        self._untried = sweep.trainings()
        self._is_exhausted = False
        with self.lock():
            self.optuna = optuna.create_study(
                study_name=sweep.name,
                storage=storage.rdb,
                direction=sweep.metric.goal,
                load_if_exists=True,
                pruner=_pruner_of(sweep),
            )
            begun = self.optuna.user_attrs.get(IDENTITY)
            if begun is None:
                self.optuna.set_user_attr(IDENTITY, sweep.identity())
            else:
                sweep.check_unchanged(begun)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes that work on this sweep out of the block."""
        with self._storage.lock(self.sweep.name):
            yield

    def run_trials(self, train: Callable[[optuna.Trial, ESDConfig], float]) -> None:
        """Train one trial after the other until no more are to be begun.

        Args:
            train: Returns how good a trial's settings are, or raises ``TrialFailedError`` or
                ``optuna.TrialPruned``.
        """

        def objective(trial: optuna.Trial) -> float:
            training = self._claim(trial)
            if training is None:
                return math.nan
            try:
                if training.config is None:
                    raise TrialFailedError(training.refusal)
                return train(trial, training.config)
            except TrialFailedError as error:
                trial.set_user_attr(REASON, str(error))
                raise

        def queue_or_stop(study: optuna.Study, _: FrozenTrial) -> None:
            if not self.queue_next():
                study.stop()

        if self.queue_next():
            self.optuna.optimize(objective, catch=(TrialFailedError,), callbacks=[queue_or_stop])

    def queue_next(self) -> bool:
        """Queue the next trial unless one waits already, and say whether one waits now."""
        with self.lock():
            trials = self._tickets()
            waits = any(trial.state is TrialState.WAITING for trial in trials)
            best = best_record(self._records_of(trials), self.sweep.metric)
            if best is not None and _reaches_target(best, self.sweep.metric):
                return False
            if self.sweep.trials is not None and len(trials) - waits >= self.sweep.trials:
                return False
            if waits:
                return True
            if self.sweep.method != "bayes":
                return self._queue_training(trials, len(trials))
            if self._is_exhausted or len(trials) == self._training_count:
                return False
            # The process that takes it draws its point.
            self.optuna.enqueue_trial({}, user_attrs={TICKET: len(trials)})
            return True

    def _claim(self, trial: optuna.Trial) -> Training | None:
        """Draw a trial's point and make its training this process'.

        Args:
            trial: A trial that Optuna has just taken.

        Returns:
            The training; ``None`` where the trial is to be forgotten, since it is no ticket, or another trial
            has the same training. Another ticket then replaces it.
        """
        if TICKET not in trial.user_attrs:
            # Two processes saw one waiting ticket, and Optuna made a trial for the second.
            return None
        if KEY in trial.user_attrs:
            return self._draw(trial)
        with self.lock():
            # Seeded by the ticket: no two processes draw alike, and a resumed search draws what another does.
            self.optuna.sampler = optuna.samplers.TPESampler(seed=trial.user_attrs[TICKET])
            training = self._draw(trial)
            tickets = self._tickets()
            others = {other.user_attrs.get(KEY): other.number for other in tickets}
            if training.key not in others:
                trial.set_user_attr(KEY, training.key)
                return training
            trial.set_user_attr(DUPLICATE_OF, others[training.key])
            self._is_exhausted = not self._queue_training(tickets, trial.user_attrs[TICKET])
            return None

    def requeue_dead(self, *, were_ended: bool = False) -> None:
        """Queue the trials of processes that died.

        Args:
            were_ended: Whether this process ended them, so that it does not count as their death.
        """
        optuna.storages.fail_stale_trials(self.optuna)
        if not any(map(self._has_died, self._tickets())):
            return
        with self.lock():
            for trial in filter(self._has_died, self._tickets()):
                deaths = trial.user_attrs.get(DEATHS, 0) + (not were_ended)
                if deaths <= MAX_RETRIES:
                    fresh = copy.deepcopy(trial)
                    fresh.user_attrs = {
                        name: value for name, value in trial.user_attrs.items() if name in (TICKET, KEY)
                    } | {DEATHS: deaths}
                    # First the new trial, so that a kill in between loses none.
                    RetryHeartbeatStaleTrialCallback()(self.optuna, fresh)
                if trial.state is TrialState.RUNNING:
                    self.optuna.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def leftover_runs(self, trial: optuna.Trial) -> list[str]:
        """Return the folders' names of the interrupted trials that a trial stands in for."""
        frozen = self.optuna.get_trials(deepcopy=False)[trial.number]
        return [run_name(number) for number in RetryHeartbeatStaleTrialCallback.retry_history(frozen)]

    def records(self) -> list[TrialRecord]:
        """Return the trials that have begun, in the order in which they were queued first."""
        return self._records_of(self._tickets())

    def is_running(self) -> bool:
        """Say whether a process works on a trial, here or elsewhere."""
        return any(trial.state is TrialState.RUNNING for trial in self._tickets())

    def has_begun(self, pid: int) -> bool:
        """Say whether a process of this machine has begun a trial."""
        mine = {"host": socket.gethostname(), "pid": pid}
        return any(
            mine.items() <= trial.user_attrs.get(BEGUN, {}).items()
            for trial in self.optuna.get_trials(deepcopy=False)
        )

    @cached_property
    def _training_count(self) -> int | None:
        return self.sweep.count_trainings()

    def _draw(self, trial: optuna.Trial) -> Training:
        """Return the training of a trial's point, which is drawn unless the ticket has it."""
        point = {name: _suggest(trial, name, kind) for name, kind in self._distributions.items()}
        training = self.sweep.training_at(point)
        own = psutil.Process()
        begun: dict[str, object] = {"settings": dict(training.settings), "host": socket.gethostname()}
        begun |= {"pid": own.pid, "started": own.create_time()}
        if training.config is not None:
            begun["max_epochs"] = training.config.max_epochs
        trial.set_user_attr(BEGUN, begun)
        return training

    def _has_died(self, trial: FrozenTrial) -> bool:
        """Say whether a trial's process died, so that the trial is to be run again."""
        if trial.state is TrialState.FAIL:
            # Optuna found it dead, and it is not queued again yet.
            return REASON not in trial.user_attrs and trial.user_attrs.get(DEATHS, 0) < MAX_RETRIES
        if trial.state is not TrialState.RUNNING:
            return False
        process = trial.user_attrs.get(BEGUN)
        if process is None:
            # It died before it could say which process it is, unless it is about to.
            return (
                trial.datetime_start is not None
                and datetime.now() - trial.datetime_start > self._storage.grace
            )
        return process["host"] == socket.gethostname() and not _is_alive(process["pid"], process["started"])

    def _records_of(self, tickets: Sequence[FrozenTrial]) -> list[TrialRecord]:
        return [
            _record(trial, self.sweep.metric) for trial in tickets if trial.state is not TrialState.WAITING
        ]

    def _tickets(self) -> list[FrozenTrial]:
        """Return the trials that count, without duplicates and without those that are run again."""
        trials = self.optuna.get_trials(deepcopy=False)
        run_again = {number for trial in trials for number in trial.system_attrs.get("retry_history", ())}
        tickets = [
            trial
            for trial in trials
            if TICKET in trial.user_attrs
            and DUPLICATE_OF not in trial.user_attrs
            and trial.number not in run_again
        ]
        return sorted(tickets, key=lambda trial: trial.user_attrs[TICKET])

    def _queue_training(self, tickets: Sequence[FrozenTrial], number: int) -> bool:
        """Queue a ticket for the next training that no other has, and say whether there is one."""
        taken = {trial.user_attrs.get(KEY) for trial in tickets}
        training = next((training for training in self._untried if training.key not in taken), None)
        if training is not None:
            self.optuna.enqueue_trial(dict(training.point), user_attrs={TICKET: number, KEY: training.key})
        return training is not None


def best_record(records: Sequence[TrialRecord], metric: Metric) -> TrialRecord | None:
    """Return the best of the trials that were trained to their end; of equal ones the first."""
    return next(iter(ranked(records, metric)), None)


def ranked(records: Sequence[TrialRecord], metric: Metric) -> list[TrialRecord]:
    """Return the trials that were trained to their end, the best first."""
    finished = [record for record in records if record.state == "finished"]
    return sorted(finished, key=lambda record: record.value or 0.0, reverse=metric.goal == "maximize")


def _reaches_target(best: TrialRecord, metric: Metric) -> bool:
    if best.value is None or metric.target is None:
        return False
    return best.value == metric.target or metric.is_better(best.value, metric.target)


def _record(trial: FrozenTrial, metric: Metric) -> TrialRecord:
    begun = trial.user_attrs.get(BEGUN, {})
    state = _STATES[trial.state]
    best: tuple[int, float] | None = None
    for epoch, value in sorted(trial.intermediate_values.items()):
        if best is None or metric.is_better(value, best[1]):
            best = (epoch, value)
    duration = None if state == "running" else trial.duration
    return TrialRecord(
        trial=trial.number,
        state=state,
        value=best[1] if best else None,
        best_epoch=best[0] if best else None,
        epochs=max(trial.intermediate_values, default=0),
        max_epochs=begun.get("max_epochs"),
        seconds=duration.total_seconds() if duration else None,
        settings=begun.get("settings", {}),
        reason=trial.user_attrs.get(REASON, DIED if state == "failed" else None),
        run=run_name(trial.number),
        host=begun.get("host", ""),
    )


class BandPruner(BasePruner):
    """Stops a trial at a band of epochs where it is not among the best, as W&B's hyperband does.

    Optuna's own successive halving knows whole-numbered bands alone, each a multiple of the one before.

    Args:
        termination: The bands, and the share of trials that goes on.
    """

    def __init__(self, termination: EarlyTermination) -> None:
        self._termination = termination

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Say whether a trial is to be stopped after the epoch that it has reported last."""
        *earlier, epoch = sorted(trial.intermediate_values) or [0]
        crossed = [band for band in self._termination.bands(epoch) if band > max(earlier, default=0)]
        if not crossed:
            return False
        rivals = study.get_trials(
            deepcopy=False, states=(TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
        )
        own = trial.intermediate_values[epoch]
        values = [
            value
            for rival in rivals
            if rival.number != trial.number and (value := _value_at(rival, crossed[-1])) is not None
        ]
        best_first = sorted([*values, own], reverse=study.direction is StudyDirection.MAXIMIZE)
        kept = max(1, int(len(best_first) / self._termination.eta))
        return own not in best_first[:kept]


def _value_at(trial: FrozenTrial, band: int) -> float | None:
    """Return what a trial was worth at a band, or ``None`` where it has not come so far."""
    epoch = min((epoch for epoch in trial.intermediate_values if epoch >= band), default=None)
    return None if epoch is None else trial.intermediate_values[epoch]


def _pruner_of(sweep: Sweep) -> BasePruner:
    return NopPruner() if sweep.termination is None else BandPruner(sweep.termination)


def _suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Draw:
    match distribution:
        case FloatDistribution(low=low, high=high, log=log):
            return trial.suggest_float(name, low, high, log=log)
        case IntDistribution(low=low, high=high):
            return trial.suggest_int(name, low, high)
        case CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(name, choices)
    raise AssertionError(distribution)


def _is_alive(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        return process.create_time() == started and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
