"""The study: which trial comes next, and what became of the others."""

import itertools
import random
import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import optuna
from optuna.trial import TrialState

from esdseg.config.training import ESDConfig
from esdseg.errors import ConfigError
from esdseg.sweeping.engine import (
    distribution_of,
    pruner_of,
    queue_after_death,
    queue_again,
    quiet_optuna,
    sampler_of,
)
from esdseg.sweeping.liveness import LifeSign, clear_dead, is_known_dead
from esdseg.sweeping.record import (
    DETAILS,
    ENDED,
    TrialRecord,
    best_record,
    details_of,
    read_records,
    retried_by,
    run_name,
)
from esdseg.sweeping.repeating import label_of, repeats_of
from esdseg.sweeping.space import Label, Value
from esdseg.sweeping.spec import Sweep, check_unchanged, key_of_values
from esdseg.sweeping.storage import Storage
from esdseg.system.files import remove_parts

IDENTITY = "sweep"
DRAWS = 30
"""Points drawn in a row that were all tried before, after which a search is taken to be at its end."""

LISTABLE = 2000
"""Of so few points each is looked at before a search is taken to be at its end."""


@dataclass(frozen=True)
class Taken:
    """A trial that this process is to train.

    Attributes:
        trial: Optuna's.
        run: Its folder's name.
        config: Its settings.
        leftovers: Folders of interrupted trials that it stands in for.
    """

    trial: optuna.Trial
    run: str
    config: ESDConfig
    leftovers: tuple[str, ...]


