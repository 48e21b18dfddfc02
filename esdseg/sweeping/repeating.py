"""Training the best configuration again with other seeds, as a search over seeds."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from esdseg.sweeping.record import ENDED, TrialRecord, best_record, scored
from esdseg.sweeping.space import Integers
from esdseg.sweeping.spec import Metric, Sweep

SEED = "trainer.seed"
MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Repeats:
    """The best configuration, trained again with other seeds.

    Attributes:
        trial: The trial that it is of.
        records: The runs.
        folder: Where they lie.
    """

    trial: int
    records: tuple[TrialRecord, ...]
    folder: Path

    @property
    def values(self) -> tuple[float, ...]:
        """The metric's values of the runs that finished."""
        return tuple(value for _, value in scored(self.records, "finished"))

    @property
    def mean(self) -> float | None:
        """The values' mean."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """The values' standard deviation, of two or more."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def to_json(self) -> dict[str, object]:
        """Return the repeats as plain JSON types."""
        return {
            "trial": self.trial,
            "values": list(self.values),
            "mean": self.mean,
            "standard_deviation": self.spread,
            "runs": [record.to_json() for record in self.records],
            "folder": str(self.folder),
        }


def repeats_of(sweep: Sweep, records: Sequence[TrialRecord], count: int) -> Sweep | None:
    """Return the search that trains the best configuration again, or ``None`` where there is none.

    Args:
        sweep: The search that is over.
        records: Its trials.
        count: How many seeds there are to be; none of them is the one that the best trial had.
    """
    best = best_record(records, sweep.metric)
    if best is None or count == 0:
        return None
    seed = sweep.config_at(best.settings).trainer.seed
    settings = sweep.settings_at(best.settings)
    return Sweep(
        name=f"{sweep.name}-{label_of(best)}",
        method="grid",
        metric=Metric(sweep.metric.name, sweep.metric.goal),
        fixed={name: value for name, value in settings.items() if name != SEED},
        parameters={SEED: Integers(seed + 1, seed + MOST_SEEDS)},
        trials=count,
    )


def label_of(best: TrialRecord) -> str:
    """Return what the folder of a trial's repetitions is called."""
    return f"repeats-of-trial-{best.number:03}"


def is_over(sweep: Sweep, records: Sequence[TrialRecord]) -> bool:
    """Say whether as many trials are over as there are to be."""
    return sweep.trials is not None and sum(record.state in ENDED for record in records) >= sweep.trials
