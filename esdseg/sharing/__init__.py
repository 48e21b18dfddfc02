"""Sharing a trained network: one zip with the network in open formats, what it is, and how to use it."""
