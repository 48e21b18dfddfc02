"""What ``ablate`` returns: a row for each group of channels that was taken away."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from esdseg.ablation.removals import Removal
from esdseg.ablation.scoring import Scores
from esdseg.metrics.scorecard import Difference
from esdseg.sensors.sensors import SensorName

How = Literal["inference", "retrained"]
"""Taken away from a finished network, or from the training."""

DECIDING_SCORE = "contest_f1"
"""The score that rows are sorted by and that words speak of."""


@dataclass(frozen=True)
class Row:
    """What taking a group of channels away does.

    Attributes:
        removal: The group.
        how: When it was taken away.
        removed: Names of the channels that are gone.
        remaining: How many are left.
        scores: Of what is left.
        differences: Its scores less those of the whole, on the same tiles.
        seconds_per_tile: Time of the network's pass alone.
        parameters: Numbers that the network learned.
        checkpoint: The checkpoint, or the pattern of the folds' paths, where it was trained again.
    """

    removal: Removal
    how: How
    removed: tuple[str, ...]
    remaining: int
    scores: Scores
    differences: dict[str, Difference]
    seconds_per_tile: float
    parameters: int
    checkpoint: Path | None = None

    @property
    def deciding(self) -> Difference:
        """The difference that rows are sorted by."""
        return self.differences[DECIDING_SCORE]

    def to_json(self) -> dict[str, JsonValue]:
        """Return the row as plain JSON types."""
        removal = self.removal
        return {
            "label": removal.label,
            "kind": removal.kind,
            "how": self.how,
            "sensor": removal.sensor,
            "date": str(removal.acquired) if removal.acquired else None,
            "band": removal.band,
            "removed_channels": list(self.removed),
            "remaining_channels": self.remaining,
            **scores_to_json(self.scores),
            "differences": {name: one.model_dump(mode="json") for name, one in self.differences.items()},
            "seconds_per_tile": self.seconds_per_tile,
            "parameters": self.parameters,
            "checkpoint": str(self.checkpoint) if self.checkpoint else None,
        }


@dataclass(frozen=True)
class Whole:
    """The network with all its channels.

    Attributes:
        scores: Its scores.
        channels: How many channels it takes.
        seconds_per_tile: Time of its pass alone.
        parameters: Numbers that it learned.
    """

    scores: Scores
    channels: int
    seconds_per_tile: float
    parameters: int

    def to_json(self) -> dict[str, JsonValue]:
        """Return it as plain JSON types."""
        return {
            **scores_to_json(self.scores),
            "channels": self.channels,
            "seconds_per_tile": self.seconds_per_tile,
            "parameters": self.parameters,
        }


@dataclass(frozen=True)
class Ablation:
    """What all groups of channels of a checkpoint are worth.

    Attributes:
        facts: What was scored on what, as plain JSON types.
        whole: The network with all channels.
        rows: What was taken away, in the order in which it is shown.
        summary: What the rows show, in a sentence or two.
        notes: What to keep in mind.
        output_dir: Folder of the results.
        json_path: ``ablation.json``.
        picture: ``ablation.png``.
    """

    facts: dict[str, JsonValue]
    whole: Whole
    rows: tuple[Row, ...]
    summary: str
    notes: tuple[str, ...]
    output_dir: Path
    json_path: Path
    picture: Path

    def to_json(self) -> dict[str, JsonValue]:
        """Return all as plain JSON types: the content of ``ablation.json``."""
        return {
            **self.facts,
            "whole": self.whole.to_json(),
            "rows": [row.to_json() for row in self.rows],
            "summary": self.summary,
            "notes": list(self.notes),
            "output_dir": str(self.output_dir),
            "picture": str(self.picture),
        }


def scores_to_json(scores: Scores) -> dict[str, JsonValue]:
    """Return scores and intervals as plain JSON types."""
    return {
        "scores": dict(scores.values),
        "intervals": {name: list(one) if one else None for name, one in scores.intervals.items()},
    }


_KINDS = ("sensor", "alone", "date", "band")


def in_order(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Sort rows: sensors, sensors alone, dates, bands; sensors by what they are worth, then their parts.

    What was trained again stands below what was taken away at inference.
    """
    worth: dict[SensorName, float] = {
        row.removal.sensor: _loss(row)
        for row in rows
        if row.removal.kind == "sensor" and row.how == "inference"
    }
    at_inference = {row.removal: _loss(row) for row in rows if row.how == "inference"}

    def key(row: Row) -> tuple[int, float, str, float, str, bool]:
        removal = row.removal
        return (
            _KINDS.index(removal.kind),
            worth.get(removal.sensor, 0.0),
            removal.sensor,
            at_inference.get(removal, _loss(row)),
            removal.label,
            row.how == "retrained",
        )

    return tuple(sorted(rows, key=key))


def _loss(row: Row) -> float:
    return row.deciding.value if row.deciding.value is not None else 0.0