class Study:
    """A sweep's trials, shared by all processes that work on it.

    Args:
        sweep: What is searched.
        folder: The sweep's folder.
        storage: Where the trials are kept.

    Raises:
        UsageError: A sweep of this name began with other contents.
    """

    def __init__(self, sweep: Sweep, folder: Path, storage: Storage) -> None:
        self.sweep = sweep
        self.folder = folder
        self._storage = storage
        with storage.lock(sweep.name), quiet_optuna():
            self._study = optuna.create_study(
                study_name=sweep.name,
                storage=storage.rdb,
                direction=sweep.metric.goal,
                load_if_exists=True,
                pruner=pruner_of(sweep),
            )
            begun = self._study.user_attrs.get(IDENTITY)
            if begun is None:
                self._study.set_user_attr(IDENTITY, sweep.identity())
            else:
                check_unchanged(sweep, begun)
        self._study_id = storage.rdb.get_study_id_from_name(sweep.name)
        self._axes = {name: distribution_of(one.axis) for name, one in sweep.parameters.items()}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep others from writing the same results while the block runs."""
        with self._storage.lock(self.sweep.name):
            remove_parts(self.folder)
            yield

    def life_sign(self) -> LifeSign:
        """Return a sign that this process lives, which the others will find locked."""
        with self._storage.lock(self.sweep.name):
            return LifeSign(self.folder)

    def records(self) -> list[TrialRecord]:
        """Return the trials that count, in their order."""
        return read_records(self._study.get_trials(deepcopy=False), self.sweep.metric)

    def finished_trials(self) -> list[optuna.trial.FrozenTrial]:
        """Return Optuna's own trials behind the finished records."""
        finished = {record.number for record in self.records() if record.state == "finished"}
        return [trial for trial in self._study.get_trials() if trial.number in finished]

    def repeats(self, count: int) -> "Study | None":
        """Return the study that trains the best configuration with ``count`` other seeds, if there is one."""
        records = self.records()
        sweep, best = repeats_of(self.sweep, records, count), best_record(records, self.sweep.metric)
        if sweep is None or best is None:
            return None
        folder = self.folder / label_of(best)
        folder.mkdir(exist_ok=True)
        return Study(sweep, folder, self._storage)

    def take(self, sign: LifeSign) -> Taken | Literal["again", "wait", "done"]:
        """Take the next trial.

        Args:
            sign: That of this process.

        Returns:
            A trial; or ``again`` where one was recorded without training; ``wait`` where others still work on
            the last trials, which may have to be run again; or ``done``.
        """
        with self._storage.lock(self.sweep.name), quiet_optuna():
            self._requeue_dead()
            records = self.records()
            begun = [record for record in records if record.state in ("running", *ENDED)]
            is_waiting = len(self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))) > 0
            idle: Literal["wait", "done"] = "wait" if any(one.state == "running" for one in begun) else "done"
            if self._reached_target(records):
                return "done"
            if not is_waiting:
                if self.sweep.trials is not None and len(begun) >= self.sweep.trials:
                    return idle
                if not self._queue_from_list(records):
                    return idle
            return self._ask(records, sign) or idle

    def requeue_dead(self) -> None:
        """Queue the trials of processes that are known to have died."""
        with self._storage.lock(self.sweep.name), quiet_optuna():
            self._requeue_dead()

    def give_back_dead(self) -> None:
        """Queue the trials of processes that were ended on purpose."""
        records = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        self.give_back({trial.number for trial in records if self._is_dead(trial)})

    def report(self, trial: optuna.Trial, epoch: int, best: float) -> bool:
        """Note the best value of a trial's metric so far, and say whether to stop it."""
        with quiet_optuna():
            trial.report(best, epoch)
            return trial.should_prune()

    def finish(self, trial: optuna.Trial, value: float) -> None:
        """Note that a trial is over."""
        # Another process may have taken this one for dead, and its trial is another's now.
        self._study.tell(trial, value, skip_if_finished=True)

    def prune(self, trial: optuna.Trial, reason: str) -> None:
        """Note that a trial was stopped."""
        trial.set_user_attr("reason", reason)
        self._study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)

    def fail(self, trial: optuna.Trial, reason: str) -> None:
        """Note that a trial failed."""
        trial.set_user_attr("reason", reason)
        self._study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)

    def give_back(self, numbers: Collection[int]) -> None:
        """Queue trials that are not finished and did not fail."""
        with self._storage.lock(self.sweep.name), quiet_optuna():
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if trial.number in numbers:
                    self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
                    queue_again(self._study, trial)

    def heartbeat(self, trial: optuna.Trial) -> AbstractContextManager[None]:
        """Tell the storage time and again, while the block runs, that a trial is being worked on."""
        return self._storage.heartbeat(self._trial_id(trial.number))

    def _trial_id(self, number: int) -> int:
        return self._storage.rdb.get_trial_id_from_study_id_trial_number(self._study_id, number)

    def _requeue_dead(self) -> None:
        optuna.storages.fail_stale_trials(self._study)
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            details = details_of(trial)
            # Details are written under the lock that is held here: without them the process died before.
            if details and not self._is_dead(trial):
                continue
            self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
            if details:
                queue_after_death(self._study, trial)
        clear_dead(self.folder)

    def _is_dead(self, trial: optuna.trial.FrozenTrial) -> bool:
        details = details_of(trial)
        return bool(details) and is_known_dead(self.folder, details["sign"], details["host"])

    def _reached_target(self, records: list[TrialRecord]) -> bool:
        best, metric = best_record(records, self.sweep.metric), self.sweep.metric
        if best is None or best.value is None or metric.target is None:
            return False
        return best.value == metric.target or metric.is_better(best.value, metric.target)

    def _queue_from_list(self, records: list[TrialRecord]) -> bool:
        """Queue the next point of a grid, or one left of few points; say whether more may come."""
        size = self.sweep.size()
        is_grid = self.sweep.method == "grid"
        if not is_grid and (size is None or size > LISTABLE or len(records) < size // 2):
            return True
        taken = {record.key for record in records}
        lists = [one.positions() or () for one in self.sweep.parameters.values()]
        points: Iterator[tuple[Label, ...]] = itertools.product(*lists)
        left = (point for point in points if self._key_at(point) not in taken)
        if is_grid:
            point = next(left, None)
        else:
            # Half of the points are known, so a drawn one would often be known too.
            remaining = list(left)
            point = random.Random(len(records)).choice(remaining) if remaining else None
        if point is None:
            return False
        self._study.enqueue_trial(dict(zip(self.sweep.parameters, point, strict=True)))
        return True

    def _key_at(self, point: tuple[Label, ...]) -> str:
        values = self._values(dict(zip(self.sweep.parameters, point, strict=True)))
        try:
            return self.sweep.key_of(self.sweep.config_at(values))
        except ConfigError:
            return key_of_values(values)

    def _ask(self, records: list[TrialRecord], sign: LifeSign) -> Taken | Literal["again"] | None:
        """Draw points until one was not tried yet; ``None`` after too many that were."""
        known = {record.key: record for record in reversed(records)}
        for _ in range(DRAWS):
            # Without those that were run again, so that an interrupted search draws what another does.
            drawn = sum(
                bool(details_of(one)) and not retried_by(one)
                for one in self._study.get_trials(deepcopy=False)
            )
            self._study.sampler = sampler_of(self.sweep, drawn)
            trial = self._study.ask(self._axes)
            self._storage.rdb.record_heartbeat(self._trial_id(trial.number))
            values = self._values(trial.params)
            details: dict[str, Value] = {
                "settings": {
                    name: value for name, value in self.sweep.settings_at(values).items() if name in values
                },
                "sign": sign.name,
                "host": socket.gethostname(),
                "deaths": trial.user_attrs.get(DETAILS, {}).get("deaths", 0),
            }
            try:
                config = self.sweep.config_at(values)
            except ConfigError as error:
                trial.set_user_attr(DETAILS, {**details, "key": key_of_values(values)})
                self.fail(trial, str(error))
                return "again"
            key = self.sweep.key_of(config)
            other = known.get(key)
            if other is not None and other.number != trial.number and other.state != "waiting":
                trial.set_user_attr(DETAILS, {**details, "key": key, "duplicate_of": other.number})
                if other.state == "finished" and other.value is not None:
                    # The search learns that the point is as good as it was.
                    self._study.tell(trial, other.value)
                else:
                    self._study.tell(trial, state=TrialState.FAIL)
                continue
            trial.set_user_attr(DETAILS, {**details, "key": key})
            frozen = self._study.get_trials(deepcopy=False)[trial.number]
            leftovers = tuple(map(run_name, retried_by(frozen)))
            return Taken(trial, run_name(trial.number), config, leftovers)
        return None

    def _values(self, positions: Mapping[str, Label]) -> dict[str, Value]:
        return {name: one.value_at(positions[name]) for name, one in self.sweep.parameters.items()}
