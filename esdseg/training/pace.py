"""How long a training will take, from one measured step."""

import contextlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from esdseg.config.training import ESDConfig
from esdseg.training.epoch_end import StoppedRunError
from esdseg.training.fitting import fit

MEASURED_STEPS = 3
"""The first one also prepares the device; the last one counts."""

VALIDATION_SHARE = 0.5
"""Validation and checkpoints, as a share of the time that an epoch's steps take."""


@dataclass(frozen=True)
class Pace:
    """How fast a training goes.

    Attributes:
        step_seconds: One training step; the whole fit where there are no steps.
        steps: Training steps an epoch.
        has_epochs: Whether there are epochs at all: some models are fitted in one go.
    """

    step_seconds: float
    steps: int
    has_epochs: bool

    def seconds(self, epochs: float) -> float:
        """Return how long so many epochs take."""
        if not self.has_epochs:
            return self.step_seconds
        return self.step_seconds * self.steps * (1 + VALIDATION_SHARE) * epochs


def measure_pace(config: ESDConfig) -> Pace:
    """Train a few steps in a folder that is thrown away, without tracking.

    Raises:
        ESDSegError: The settings cannot be trained.
    """
    tracking = config.tracking.model_copy(update={"wandb": "disabled"})
    config = config.model_copy(update={"tracking": tracking})
    times: list[float] = []
    steps = 1

    def on_step(epoch: int, done: int, total: int) -> None:
        nonlocal steps
        times.append(time.monotonic())
        steps = total
        if len(times) > MEASURED_STEPS:
            raise StoppedRunError

    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.suppress(StoppedRunError):
            fit(config, checkpoints_dir=Path(folder), name="measured", on_step=on_step)
        whole = time.monotonic() - begun
    if len(times) < 2:
        return Pace(whole, 1, has_epochs=False)
    return Pace(times[-1] - times[-2], steps, has_epochs=True)
