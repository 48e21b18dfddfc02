"""What to compute on and with: device, processes, precision, memory format, and Lightning's trainer."""

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping
from pytorch_lightning.plugins.environments import ClusterEnvironment, LightningEnvironment, SLURMEnvironment
from pytorch_lightning.strategies import DDPStrategy, Strategy

from esdseg.config.section import PretrainedSection
from esdseg.config.training import ESDConfig, TrainerConfig
from esdseg.datasets.datamodule import SubtileDataModule
from esdseg.errors import UsageError
from esdseg.models.device import (
    ResolvedAccelerator,
    ResolvedPrecision,
    choose_accelerator,
    choose_precision,
    naming_memory_faults,
)
from esdseg.training.callbacks import OwnSignals
from esdseg.training.weight_averaging import weight_averaging

_LAUNCHER_VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")
"""What Lightning leaves in the environment after it has started processes."""

_FIRST_RESERVED_STEP = 0xFFFF_FFF0
"""SLURM numbers the steps of srun from 0; numbers from here on stand for a batch script or salloc's shell."""

_LOGGERS = ("pytorch_lightning", "lightning.pytorch", "lightning_fabric", "lightning.fabric", "lightning")

_UNWANTED_WARNINGS = (
    # Loading is planned by `data.cache`; more workers would only copy memory.
    r".*does not have many workers",
    # The CPU was asked for.
    r"GPU available but not used",
    r"MPS available but not used",
    # The first warm-up step in mixed precision may be skipped by the gradient scaler, as intended.
    r"Detected call of `lr_scheduler\.step\(\)` before",
    # Of 1 x 1 convolutions with the channels last; the copy is far smaller than the gain.
    r"Grad strides do not match bucket view strides",
    # A backbone that is frozen for the first epochs looks unused at times.
    r"find_unused_parameters=True was specified",
    # Lightning's loading of checkpoints announces its own argument.
    r".*`weights_only`",
    # Of a call inside Lightning.
    r".*isinstance\(treespec, LeafSpec\)` is deprecated",
    # Values are pooled over the processes before they are logged.
    r"It is recommended to use `self\.log\(.*sync_dist=True\)`",
    # A process that got no validation subtile has nothing to score; the others' cells are joined.
    r"The ``compute`` method of metric SegmentationMetrics was called before",
)


@dataclass(frozen=True)
class Machine:
    """The settings of :class:`TrainerConfig` with every ``auto`` decided.

    Attributes:
        accelerator: Kind of device.
        devices: GPUs, or processes on the CPU, of each node.
        num_nodes: Machines that train together.
        precision: Of the network's arithmetic; weights and normalisation are always float32.
    """

    accelerator: ResolvedAccelerator
    devices: int
    num_nodes: int
    precision: ResolvedPrecision

    @property
    def processes(self) -> int:
        """Processes that train together."""
        return self.devices * self.num_nodes

    def check_windows(self, val_windows: int) -> None:
        """Refuse to validate with more processes than there are windows (``UsageError``)."""
        if self.processes > val_windows:
            raise UsageError(
                f"{self.processes} processes are more than the {val_windows} validation windows; use "
                f"--devices {val_windows} or fewer."
            )


def choose_machine(config: ESDConfig) -> Machine:
    """Decide what ``auto`` means here.

    Raises:
        UsageError: The machine lacks what the settings name.
    """
    trainer = config.trainer
    accelerator = choose_accelerator(trainer.accelerator)
    here = torch.cuda.device_count() if accelerator == "gpu" else 1
    # Further processes start the program anew, which a notebook or a Python prompt cannot be.
    wished = 1 if trainer.devices == "auto" and hasattr(sys, "ps1") else trainer.devices
    devices = here if wished == "auto" else wished
    if accelerator != "cpu" and devices > here:
        raise UsageError(
            f"--devices {devices} asks for more than the {here} that this machine has; use --devices {here}."
        )
    if config.data.cache == "gpu" and accelerator == "cpu":
        raise UsageError(
            "data.cache=gpu keeps decoded subtiles on the GPU that trains, and this run trains on the CPU; "
            "use --set data.cache=memory, or auto."
        )
    precision = choose_precision(trainer.precision, accelerator)
    machine = Machine(accelerator, devices, trainer.num_nodes, precision)
    tasks = srun_tasks(os.environ)
    if tasks not in (1, machine.processes):
        raise UsageError(
            f"srun has started {tasks} processes, and the settings ask for {machine.processes} (--devices "
            f"{devices}, trainer.num_nodes {trainer.num_nodes}). To train alone, start it with `srun "
            f"--ntasks=1`; to train together, use --devices with the value of srun's --ntasks-per-node, and "
            "--set trainer.num_nodes with that of its --nodes."
        )
    if tasks > 1 and "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise UsageError(
            f"srun has started {tasks} processes without saying how many there are on each node: start it "
            f"with `srun --ntasks-per-node={devices}`."
        )
    return machine


