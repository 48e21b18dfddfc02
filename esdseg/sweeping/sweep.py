"""A sweep from its file to its results."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from esdseg.config.training import SWEEPS_FOLDER
from esdseg.errors import MissingResourceError, UsageError
from esdseg.models.runs import require_named_runs
from esdseg.store.store import open_store
from esdseg.sweeping.distributions import Numbers
from esdseg.sweeping.results import result_paths, write_results
from esdseg.sweeping.search_space import Metric, Sweep
from esdseg.sweeping.storage import Storage, in_words, local_url
from esdseg.sweeping.study import ENDED, SweepStudy, TrialRecord, best_record, ranked
from esdseg.sweeping.workers import run_workers
from esdseg.system.files import make_folder

SEED = "trainer.seed"
MOST_SEEDS = 10_000

OTHER_FOLDER = "choose another --checkpoints-dir"
"""What to do where a sweep's folder cannot be made."""

TrialsListener = Callable[[Sweep, Sequence[TrialRecord]], None]
"""Gets all trials of a search about twice a second."""


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found.

    Attributes:
        sweep: What was searched.
        folder: Where everything lies.
        trials: The trials.
        repeats: The best one, trained again with other seeds, where that was asked for.
        address: ENTITY/PROJECT/ID of a sweep at Weights & Biases.
    """

    sweep: Sweep
    folder: Path
    trials: tuple[TrialRecord, ...]
    repeats: "SweepResult | None" = None
    address: str | None = None

    @property
    def best(self) -> TrialRecord | None:
        """The best trial of those that were trained to their end."""
        return best_record(self.trials, self.sweep.metric)

    @property
    def ranking(self) -> list[TrialRecord]:
        """The trials that were trained to their end, the best first."""
        return ranked(self.trials, self.sweep.metric)

    @property
    def values(self) -> list[float]:
        """The metric's values of the trials that were trained to their end, in the order of the trials."""
        finished = (trial for trial in self.trials if trial.state == "finished")
        return [trial.value for trial in finished if trial.value is not None]

    @property
    def mean(self) -> float | None:
        """The mean of these values."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def standard_deviation(self) -> float | None:
        """The standard deviation of these values, of two or more."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def files(self) -> list[Path]:
        """The files for people."""
        return result_paths(self.folder)

    @property
    def sync_command(self) -> str | None:
        """What uploads the trials that were logged offline to Weights & Biases; ``None`` where none was."""
        runs = "*/wandb/offline-run-*"
        return f"wandb sync {self.folder}/{runs}" if any(self.folder.glob(runs)) else None

    def in_state(self, state: str) -> list[TrialRecord]:
        """Return the trials in a state."""
        return [trial for trial in self.trials if trial.state == state]

    def to_json(self) -> dict[str, object]:
        """Return the result as plain JSON types."""
        return {
            "name": self.sweep.name,
            "folder": str(self.folder),
            "backend": "wandb" if self.address else "local",
            "wandb_sweep": self.address,
            "metric": self.sweep.metric.name,
            "goal": self.sweep.metric.goal,
            **{state: len(self.in_state(state)) for state in ENDED},
            "best": self.best.to_json() if self.best else None,
            "trials": [trial.to_json() for trial in self.trials],
            "repeats": self._repeats_to_json(),
            "wandb_sync_command": self.sync_command,
            "files": [str(path) for path in self.files],
        }

    def _repeats_to_json(self) -> dict[str, object] | None:
        if self.repeats is None or self.best is None:
            return None
        return {
            "trial": self.best.trial,
            "values": self.repeats.values,
            "mean": self.repeats.mean,
            "standard_deviation": self.repeats.standard_deviation,
            "runs": [trial.to_json() for trial in self.repeats.trials],
            "folder": str(self.repeats.folder),
        }


