"""Agents of Weights & Biases, side by side on one machine.

An agent is wandb's own: it asks the server for a point, starts the sweep's command for it as a process, and
ends that process where the server says so. So ``wandb agent ENTITY/PROJECT/ID`` trains the same runs.
"""

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from types import FrameType

import psutil

from esdseg.errors import MissingResourceError
from esdseg.sweeping.workers import choose_gpu, fewer_threads, log_path, write_to
from esdseg.system.memory import available_cores
from esdseg.system.processes import begin_worker, starting_workers

PLACE_VARIABLE = "ESDSEG_SWEEP_PLACE"
"""Tells a run that an agent of :func:`train_with_agents` starts where on this machine it is trained."""

POLL_SECONDS = 10
"""How often the server is asked how the runs stand."""

STOP_SECONDS = 40
"""How long a run has to end when the sweep is interrupted: it tells Weights & Biases of its end."""


def train_with_agents(
    address: str,
    folder: Path,
    place: str,
    workers: int,
    count: int | None,
    on_change: Callable[[], None],
) -> None:
    """Train the runs that the server chooses until it has no more.

    Args:
        address: ENTITY/PROJECT/ID of the sweep.
        folder: Of the sweep on this machine.
        place: Where on this machine the runs are trained, as text.
        workers: Agents, each a process; the machine's threads and GPUs are shared out among them.
        count: Runs that they train at most, all together.
        on_change: Called every few seconds.

    Raises:
        MissingResourceError: An agent failed.
        KeyboardInterrupt: The agents and their runs are ended before it goes on.
    """
    import torch

    threads, gpus = max(1, available_cores() // workers), torch.cuda.device_count()
    context = multiprocessing.get_context("spawn")
    failures: SimpleQueue[str] = context.SimpleQueue()
    agents: list[SpawnProcess] = []
    try:
        for index in range(workers if count is None else min(workers, count)):
            share = None if count is None else count // workers + (index < count % workers)
            arguments = (address, folder, place, index, gpus, share, failures)
            agent = context.Process(target=_work, args=arguments)
            with fewer_threads(threads), starting_workers():
                agent.start()
            agents.append(agent)
        while alive := [agent for agent in agents if agent.is_alive()]:
            multiprocessing.connection.wait([agent.sentinel for agent in alive], timeout=POLL_SECONDS)
            on_change()
    finally:
        _end(agents)
    for index, agent in enumerate(agents):
        if agent.exitcode != 0:
            said = failures.get() if not failures.empty() else f"exit code {agent.exitcode}"
            raise MissingResourceError(
                f"An agent of Weights & Biases failed ({said}); {log_path(folder, index)} says more. "
                "Run the same command again to go on."
            )


def _work(
    address: str,
    folder: Path,
    place: str,
    index: int,
    gpus: int,
    count: int | None,
    failures: SimpleQueue[str],
) -> None:
    """Be an agent until the server has no more runs; runs in a process of its own."""
    begin_worker()
    signal.signal(signal.SIGTERM, _leave)
    write_to(log_path(folder, index))
    choose_gpu(os.environ, index, gpus)
    os.environ[PLACE_VARIABLE] = place
    # The agent finds the command beside this interpreter, and keeps its own files in the sweep's folder.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    os.environ["WANDB_DIR"] = str(folder.absolute())

    import wandb

    try:
        wandb.agent(address, count=count)
    except Exception as error:  # wandb raises its own errors and those of its service and of the network.
        failures.put(next(iter(str(error).splitlines()), type(error).__name__))
        sys.exit(MissingResourceError.exit_code)


def _end(agents: list[SpawnProcess]) -> None:
    """End agents at work: first they stop asking for runs, then their runs are ended, for which they wait."""
    alive = [agent for agent in agents if agent.is_alive()]
    runs: list[psutil.Process] = []
    for agent in alive:
        agent.terminate()
    for agent in alive:
        with suppress(psutil.NoSuchProcess):
            runs += psutil.Process(agent.pid).children()
    for run in runs:
        with suppress(psutil.NoSuchProcess):
            run.terminate()
    _, stubborn = psutil.wait_procs(runs, timeout=STOP_SECONDS)
    for run in stubborn:
        run.kill()
    for agent in alive:
        agent.join(timeout=STOP_SECONDS)
        agent.kill()
        agent.join()


def _leave(number: int, frame: FrameType | None) -> None:
    """End an agent in order: wandb's loop takes this as a wish to start nothing more."""
    sys.exit(0)
