"""Optimizers, and learning rates over a run."""

import math
from dataclasses import dataclass

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LinearLR, LRScheduler, ReduceLROnPlateau

from esdseg.config.training import OptimizerConfig, TrainerConfig
from esdseg.models.device import ResolvedPrecision

PLATEAU_FACTOR = 0.1
"""What ``plateau`` multiplies the rate by."""

PLATEAU_SHARE = 4
"""``plateau`` waits for the early-stopping patience divided by this."""

PLATEAU_PATIENCE_WITHOUT_STOPPING = 4
"""Epochs that ``plateau`` waits where training never stops early."""


@dataclass(frozen=True)
class Schedule:
    """How the learning rate moves.

    Attributes:
        by_step: Moves it after every step.
        by_epoch: Moves it after every epoch by the monitored metric, or ``None``.
    """

    by_step: LRScheduler
    by_epoch: ReduceLROnPlateau | None


def build_optimizer(config: OptimizerConfig, model: nn.Module, precision: ResolvedPrecision) -> Optimizer:
    """Return the optimizer that the settings describe.

    One fused kernel makes the whole step, which takes a third to a half of the time. In half precision such a
    kernel would also undo the scaling of the gradients, which then could not be clipped before.

    Args:
        config: Kind, rate and decay.
        model: The model whose parameters are trained.
        precision: Of the network's arithmetic.
    """
    rate, decay = config.learning_rate, config.resolved_weight_decay
    assert rate is not None, "ESDConfig.resolved fills it in"
    parameters, fused = model.parameters(), precision != "16-mixed"
    if config.name == "adamw":
        return AdamW(parameters, lr=rate, weight_decay=decay, fused=fused)
    if config.name == "adam":
        return Adam(parameters, lr=rate, weight_decay=decay, fused=fused)
    return SGD(parameters, lr=rate, weight_decay=decay, momentum=config.momentum, fused=fused)


def build_schedule(
    optimizer: Optimizer, config: OptimizerConfig, trainer: TrainerConfig, steps_per_epoch: int
) -> Schedule:
    """Return the schedule that the settings describe.

    Args:
        optimizer: Its rates are moved.
        config: Kind of schedule and warm-up.
        trainer: Length of the run, patience and monitored metric.
        steps_per_epoch: Optimizer steps an epoch.
    """
    total_steps = trainer.epochs * steps_per_epoch
    warmup_steps = min(round(config.warmup_epochs * steps_per_epoch), total_steps)
    if config.schedule == "plateau":
        # Both move the rate by factors and so can share it.
        warmup = LinearLR(optimizer, 1 / max(warmup_steps, 1), total_iters=max(warmup_steps - 1, 0))
        return Schedule(warmup, _plateau(optimizer, trainer))
    decays = config.schedule == "cosine"
    return Schedule(
        LambdaLR(
            optimizer,
            lambda step: (
                warmup_factor(step, warmup_steps)
                * (cosine_factor(step, warmup_steps, total_steps) if decays else 1.0)
            ),
        ),
        None,
    )


def warmup_factor(step: int, warmup_steps: int) -> float:
    """Rise in equal parts to 1 at the last of the warm-up's steps, counted from 0."""
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0


def cosine_factor(step: int, warmup_steps: int, total_steps: int) -> float:
    """Fall from 1 after the warm-up to 0 at the run's end along half a cosine (arXiv:1608.03983)."""
    if step < warmup_steps or total_steps <= warmup_steps:
        return 1.0
    progress = min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def _plateau(optimizer: Optimizer, trainer: TrainerConfig) -> ReduceLROnPlateau:
    waits = (
        max(1, trainer.patience // PLATEAU_SHARE) if trainer.patience else PLATEAU_PATIENCE_WITHOUT_STOPPING
    )
    # PyTorch acts after one epoch more than its patience.
    return ReduceLROnPlateau(optimizer, trainer.monitor_mode, factor=PLATEAU_FACTOR, patience=waits - 1)