def run_sweep(
    sweep: Sweep,
    *,
    checkpoints_dir: Path = Path("checkpoints"),
    workers: int = 1,
    storage_url: str | None = None,
    repeat_best: int = 0,
    on_trials: TrialsListener | None = None,
) -> SweepResult:
    """Search until there are as many trials as the sweep wants, going on where an earlier call stopped.

    Args:
        sweep: What to search.
        checkpoints_dir: Folder of the runs; the sweep's is in ``sweeps/`` below.
        workers: Processes that train trials on this machine.
        storage_url: A database that several machines share; by default a file in the sweep's folder.
        repeat_best: With how many other seeds to train the best configuration again.
        on_trials: Gets the trials while they are trained.

    Raises:
        UsageError: The search would never end, or one of this name began with other contents.
        InputDataError: The store is missing or broken, a run that settings name is missing, or the processes
            cannot work.
        MissingResourceError: The database cannot be used, or weights or a login are missing.
        KeyboardInterrupt: Interrupted; what is finished is kept and written.
    """
    if sweep.method != "grid" and sweep.trials is None and sweep.count_trainings() is None:
        raise UsageError(
            f"A {sweep.method} search of so many points never ends by itself: say how many trials there are "
            "to be, with run_cap in the file or --count N."
        )
    check_store(sweep)
    check_named_runs(sweep, checkpoints_dir)
    folder = sweep_folder(checkpoints_dir, sweep)
    url = storage_url or local_url(folder)
    try:
        if storage_url is None:
            make_folder(folder, OTHER_FOLDER)
        storage = Storage(url)
        make_folder(folder, OTHER_FOLDER)
        result = _search(SweepStudy(sweep, folder, storage), checkpoints_dir, url, workers, on_trials)
        if result.best is None or repeat_best == 0:
            return result
        repeats = _repeats_of(sweep, result.best, repeat_best)
        folder = folder / f"repeats-of-trial-{result.best.trial:03}"
        folder.mkdir(exist_ok=True)
        study = SweepStudy(repeats, folder, storage)
        return replace(result, repeats=_search(study, checkpoints_dir, url, workers, on_trials))
    except (SQLAlchemyError, StorageInternalError) as error:
        raise MissingResourceError(
            f"The sweep's database failed: {in_words(error)}. Run the command again to go on where it "
            "stopped."
        ) from error


def _search(
    study: SweepStudy, checkpoints_dir: Path, url: str, workers: int, on_trials: TrialsListener | None
) -> SweepResult:
    """Train the trials of a study and write its results."""
    if not study.optuna.trials and any(study.folder.glob("trial-*")):
        raise UsageError(
            f"{study.folder} holds trials that the sweep's database does not know of: move the folder "
            "elsewhere, or choose another --name."
        )

    def tell() -> None:
        if on_trials is not None:
            on_trials(study.sweep, study.records())

    try:
        run_workers(study, checkpoints_dir, url, workers, tell)
    finally:
        write_results(study)
    return SweepResult(study.sweep, study.folder, tuple(study.records()))


def _repeats_of(sweep: Sweep, best: TrialRecord, count: int) -> Sweep:
    """Return the search that trains the best configuration again with other seeds than its own."""
    seed = sweep.config_at(best.settings).trainer.seed
    settings = sweep.settings_at(best.settings)
    return Sweep(
        name=f"{sweep.name}-repeats-of-trial-{best.trial:03}",
        method="grid",
        metric=Metric(sweep.metric.name, sweep.metric.goal),
        fixed={name: value for name, value in settings.items() if name != SEED},
        parameters={SEED: Numbers("uniform", seed + 1, seed + MOST_SEEDS, quantum=1)},
        trials=count,
    )


def check_store(sweep: Sweep) -> None:
    """Refuse a search on data that are not there.

    Raises:
        InputDataError: The store is missing or broken.
    """
    names = ("data.processed_dir", "data.subtile_size")
    if any(name in sweep.parameters for name in names):
        return
    fixed = {name: value for name, value in sweep.fixed.items() if name in names}
    data = replace(sweep, parameters={}, fixed=fixed).config_at({}).data
    open_store(data.processed_dir, data.subtile_size)


def check_named_runs(sweep: Sweep, checkpoints_dir: Path) -> None:
    """Refuse a search whose first training names a run that is not there, as ``esdseg train`` does.

    Args:
        sweep: The search.
        checkpoints_dir: Folder of the runs.

    Raises:
        InputDataError: There is no such run.
    """
    first = next(sweep.trainings(), None)
    if first is not None and first.config is not None:
        require_named_runs(first.config, checkpoints_dir)


def sweep_folder(checkpoints_dir: Path, sweep: Sweep) -> Path:
    """Return where everything of a sweep lies."""
    return checkpoints_dir / SWEEPS_FOLDER / sweep.name
