"""Runs of training: data, network, optimizer, checkpoints, history and monitoring."""
