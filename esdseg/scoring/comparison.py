"""What ``compare`` returns: runs side by side, as tables and as JSON."""

from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import JsonValue

from esdseg.scoring.paired import Difference
from esdseg.scoring.score_table import SCORE_TITLES, TextTable, show, show_interval
from esdseg.sensors.classes import CLASSES

MISSING = "–"


@dataclass(frozen=True)
class ComparedRun:
    """A run in a comparison.

    Attributes:
        label: What it is called.
        folder: Folder of its predictions.
        model: Its network.
        checkpoint: The checkpoint that was scored.
        scores: Headline scores by name; ``None`` where undefined.
        intervals: Their 95 % intervals, where there are any.
        class_f1: F1 of each class by its name.
        parameters: Numbers that the model learned, where its scores say so.
        seconds_per_tile: Time to predict a tile, where its scores say so.
        differences: To the first run, by score; ``None`` for the first itself.
    """

    label: str
    folder: Path
    model: str
    checkpoint: str
    scores: dict[str, float | None]
    intervals: dict[str, tuple[float, float] | None]
    class_f1: dict[str, float | None]
    parameters: int | None
    seconds_per_tile: float | None
    differences: dict[str, Difference] | None

    def to_json(self) -> dict[str, JsonValue]:
        """Return the run as plain JSON types."""
        differences: JsonValue = None
        if self.differences is not None:
            differences = {name: one.to_json() for name, one in self.differences.items()}
        return {
            **asdict(self),
            "folder": str(self.folder),
            "intervals": {name: list(one) if one else None for name, one in self.intervals.items()},
            "differences": differences,
        }


@dataclass(frozen=True)
class Comparison:
    """Runs that were scored on the same tiles.

    Attributes:
        runs: The runs; the others are compared with the first.
        tiles: Their tiles.
        split: The split that the tiles are of.
        manifest_hash: Of the store that holds the truth.
        resamples: Resamples of the tiles behind each difference's interval.
        seed: Seed of the resamples.
        notes: What to keep in mind.
        picture: The comparison as a picture.
    """

    runs: tuple[ComparedRun, ...]
    tiles: tuple[str, ...]
    split: str
    manifest_hash: str
    resamples: int
    seed: int
    notes: tuple[str, ...]
    picture: Path

    @property
    def tables(self) -> tuple[TextTable, ...]:
        """The comparison as tables of texts, to print."""
        return self._score_table(), self._class_table(), self._cost_table()

    def to_json(self) -> dict[str, JsonValue]:
        """Return the comparison as plain JSON types."""
        return {
            "reference": self.runs[0].label,
            "runs": [run.to_json() for run in self.runs],
            "tiles": list(self.tiles),
            "split": self.split,
            "manifest_hash": self.manifest_hash,
            "bootstrap": {"unit": "tile", "level": 0.95, "resamples": self.resamples, "seed": self.seed},
            "notes": list(self.notes),
            "picture": str(self.picture),
        }

    def _score_table(self) -> TextTable:
        header = (
            "score",
            "value",
            "95 % interval",
            f"to {self.runs[0].label}",
            "95 % interval",
            "win probability",
        )
        rows: list[tuple[str, ...]] = []
        for name, title in SCORE_TITLES.items():
            rows.append((title, *[""] * (len(header) - 1)))
            rows += [_score_row(run, name) for run in self.runs]
        count = len(self.tiles)
        title = f"{len(self.runs)} runs on the same {count} {self.split} {'tile' if count == 1 else 'tiles'}"
        return TextTable(title, header, tuple(rows))

    def _class_table(self) -> TextTable:
        header = ("run", *(f"{one.code} {one.name}" for one in CLASSES))
        rows = ((run.label, *(show(run.class_f1[one.name]) for one in CLASSES)) for run in self.runs)
        return TextTable("F1 of each class", header, tuple(rows))

    def _cost_table(self) -> TextTable:
        rows = (
            (
                run.label,
                run.model,
                MISSING if run.parameters is None else f"{run.parameters:,}",
                MISSING if run.seconds_per_tile is None else f"{run.seconds_per_tile:.2f} s",
            )
            for run in self.runs
        )
        return TextTable("Size and time", ("run", "model", "parameters", "time a tile"), tuple(rows))


def _score_row(run: ComparedRun, name: str) -> tuple[str, ...]:
    difference = run.differences.get(name) if run.differences else None
    own = (f"  {run.label}", show(run.scores[name]), show_interval(run.intervals[name]))
    if difference is None:
        return *own, "", "", ""
    interval = difference.interval
    return (
        *own,
        show_signed(difference.value),
        f"{show_signed(interval[0])} to {show_signed(interval[1])}" if interval else MISSING,
        MISSING if difference.win_probability is None else f"{difference.win_probability:.3f}",
    )


def show_signed(value: float | None) -> str:
    """Return a difference with its sign and three places, a dash where it is undefined."""
    return MISSING if value is None else f"{value:+.3f}"
