"""A sweep from its file to its results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from esdseg.config.training import SWEEPS_FOLDER
from esdseg.errors import InputDataError, MissingResourceError, UsageError
from esdseg.store.store import open_store
from esdseg.sweeping.files import result_paths
from esdseg.sweeping.record import ENDED, TrialRecord, best_record, scored
from esdseg.sweeping.repeating import Repeats, is_over
from esdseg.sweeping.results import has_results, write_results, write_table
from esdseg.sweeping.spec import Sweep
from esdseg.sweeping.storage import Storage, local_url
from esdseg.sweeping.study import Study
from esdseg.sweeping.workers import Job, run_workers

RecordsListener = Callable[[Sweep, Sequence[TrialRecord]], None]
"""Told of all trials of a search a few times a second."""


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found.

    Attributes:
        sweep: What was searched.
        folder: Where everything lies.
        records: The trials.
        repeats: The best one's repetitions, where they were asked for.
    """

    sweep: Sweep
    folder: Path
    records: tuple[TrialRecord, ...]
    repeats: Repeats | None

    @property
    def best(self) -> TrialRecord | None:
        """The best finished trial."""
        return best_record(self.records, self.sweep.metric)

    @property
    def ranking(self) -> list[TrialRecord]:
        """The finished trials, the best first."""
        descending = self.sweep.metric.goal == "maximize"
        pairs = sorted(scored(self.records, "finished"), key=lambda pair: pair[1], reverse=descending)
        return [one for one, _ in pairs]

    @property
    def files(self) -> list[Path]:
        """The files for people."""
        return result_paths(self.folder)

    def count(self, state: str) -> int:
        """Return how many trials are in a state."""
        return sum(record.state == state for record in self.records)

    def to_json(self) -> dict[str, object]:
        """Return the result as plain JSON types."""
        return {
            "name": self.sweep.name,
            "folder": str(self.folder),
            "backend": "local",
            "metric": self.sweep.metric.name,
            "goal": self.sweep.metric.goal,
            **{state: self.count(state) for state in ENDED},
            "best": self.best.to_json() if self.best else None,
            "trials": [record.to_json() for record in self.records],
            "repeats": self.repeats.to_json() if self.repeats else None,
            "files": [str(path) for path in self.files],
        }


def run_sweep(
    sweep: Sweep,
    *,
    checkpoints_dir: Path = Path("checkpoints"),
    workers: int = 1,
    storage_url: str | None = None,
    repeat_best: int = 0,
    on_records: RecordsListener | None = None,
) -> SweepResult:
    """Search until there are as many trials as the sweep wants, going on where an earlier call stopped.

    Args:
        sweep: What to search.
        checkpoints_dir: Folder of the runs; the sweep's is in ``sweeps/`` below.
        workers: Processes that train trials on this machine.
        storage_url: A database that several machines share; by default a file in the sweep's folder.
        repeat_best: With how many other seeds to train the best configuration again.
        on_records: Told how the trials stand.

    Raises:
        UsageError: The search would never end, or one of this name began with other contents.
        InputDataError: The store is missing or broken, or the processes cannot work.
        MissingResourceError: The database cannot be used.
        KeyboardInterrupt: Interrupted; what is finished is kept and written.
    """
    check_ends(sweep)
    check_store(sweep)
    folder = sweep_folder(checkpoints_dir, sweep)
    job = Job(sweep, folder, storage_url or local_url(folder), repeat_best)
    try:
        return _search(job, workers, on_records)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise MissingResourceError(
            f"The sweep's database failed: {reason}. Run the command again to go on where it stopped."
        ) from error


def check_ends(sweep: Sweep) -> None:
    """Refuse a search without an end.

    Raises:
        UsageError: It has neither a number of trials nor a list of all its points.
    """
    if sweep.method != "grid" and sweep.trials is None:
        raise UsageError(
            f"A {sweep.method} search never ends by itself: say how many trials there are to be, with "
            "run_cap in the file or --count N."
        )


def check_store(sweep: Sweep) -> None:
    """Refuse a search on data that are not there.

    Raises:
        InputDataError: The store is missing or broken.
    """
    if "data.processed_dir" in sweep.parameters or "data.subtile_size" in sweep.parameters:
        return
    names = ("data.processed_dir", "data.subtile_size")
    plain = replace(
        sweep, parameters={}, fixed={name: sweep.fixed[name] for name in names if name in sweep.fixed}
    )
    data = plain.config_at({}).data
    open_store(data.processed_dir, data.subtile_size)


def sweep_folder(checkpoints_dir: Path, sweep: Sweep) -> Path:
    """Return where everything of a sweep lies."""
    return checkpoints_dir / SWEEPS_FOLDER / sweep.name


def make_folder(folder: Path) -> None:
    """Make a sweep's folder.

    Raises:
        InputDataError: It cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputDataError(f"The sweep's folder {folder} cannot be written: {error.strerror}.") from None


def _search(job: Job, workers: int, on_records: RecordsListener | None) -> SweepResult:
    if job.url == local_url(job.folder):
        make_folder(job.folder)
    storage = Storage(job.url)
    make_folder(job.folder)
    study = Study(job.sweep, job.folder, storage)
    if not study.records() and any(job.folder.glob("trial-*")):
        raise UsageError(
            f"{job.folder} holds trials that the sweep's database does not know of: delete the folder, or "
            "choose another --name."
        )
    repeats: Study | None = None

    def studies() -> list[Study]:
        """Return the search, and once it is over its repetitions."""
        nonlocal repeats
        if repeats is None and is_over(job.sweep, study.records()):
            repeats = study.repeats(job.repeat_best)
        return [study] if repeats is None else [study, repeats]

    def tell() -> None:
        current = studies()[-1]
        if on_records is not None:
            on_records(current.sweep, current.records())

    def standing() -> list[tuple[int, str]]:
        return [(record.number, record.state) for one in studies() for record in one.records()]

    tell()
    searches = studies()
    all_begun = repeats is not None or job.repeat_best == 0 or not study.finished_trials()
    if not all_begun or not all(is_over(one.sweep, one.records()) for one in searches):
        try:
            run_workers(job, study, workers, tell, standing)
            # A grid may be over before it has as many trials as it may.
            repeats = repeats or study.repeats(job.repeat_best)
        finally:
            _write(study, repeats)
    # An earlier call may have ended between the last trial and the files that tell of it, or with a process
    # that had nothing left to do but to take its sign away.
    for one in studies():
        one.requeue_dead()
    if not all(has_results(one) for one in studies()):
        _write(study, repeats)
    records = study.records()
    best = best_record(records, job.sweep.metric)
    repeated = None
    if repeats is not None and best is not None:
        repeated = Repeats(best.number, tuple(repeats.records()), repeats.folder)
    return SweepResult(job.sweep, job.folder, tuple(records), repeated)


def _write(study: Study, repeats: Study | None) -> None:
    write_results(study)
    if repeats is not None:
        write_table(repeats)
