"""Lightning's trainer, and taming it: its processes, its environment, its way of being interrupted."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping
from pytorch_lightning.strategies import DDPStrategy, Strategy

from esdseg.config.section import PretrainedSection
from esdseg.config.training import ESDConfig, TrainerConfig
from esdseg.training.machine import Machine

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
