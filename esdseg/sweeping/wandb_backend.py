"""Sweeps that Weights & Biases steers: it chooses the points, this machine trains them."""

import contextlib
import multiprocessing
import sys
from pathlib import Path

from esdseg.errors import MissingResourceError
from esdseg.sweeping.names import long_name
from esdseg.sweeping.search import Sweep
from esdseg.sweeping.sweep import check_store, make_folder, sweep_folder
from esdseg.sweeping.sweep_file import SweepFile


def run_wandb_sweep(
    file: SweepFile, *, checkpoints_dir: Path, workers: int, count: int | None
) -> tuple[str, Path]:
    """Create the sweep at Weights & Biases and train its runs here.

    Args:
        file: The sweep file.
        checkpoints_dir: Folder of the runs; the sweep's is in ``sweeps/`` below.
        workers: Agents, each a process.
        count: Runs an agent trains at most; all that the sweep gives it unless given.

    Returns:
        The sweep's identity there, as ENTITY/PROJECT/SWEEP or a part of it, and the sweep's folder here.

    Raises:
        InputDataError: The store is missing or broken, or the folder cannot be written.
        MissingResourceError: There is no login, or the server refuses the sweep.
    """
    from esdseg.training.wandb_connection import has_login

    if not has_login():
        raise MissingResourceError(
            "--backend wandb needs a login to Weights & Biases; run `wandb login` or set WANDB_API_KEY, or "
            "search without it by --backend local."
        )
    check_store(file.sweep)
    folder = sweep_folder(checkpoints_dir, file.sweep)
    make_folder(folder)
    import wandb

    entity, project = file.content.get("entity"), file.content.get("project") or "esdseg"
    try:
        # wandb prints the sweep's address; standard output is for results.
        with contextlib.redirect_stdout(sys.stderr):
            identity = wandb.sweep(dict(file.content), entity=entity, project=project)
    except Exception as error:  # wandb raises its own errors and those of its service and of the network.
        raise MissingResourceError(
            f"Weights & Biases did not take the sweep ({error}); search without it by --backend local."
        ) from error
    arguments = (identity, file.sweep, folder, entity, project, count)
    context = multiprocessing.get_context("spawn")
    agents = [context.Process(target=run_agent, args=arguments) for _ in range(workers - 1)]
    for agent in agents:
        agent.start()
    run_agent(*arguments)
    for agent in agents:
        agent.join()
    return identity, folder


def run_agent(
    identity: str, sweep: Sweep, folder: Path, entity: str | None, project: str, count: int | None
) -> None:
    """Train the runs that the server chooses until it has no more; the arguments are as above."""
    import wandb

    with contextlib.redirect_stdout(sys.stderr):
        wandb.agent(
            identity,
            function=lambda: train_chosen(sweep, folder),
            entity=entity,
            project=project,
            count=count,
        )


def train_chosen(sweep: Sweep, folder: Path) -> None:
    """Train the run that the server has chosen; called inside an agent."""
    import wandb

    from esdseg.training.fit import fit

    with wandb.init() as run:
        chosen = {long_name(str(name)): value for name, value in dict(run.config).items()}
        config = sweep.config_at({name: chosen[name] for name in sweep.parameters})
        # The training logs to the run that is already open.
        tracking = config.tracking.model_copy(update={"wandb": "online", "group": sweep.name})
        config = config.model_copy(update={"tracking": tracking})
        run.config.update(config.model_dump(mode="json"), allow_val_change=True)
        fit(config, checkpoints_dir=folder, name=f"run-{run.id}")
