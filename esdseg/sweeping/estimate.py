"""How long a sweep will take, from one measured step."""

import statistics
from dataclasses import dataclass

from esdseg.sweeping.space import examples, listed
from esdseg.sweeping.spec import Settings, Sweep
from esdseg.training.fit import measure_pace


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
    pace = measure_pace(config)
    epochs = _mean_epochs(sweep, config.trainer.max_epochs) if pace.has_epochs else 1.0
    return Estimate(pace.step_seconds, pace.steps, epochs, pace.seconds(epochs))


def _mean_epochs(sweep: Sweep, fixed: int) -> float:
    if "trainer.max_epochs" not in sweep.parameters:
        return float(fixed)
    values = examples(sweep.parameters["trainer.max_epochs"])
    return statistics.fmean(float(str(value)) for value in values)