def srun_tasks(environment: Mapping[str, str]) -> int:
    """Return how many processes SLURM's srun has started together, this one among them; 1 without srun.

    An allocation of salloc or sbatch tells its number of tasks to every program that is started in it, also
    to one that is started without srun and is therefore alone.

    Args:
        environment: Environment variables.

    Raises:
        UsageError: The variables do not say whether srun has started this process.
    """
    tasks = int(environment.get("SLURM_NTASKS", "1"))
    step = environment.get("SLURM_STEP_ID")
    if tasks == 1 or "TORCHELASTIC_RUN_ID" in environment:
        return 1
    if step is not None:
        return tasks if int(step) < _FIRST_RESERVED_STEP else 1
    if int(environment.get("SLURM_PROCID", "0")) > 0:
        raise UsageError(
            f"SLURM_NTASKS is {tasks} and SLURM_PROCID is {environment['SLURM_PROCID']}, but SLURM_STEP_ID "
            "is missing, so it cannot be known whether srun has started this process. Start it with srun and "
            "let it pass its variables on, or unset SLURM_NTASKS and SLURM_PROCID to train alone."
        )
    return 1


def build_trainer(config: ESDConfig, machine: Machine, callbacks: Sequence[pl.Callback]) -> pl.Trainer:
    """Return Lightning's trainer for the settings.

    Args:
        config: Settings.
        machine: Devices and precision.
        callbacks: Besides those that the settings ask for.
    """
    return pl.Trainer(
        accelerator=machine.accelerator,
        devices=machine.devices,
        num_nodes=machine.num_nodes,
        strategy=_strategy(config, machine),
        plugins=_cluster_environment(),
        precision=machine.precision,
        max_epochs=config.trainer.epochs,
        gradient_clip_val=config.trainer.gradient_clip_norm,
        callbacks=[
            OwnSignals(),
            *_early_stopping(config.trainer),
            *weight_averaging(config.trainer),
            *callbacks,
        ],
        # The samplers know of the processes, and validation samples must not be repeated.
        use_distributed_sampler=False,
        # One batch shows that every metric is there before an epoch is spent.
        num_sanity_val_steps=1,
        # All batches have one size, so the fastest kernels are worth finding.
        benchmark=machine.accelerator == "gpu",
        # Lightning's own checkpoints are never wanted; ours are a callback, and count as checkpointing.
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _cluster_environment() -> list[ClusterEnvironment]:
    """Return what starts further processes where SLURM has a say; elsewhere Lightning finds out itself.

    Lightning takes every process in an allocation for one of srun's, unless the job is called interactive.
    """
    if "SLURM_NTASKS" not in os.environ or "TORCHELASTIC_RUN_ID" in os.environ:
        return []
    return [SLURMEnvironment() if srun_tasks(os.environ) > 1 else LightningEnvironment()]


def _strategy(config: ESDConfig, machine: Machine) -> Strategy | str:
    if machine.processes == 1:
        return "auto"
    freezes = isinstance(config.model, PretrainedSection) and config.model.frozen_backbone_epochs > 0
    # Exchanging the running statistics before every forward pass would wait for processes that have one
    # validation batch less; the task does it once before validation.
    return DDPStrategy(forward_sync_buffers=False, find_unused_parameters=freezes)


def _early_stopping(config: TrainerConfig) -> list[pl.Callback]:
    if config.patience is None or config.monitor is None:
        return []
    return [
        EarlyStopping(
            config.monitor, mode=config.monitor_mode, patience=config.patience, check_on_train_epoch_end=True
        )
    ]


@contextmanager
def training_session(data: SubtileDataModule) -> Iterator[None]:
    """Surround a training with Lightning, so that nothing of it is left when the block ends.

    Lightning is silenced, an interruption is let through, the environment is put back, and where a batch does
    not fit into memory the message says what to try.

    Args:
        data: The subtiles, whose sizes the message names.

    Raises:
        OutOfMemoryError: A batch does not fit into memory.
    """
    size = data.batch_size
    smaller = f"--batch-size {size // 2}, " if size > 1 else ""
    batches = (
        f"batches of {size} windows of {data.window_size} x {data.window_size} cells and "
        f"{len(data.channels)} channels"
    )
    advice = (
        f"Try {smaller}fewer channels (--set data.selected_bands={{...}}), smaller windows (--set "
        "data.window_size=N), a smaller network, or --set data.cache=disk."
    )
    with quiet_lightning(), _launcher_environment(), _interruptible(), naming_memory_faults(batches, advice):
        yield


@contextmanager
def _launcher_environment() -> Iterator[None]:
    """Take back what Lightning puts into the environment, so that a later run starts afresh."""
    before = {name: os.environ.get(name) for name in _LAUNCHER_VARIABLES}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let an interruption through: Lightning turns it into ``SystemExit`` and ignores further ones."""
    if threading.current_thread() is not threading.main_thread():
        # Interruptions reach the main thread alone.
        yield
        return
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, handler)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's notes and the warnings that no user can act on; others still come through."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in _UNWANTED_WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
