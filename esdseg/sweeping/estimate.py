"""How long a sweep will take, from one measured step."""

import contextlib
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from esdseg.sweeping.space import examples, listed
from esdseg.sweeping.spec import Settings, Sweep
from esdseg.training import StoppedRunError, fit

MEASURED_STEPS = 3
"""The first one also prepares the device; the last one counts."""

VALIDATION_SHARE = 0.5
"""Validation and checkpoints, as a share of the time that an epoch's steps take."""


@dataclass(frozen=True)
class Estimate:
    """What training will take.

    Attributes:
        step_seconds: One training step of a middling point.
        steps: Training steps an epoch.
        epochs: Mean of the most epochs that trials may take.
        trial_seconds: One trial that is not stopped early.
    """

    step_seconds: float
    steps: int
    epochs: float
    trial_seconds: float

    def sweep_seconds(self, trials: int, workers: int) -> float:
        """Return how long all trials take where processes side by side do not slow each other down."""
        return self.trial_seconds * trials / min(workers, trials)


def middling_point(sweep: Sweep) -> Settings:
    """Return a point in the middle of every parameter."""
    point = {}
    for name, parameter in sweep.parameters.items():
        values = listed(parameter) or examples(parameter)[-1:]
        point[name] = values[len(values) // 2]
    return point


def estimate(sweep: Sweep) -> Estimate:
    """Train a few steps of a middling point in a folder that is thrown away.

    Raises:
        ESDSegError: The point cannot be trained.
    """
    config = sweep.config_at(middling_point(sweep))
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
    step_seconds = times[-1] - times[-2] if len(times) > 1 else whole
    epochs = _mean_epochs(sweep, config.trainer.max_epochs)
    if len(times) < 2:
        # Fitted in one go.
        return Estimate(step_seconds, 1, 1.0, whole)
    return Estimate(step_seconds, steps, epochs, step_seconds * steps * (1 + VALIDATION_SHARE) * epochs)


def _mean_epochs(sweep: Sweep, fixed: int) -> float:
    if "trainer.max_epochs" not in sweep.parameters:
        return float(fixed)
    values = examples(sweep.parameters["trainer.max_epochs"])
    return statistics.fmean(float(str(value)) for value in values)
