"""Settings of ``esdseg ablate``."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from esdseg.config.evaluation import EvalConfig
from esdseg.sensors.sensors import SensorName

Level = Literal["sensor", "date", "band"]
"""What is taken away at once: all of a sensor, one of its dates, or one of its bands on all dates."""

LEVELS: tuple[Level, ...] = ("sensor", "date", "band")


class AblationConfig(EvalConfig):
    """Which checkpoint to take channels from, on which tiles it is scored, and what is taken away."""

    by: Annotated[tuple[Level, ...], Field(min_length=1)] | None = None
    """What is taken away at once; all three unless given, and for ``retrain`` sensors alone."""
    sensors: Annotated[tuple[SensorName, ...], Field(min_length=1)] | None = None
    """The sensors that something is taken away from; all that the checkpoint has unless given."""
    retrain: bool = False
    """Also train again without each group, with the checkpoint's own settings."""

    @model_validator(mode="after")
    def _is_one_network(self) -> Self:
        if len(self.checkpoints) > 1 or self.ensemble is not None or self.calibrate is not None:
            raise ValueError(
                "channels are taken away from one network with its own temperature; name one checkpoint, "
                "without ensemble and calibrate"
            )
        if self.dask is not None:
            raise ValueError("an ablation predicts on this machine alone; leave dask out")
        return self
