"""Ablations: what each sensor, date and band is worth to a network, at inference and in training."""
