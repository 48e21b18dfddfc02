"""The processes that train trials, side by side on one machine."""

import multiprocessing
import multiprocessing.connection
import os
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from esdseg.errors import InputDataError, MissingResourceError
from esdseg.sweeping.spec import Sweep
from esdseg.sweeping.study import Study
from esdseg.system.memory import available_cores
from esdseg.system.processes import begin_worker, starting_workers

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
POLL_SECONDS = 0.5
DEATHS_WITHOUT_PROGRESS = 3


@dataclass(frozen=True)
class Job:
    """What a worker needs to know.

    Attributes:
        sweep: What is searched.
        folder: The sweep's folder.
        url: Of the storage.
        repeat_best: With how many other seeds to train the best configuration afterwards.
    """

    sweep: Sweep
    folder: Path
    url: str
    repeat_best: int = 0


def run_workers(
    job: Job,
    study: Study,
    workers: int,
    on_change: Callable[[], None],
    standing: Callable[[], object],
) -> None:
    """Train trials until there are no more.

    A process that dies is replaced, and its trial is queued again.

    Args:
        job: What to do.
        study: The same study, as this process sees it.
        workers: Processes; the machine's threads and GPUs are shared out among them.
        on_change: Called a few times a second.
        standing: Returns what changes whenever a process takes a trial.

    Raises:
        InputDataError: The processes die before they can train anything.
        MissingResourceError: Something is missing that only the user can supply.
        KeyboardInterrupt: The processes are ended and their trials queued again before it goes on.
    """
    threads = max(1, available_cores() // workers)
    missing: SimpleQueue[str] = multiprocessing.get_context("spawn").SimpleQueue()
    processes = {index: _start(job, index, threads, missing) for index in range(workers)}
    deaths, before = 0, standing()
    try:
        while processes:
            multiprocessing.connection.wait(
                [process.sentinel for process in processes.values()], timeout=POLL_SECONDS
            )
            on_change()
            for index, process in list(processes.items()):
                if process.is_alive():
                    continue
                process.join()
                del processes[index]
                if process.exitcode == 0:
                    continue
                if not missing.empty():
                    raise MissingResourceError(missing.get())
                study.requeue_dead()
                now = standing()
                deaths, before = (0 if now != before else deaths) + 1, now
                if deaths > DEATHS_WITHOUT_PROGRESS:
                    raise InputDataError(
                        "The sweep's processes die before they train anything; "
                        f"{log_path(job.folder, index)} says why."
                    )
                processes[index] = _start(job, index, threads, missing)
    finally:
        for process in processes.values():
            process.kill()
        for process in processes.values():
            process.join()
        if processes:
            study.give_back_dead()
            on_change()


def log_path(folder: Path, index: int) -> Path:
    """Return where a worker's own output goes."""
    return folder / f"worker-{index + 1}.log"


def _start(job: Job, index: int, threads: int, missing: SimpleQueue[str]) -> SpawnProcess:
    process = multiprocessing.get_context("spawn").Process(target=work, args=(job, index, threads, missing))
    with _fewer_threads(os.environ, threads), starting_workers():
        process.start()
    return process


@contextmanager
def _fewer_threads(environment: MutableMapping[str, str], threads: int) -> Iterator[None]:
    """Let processes that are started in the block compute with their share of the threads."""
    before = {name: environment.get(name) for name in THREAD_VARIABLES}
    environment.update({name: _smaller(before[name], threads) for name in THREAD_VARIABLES})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del environment[name]
            else:
                environment[name] = value


def _smaller(wish: str | None, threads: int) -> str:
    return str(min(int(wish), threads)) if wish and wish.isdigit() and int(wish) > 0 else str(threads)


def work(job: Job, index: int, threads: int, missing: SimpleQueue[str]) -> None:
    """Train trials until there are no more; runs in a process of its own.

    Args:
        job: What to do.
        index: Which of the processes this is, counted from 0.
        threads: Its share of the machine's.
        missing: Told of what only the user can supply; the process then ends with exit code 4.
    """
    begin_worker()
    _write_to(log_path(job.folder, index))
    # Only now is PyTorch loaded, with its share of the threads.
    from esdseg.sweeping.worker import train_until_done

    try:
        train_until_done(job, index, threads)
    except MissingResourceError as error:
        missing.put(str(error))
        sys.exit(error.exit_code)


def _write_to(log: Path) -> None:
    """Send all output of this process, that of libraries too, to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
