"""Ablations: what each sensor, place and band is worth to a network, at inference and in training."""
