"""The run of a sweep at Weights & Biases that an agent has started this process for."""

import os
from pathlib import Path
from typing import Any

import yaml

from esdseg.errors import ESDSegError, MissingResourceError, UsageError
from esdseg.sweeping.sweep import check_store
from esdseg.sweeping.trial import drop_checkpoints, reason_of
from esdseg.sweeping.wandb_agents import PLACE_VARIABLE
from esdseg.sweeping.wandb_backend import Place, WandbSweep, open_sweep, values_of
from esdseg.system.processes import ItemListener, ignore
from esdseg.training.callbacks import EpochListener
from esdseg.training.fit import fit
from esdseg.training.run_folder import WANDB_ID_NAME, FitResult
from esdseg.training.wandb_connection import NoteListener


def train_chosen(
    *,
    on_epoch: EpochListener | None = None,
    on_step: ItemListener = ignore,
    on_note: NoteListener = lambda note: None,
) -> FitResult | None:
    """Train the run that an agent of Weights & Biases has started this process for.

    Args:
        on_epoch: Called after each epoch.
        on_step: Called after each training step.
        on_note: Called with sentences for the user, such as the address of the run at Weights & Biases.

    Returns:
        The run; ``None`` where its settings cannot be trained, which Weights & Biases has been told.

    Raises:
        UsageError: No agent has started this process.
        InputDataError: The store is missing or broken.
        MissingResourceError: Weights, a login or the server are missing.
        KeyboardInterrupt: The agent stops the run, which leaves no checkpoint.
    """
    sweep_id, run_id = os.environ.get("WANDB_SWEEP_ID"), os.environ.get("WANDB_RUN_ID")
    arguments_file = os.environ.pop("WANDB_SWEEP_PARAM_PATH", None)
    if sweep_id is None or run_id is None or arguments_file is None:
        raise UsageError(
            "--wandb-sweep is for the agents of Weights & Biases, which start it: run `wandb agent "
            "ENTITY/PROJECT/ID` or `esdseg sweep ENTITY/PROJECT/ID`."
        )
    place = Place.from_text(os.environ[PLACE_VARIABLE]) if PLACE_VARIABLE in os.environ else Place()
    parts = (os.environ.get("WANDB_ENTITY"), os.environ.get("WANDB_PROJECT"), sweep_id)
    opened = open_sweep("/".join(part for part in parts if part), place)
    check_store(opened.sweep)
    run = opened.folder / f"run-{run_id}"
    content = yaml.safe_load(Path(arguments_file).read_text(encoding="utf-8"))
    arguments = {name: entry["value"] for name, entry in content.items() if isinstance(entry, dict)}
    try:
        config = opened.sweep.config_at(values_of(opened.sweep, arguments))
        tracking = config.tracking.model_copy(update={"wandb": "online", "group": opened.sweep.name})
        config = config.model_copy(update={"tracking": tracking})
        return fit(
            config,
            checkpoints_dir=opened.folder,
            named_runs_dir=opened.folder.parent.parent,
            name=run.name,
            on_epoch=on_epoch,
            on_step=on_step,
            on_note=on_note,
        )
    except KeyboardInterrupt:
        drop_checkpoints(run)
        raise KeyboardInterrupt(f"the sweep has stopped this run; its history is in {run}.") from None
    except MissingResourceError:
        raise
    except Exception as error:  # Whatever a combination of settings dies of, the next one may work.
        drop_checkpoints(run)
        reason = reason_of(error)
        if not (run / WANDB_ID_NAME).is_file():
            _report_failure(opened, run.name, arguments, reason)
        on_note(f"The run cannot be trained: {reason}")
        if not isinstance(error, ESDSegError):
            raise
        return None


def _report_failure(opened: WandbSweep, name: str, arguments: dict[str, Any], reason: str) -> None:
    """Tell Weights & Biases why a run failed that has not begun to log."""
    import wandb

    settings = wandb.Settings(silent=True, console="off", disable_git=True, save_code=False)
    group = opened.sweep.name
    run = wandb.init(dir=opened.folder, group=group, name=name, config=arguments, settings=settings)
    run.summary["reason"] = reason
    run.finish(exit_code=1)
