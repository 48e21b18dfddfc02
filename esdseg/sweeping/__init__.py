"""Sweeps: searching hyperparameters, on one machine or many."""

from esdseg.sweeping.sweep_file import SweepFile, read_sweep

__all__ = ["SweepFile", "read_sweep"]
