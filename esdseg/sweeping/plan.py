"""What a sweep would do: how many trainings there are, and how long they take."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from esdseg.config.training import ESDConfig
from esdseg.errors import ESDSegError
from esdseg.sweeping.search_space import LISTABLE, Sweep
from esdseg.system.processes import ItemListener, ignore
from esdseg.training.estimate import Pace
from esdseg.training.fit import measure_pace

USUAL_EXAMPLES = 100
"""Random trainings whose epochs are counted where the sweep has no end."""


@dataclass(frozen=True)
class SweepPlan:
    """A sweep before it is begun.

    Attributes:
        trials: How many trials there will be; ``None`` for a search without an end.
        trainings: How many different trainings there are to choose from; ``None`` where they are too many to
            be counted.
        paces: How fast each model trains.
        trial_seconds: The mean time of a trial that is not stopped early; ``None`` where it is not known.
        fault: Why it is not.
    """

    trials: int | None
    trainings: int | None
    paces: Mapping[str, Pace]
    trial_seconds: float | None
    fault: str | None = None

    def seconds(self, workers: int) -> float | None:
        """Return how long all trials take where processes side by side do not slow each other down."""
        if self.trial_seconds is None or self.trials is None:
            return None
        return self.trial_seconds * self.trials / max(1, min(workers, self.trials))


def plan_sweep(sweep: Sweep, checkpoints_dir: Path, on_model: ItemListener = ignore) -> SweepPlan:
    """Count a sweep's trainings and estimate their time.

    A few steps of each model are trained in a folder that is thrown away; a model without steps is fitted
    to a few tiles. The epochs are those of the trainings that will be run, or of random ones where a search
    chooses by its results.

    Args:
        sweep: The sweep.
        checkpoints_dir: Folder in which runs that its settings name are looked up.
        on_model: Called before each model is measured, which takes some seconds.
    """
    trainings = sweep.count_trainings()
    counts = [count for count in (sweep.trials, trainings) if count is not None]
    trials = min(counts, default=sweep.size() if sweep.method == "grid" else None)
    configs: dict[str, list[ESDConfig]] = {}
    for training in islice(sweep.trainings(), min(trials or USUAL_EXAMPLES, LISTABLE)):
        if training.config is not None:
            configs.setdefault(training.config.model.name, []).append(training.config)
    paces: dict[str, Pace] = {}
    try:
        for number, (model, tried) in enumerate(configs.items(), start=1):
            on_model(model, number, len(configs))
            paces[model] = measure_pace(tried[len(tried) // 2], checkpoints_dir)
    except ESDSegError as error:
        return SweepPlan(trials, trainings, {}, None, str(error))
    seconds = [
        paces[model].seconds(config.max_epochs) for model, tried in configs.items() for config in tried
    ]
    return SweepPlan(trials, trainings, paces, statistics.fmean(seconds) if seconds else None)
