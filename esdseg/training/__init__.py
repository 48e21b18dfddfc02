"""Runs of training: data, network, optimizer, checkpoints, history and monitoring."""

from esdseg.training.fitting import fit
from esdseg.training.reports import EpochReport, FitResult

__all__ = ["EpochReport", "FitResult", "fit"]
