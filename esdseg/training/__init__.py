"""Runs of training: data, network, optimizer, checkpoints, history and monitoring."""

from esdseg.training.epoch_end import StoppedRunError
from esdseg.training.fitting import fit
from esdseg.training.fold_fitting import FoldsResult, fit_folds
from esdseg.training.reports import EpochReport, FitResult

__all__ = ["EpochReport", "FitResult", "FoldsResult", "StoppedRunError", "fit", "fit_folds"]
