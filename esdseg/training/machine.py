"""What to compute on and with: device, processes, precision, memory format, and Lightning's trainer."""

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping
from pytorch_lightning.strategies import DDPStrategy, Strategy

from esdseg.config.section import PretrainedSection
from esdseg.config.training import ESDConfig, TrainerConfig
from esdseg.errors import UsageError
from esdseg.models.device import (
    ResolvedAccelerator,
    ResolvedPrecision,
    choose_accelerator,
    choose_precision,
)


@dataclass(frozen=True)
class Machine:
    """The settings of :class:`TrainerConfig` with every ``auto`` decided.

    Attributes:
        accelerator: Kind of device.
        devices: GPUs, or processes on the CPU, a node.
        num_nodes: Machines.
        precision: Of the network's arithmetic; weights and normalisation are always float32.
        memory_format: Order of an image's axes in memory.
    """

    accelerator: ResolvedAccelerator
    devices: int
    num_nodes: int
    precision: ResolvedPrecision
    memory_format: torch.memory_format

    @property
    def processes(self) -> int:
        """Processes that train together."""
        return self.devices * self.num_nodes


def choose_machine(config: TrainerConfig) -> Machine:
    """Decide what ``auto`` means here.

    Raises:
        UsageError: The machine lacks what the settings name.
    """
    accelerator = choose_accelerator(config.accelerator)
    here = torch.cuda.device_count() if accelerator == "gpu" else 1
    devices = here if config.devices == "auto" else config.devices
    if accelerator != "cpu" and devices > here:
        raise UsageError(
            f"--devices {devices} asks for more than the {here} that this machine has; use --devices {here}."
        )
    return Machine(
        accelerator=accelerator,
        devices=devices,
        num_nodes=config.num_nodes,
        precision=choose_precision(config.precision, accelerator),
        # Convolutions of all backends are at least as fast with the channels last.
        memory_format=(
            torch.contiguous_format if config.memory_format == "contiguous" else torch.channels_last
        ),
    )


_LAUNCHER_VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")
"""What Lightning leaves in the environment after it has started processes."""


def build_trainer(config: ESDConfig, machine: Machine, callbacks: list[pl.Callback]) -> pl.Trainer:
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
        precision=machine.precision,
        max_epochs=config.trainer.max_epochs,
        gradient_clip_val=config.trainer.gradient_clip_norm,
        callbacks=[OwnSignals(), *_early_stopping(config.trainer), *callbacks],
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


class OwnSignals(pl.Callback):
    """Keeps the program's own answer to SIGTERM, where it has one.

    Lightning's would first wait for all processes, which may be waiting for this one, and for a batch.
    """

    def __init__(self) -> None:
        self._handler = signal.getsignal(signal.SIGTERM)

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Come back: Lightning has just put its own in place."""
        self._restore()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Come back, in a run that is resumed without a sanity check."""
        self._restore()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Come back, where a model is validated alone."""
        self._restore()

    def _restore(self) -> None:
        if callable(self._handler) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._handler)


def _strategy(config: ESDConfig, machine: Machine) -> Strategy | str:
    if machine.processes == 1:
        return "auto"
    freezes = isinstance(config.model, PretrainedSection) and config.model.frozen_backbone_epochs > 0
    # Exchanging the running statistics before every forward pass would wait for processes that have one
    # validation batch less; the task does it once before validation.
    return DDPStrategy(forward_sync_buffers=False, find_unused_parameters=freezes)


def _early_stopping(config: TrainerConfig) -> list[pl.Callback]:
    if config.patience is None:
        return []
    return [
        EarlyStopping(
            config.monitor, mode=config.monitor_mode, patience=config.patience, check_on_train_epoch_end=True
        )
    ]


@contextmanager
def launcher_environment() -> Iterator[None]:
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
def interruptible() -> Iterator[None]:
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
