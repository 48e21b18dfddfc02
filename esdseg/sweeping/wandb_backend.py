"""Sweeps that Weights & Biases steers: it chooses the points, this machine trains them."""

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from esdseg.errors import MissingResourceError
from esdseg.sweeping.names import long_name
from esdseg.sweeping.spec import Sweep
from esdseg.sweeping.sweep_file import SweepFile


def check_login() -> None:
    """Refuse to go on without a login.

    Raises:
        MissingResourceError: There is none.
    """
    from esdseg.training.tracking import has_login

    if not has_login(os.environ):
        raise MissingResourceError(
            "--backend wandb needs a login to Weights & Biases; run `wandb login` or set WANDB_API_KEY, or "
            "search without it by --backend local."
        )


def run_wandb_sweep(file: SweepFile, *, folder: Path, workers: int, count: int | None) -> str:
    """Create the sweep there and train its runs here.

    Args:
        file: The sweep file.
        folder: Where the runs' folders go.
        workers: Agents, each a process.
        count: Runs an agent trains at most; all that the sweep gives it unless given.

    Returns:
        The sweep's identity there, as ENTITY/PROJECT/SWEEP or a part of it.

    Raises:
        MissingResourceError: There is no login, or the server refuses the sweep.
    """
    check_login()
    import wandb

    project = file.content.get("project") or "esdseg"
    try:
        # wandb prints the sweep's address; standard output is for results.
        with contextlib.redirect_stdout(sys.stderr):
            identity = wandb.sweep(dict(file.content), entity=file.content.get("entity"), project=project)
    except Exception as error:  # wandb raises its own errors and those of its service and of the network.
        raise MissingResourceError(
            f"Weights & Biases did not take the sweep ({error}); search without it by --backend local."
        ) from error
    arguments = (identity, file.sweep, folder, file.content.get("entity"), project, count)
    context = multiprocessing.get_context("spawn")
    agents = [context.Process(target=run_agent, args=arguments) for _ in range(workers - 1)]
    for agent in agents:
        agent.start()
    run_agent(*arguments)
    for agent in agents:
        agent.join()
    return identity


def run_agent(
    identity: str, sweep: Sweep, folder: Path, entity: str | None, project: str, count: int | None
) -> None:
    """Train the runs that the server chooses until it has no more.

    Args:
        identity: The sweep's.
        sweep: What is searched.
        folder: Where the runs' folders go.
        entity: Whose sweep it is.
        project: The project that it is in.
        count: Runs to train at most.
    """
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
        config = sweep.config_at(chosen_settings(sweep, dict(run.config)))
        # The training logs to the run that is already open.
        tracking = config.tracking.model_copy(update={"wandb": "online", "group": sweep.name})
        config = config.model_copy(update={"tracking": tracking})
        run.config.update(config.model_dump(mode="json"), allow_val_change=True)
        fit(config, checkpoints_dir=folder, name=f"run-{run.id}")


def chosen_settings(sweep: Sweep, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the searched settings from a run's configuration there."""
    named = {long_name(str(name)): value for name, value in config.items()}
    return {name: named[name] for name in sweep.parameters}
