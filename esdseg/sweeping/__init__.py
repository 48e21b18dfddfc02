"""Sweeps: searching hyperparameters, on one machine or many."""
