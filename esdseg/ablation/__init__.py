"""Ablations: what each sensor, date and band is worth to a network, at inference and in training."""

from esdseg.ablation.finishing import write_ablation
from esdseg.ablation.opening import Opened, open_ablation
from esdseg.ablation.result import Ablation
from esdseg.ablation.taking_away import take_away
from esdseg.ablation.training_again import estimate_seconds, runs_to_train, train_again

__all__ = [
    "Ablation",
    "Opened",
    "estimate_seconds",
    "open_ablation",
    "runs_to_train",
    "take_away",
    "train_again",
    "write_ablation",
]
