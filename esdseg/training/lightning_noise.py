"""Keeping Lightning's advice to its own developers away from the user."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("pytorch_lightning", "lightning.pytorch", "lightning_fabric", "lightning.fabric", "lightning")

_UNWANTED_WARNINGS = (
    # Loading is planned by `data.cache`; more workers would only copy memory.
    r".*does not have many workers",
    # The CPU was asked for.
    r"GPU available but not used",
    r"MPS available but not used",
    # The first warm-up step in mixed precision may be skipped by the gradient scaler, as intended.
    r"Detected call of `lr_scheduler\.step\(\)` before",
    # Of 1 x 1 convolutions with the channels last; the copy is far smaller than the gain.
    r"Grad strides do not match bucket view strides",
    # A backbone that is frozen for the first epochs looks unused at times.
    r"find_unused_parameters=True was specified",
    # Lightning's loading of checkpoints announces its own argument.
    r".*`weights_only`",
    # Of a call inside Lightning.
    r".*isinstance\(treespec, LeafSpec\)` is deprecated",
    # Values are pooled over the processes before they are logged.
    r"It is recommended to use `self\.log\(.*sync_dist=True\)`",
    # A process that got no validation subtile has nothing to score; the others' cells are joined.
    r"The ``compute`` method of metric SegmentationMetrics was called before",
)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's notes and the warnings that no user can act on; others still come through."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in _UNWANTED_WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
