"""The processes that train trials, side by side on one machine."""

import multiprocessing
import multiprocessing.connection
import os
import sys
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from esdseg.errors import InputDataError, MissingResourceError
from esdseg.sweeping.search_space import Sweep
from esdseg.sweeping.storage import Storage
from esdseg.sweeping.study import ENDED, SweepStudy
from esdseg.system.memory import available_cores
from esdseg.system.processes import begin_worker, starting_workers

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"
POLL_SECONDS = 0.5
DEATHS_WITHOUT_TRIAL = 3


@dataclass(frozen=True)
class Job:
    """What a worker needs to know.

    Attributes:
        sweep: What is searched.
        folder: The sweep's folder.
        checkpoints_dir: Folder in which runs that settings name are looked up.
        url: Of the storage.
        threads: The worker's share of the machine's.
    """

    sweep: Sweep
    folder: Path
    checkpoints_dir: Path
    url: str
    threads: int


def run_workers(
    study: SweepStudy, checkpoints_dir: Path, url: str, workers: int, on_change: Callable[[], None]
) -> None:
    """Train trials until there are no more, here and on other machines.

    A process that dies is replaced, and its trial is run again; so is that of a machine that died.

    Args:
        study: The sweep's.
        checkpoints_dir: Folder in which runs that settings name are looked up.
        url: Of its storage.
        workers: Processes; the machine's threads and GPUs are shared out among them.
        on_change: Called about twice a second.

    Raises:
        InputDataError: The processes die before they can train anything.
        MissingResourceError: Something is missing that only the user can supply.
        KeyboardInterrupt: The processes are ended and their trials queued again before it goes on.
    """
    job = Job(study.sweep, study.folder, checkpoints_dir, url, max(1, available_cores() // workers))
    missing: SimpleQueue[str] = multiprocessing.get_context("spawn").SimpleQueue()
    processes: dict[int, SpawnProcess] = {}
    deaths = 0
    try:
        while True:
            study.requeue_dead()
            on_change()
            wanted = workers
            if study.sweep.trials is not None:
                over = sum(record.state in ENDED for record in study.records())
                wanted = min(workers, study.sweep.trials - over)
            idle = [index for index in range(wanted) if index not in processes]
            for index in idle if idle and study.queue_next() else ():
                processes[index] = _start(job, index, missing)
            if not processes and not study.is_running():
                return
            _wait(processes)
            for index, process in list(processes.items()):
                if process.is_alive():
                    continue
                process.join()
                del processes[index]
                if process.exitcode == 0:
                    continue
                if not missing.empty():
                    # Its trial is left for later.
                    study.requeue_dead(were_ended=True)
                    on_change()
                    raise MissingResourceError(missing.get())
                deaths = 0 if study.has_begun(process.pid or 0) else deaths + 1
                if deaths > DEATHS_WITHOUT_TRIAL:
                    raise InputDataError(
                        "The sweep's processes die before they train anything; "
                        f"{log_path(study.folder, index)} says why."
                    )
    finally:
        for process in processes.values():
            process.kill()
        for process in processes.values():
            process.join()
        if processes:
            study.requeue_dead(were_ended=True)
            on_change()


def log_path(folder: Path, index: int) -> Path:
    """Return where a worker's own output goes."""
    return folder / f"worker-{index + 1}.log"


def choose_gpu(environment: MutableMapping[str, str], index: int, count: int) -> None:
    """Show a process one of several GPUs; processes take turns.

    Args:
        environment: Environment variables, changed in place.
        index: Which of the processes this is, counted from 0.
        count: GPUs that it sees now.
    """
    if count < 2:
        return
    named = [name for name in environment.get(VISIBLE_GPUS, "").split(",") if name.strip()]
    seen = named or [str(number) for number in range(count)]
    environment[VISIBLE_GPUS] = seen[index % len(seen)].strip()


def _wait(processes: dict[int, SpawnProcess]) -> None:
    """Wait until a process ends, but not long."""
    if processes:
        sentinels = [process.sentinel for process in processes.values()]
        multiprocessing.connection.wait(sentinels, timeout=POLL_SECONDS)
    else:
        time.sleep(POLL_SECONDS)


def _start(job: Job, index: int, missing: SimpleQueue[str]) -> SpawnProcess:
    process = multiprocessing.get_context("spawn").Process(target=_work, args=(job, index, missing))
    with fewer_threads(job.threads), starting_workers():
        process.start()
    return process


@contextmanager
def fewer_threads(threads: int) -> Iterator[None]:
    """Let processes that are started in the block compute with their share of the threads."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    for name, wish in before.items():
        os.environ[name] = (
            str(min(int(wish), threads)) if wish and wish.isdigit() and int(wish) else str(threads)
        )
    try:
        yield
    finally:
        for name, wish in before.items():
            if wish is None:
                del os.environ[name]
            else:
                os.environ[name] = wish


def _work(job: Job, index: int, missing: SimpleQueue[str]) -> None:
    """Train trials until there are no more; runs in a process of its own.

    Args:
        job: What to do.
        index: Which of the processes this is, counted from 0.
        missing: Gets what only the user can supply; the process then ends with exit code 4.
    """
    begin_worker()
    write_to(log_path(job.folder, index))
    # Only now is PyTorch loaded, with its share of the threads.
    import torch

    from esdseg.sweeping.trial import UserNeededError, train_trial

    torch.set_num_threads(min(job.threads, torch.get_num_threads()))
    choose_gpu(os.environ, index, torch.cuda.device_count())
    try:
        study = SweepStudy(job.sweep, job.folder, Storage(job.url))
        study.run_trials(partial(train_trial, study, job.checkpoints_dir))
    except UserNeededError as error:
        missing.put(str(error))
        sys.exit(MissingResourceError.exit_code)


def write_to(log: Path) -> None:
    """Send all output of this process, that of libraries too, to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
