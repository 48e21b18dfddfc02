"""Evaluated runs: finding and reading their ``metrics.json``, and seeing that they can be compared."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from esdseg.errors import InputDataError, UsageError
from esdseg.metrics.arrays import IntArray
from esdseg.scoring.result_folder import METRICS_NAME, find_folder
from esdseg.sensors.classes import NUM_CLASSES

MAX_CELLS = 2**31
"""Of one class in one tile, above any real one, so that sums stay exact."""

Row = Annotated[
    tuple[Annotated[int, Field(ge=0, le=MAX_CELLS)], ...],
    Field(min_length=NUM_CLASSES, max_length=NUM_CLASSES),
]


class _Part(BaseModel):
    """What a comparison needs of a ``metrics.json``; there is more in it."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Tile(_Part):
    confusion_matrix: Annotated[tuple[Row, ...], Field(min_length=NUM_CLASSES, max_length=NUM_CLASSES)]


class _Data(_Part):
    manifest_hash: str


class _Metrics(_Part):
    model: str
    checkpoint: str
    split: str
    tiles: Annotated[tuple[str, ...], Field(min_length=1)]
    confusion_matrix: tuple[Row, ...]
    tiles_detail: dict[str, _Tile]
    data: _Data
    intervals: dict[str, tuple[float, float] | None]
    model_parameters: int | None = None
    seconds_per_tile: float | None = None


@dataclass(frozen=True)
class ScoredRun:
    """An evaluated run.

    Attributes:
        label: What to call it: the name of its folder, or the path as given where two are called alike.
        folder: Folder of its predictions.
        metrics: Content of ``metrics.json``.
        tiles: Its tiles.
        confusions: Counts of each tile, shape (tiles, 4, 4).
        manifest_hash: Of the store that holds the truth.
        intervals: 95 % intervals of the headline scores, where there are any.
        parameters: Numbers that the model learned, where the file says so.
        seconds_per_tile: Time to predict a tile, where the file says so.
    """

    label: str
    folder: Path
    metrics: dict[str, JsonValue]
    tiles: tuple[str, ...]
    confusions: IntArray
    manifest_hash: str
    intervals: dict[str, tuple[float, float] | None]
    parameters: int | None
    seconds_per_tile: float | None

    @property
    def path(self) -> Path:
        """The file that the scores come from."""
        return self.folder / METRICS_NAME


def open_scored_runs(names: Sequence[str], predictions_dir: Path) -> tuple[ScoredRun, ...]:
    """Read the scores of several runs.

    Args:
        names: Folders of predictions, or names of such folders in ``predictions_dir``; a run's predictions
            lie in the folder of its name unless it was given another.
        predictions_dir: Folder of all results.

    Raises:
        UsageError: They are fewer than two, or one is named twice.
        InputDataError: A run has no ``metrics.json``, or a damaged one.
    """
    if len(names) < 2:
        raise UsageError("A comparison needs two runs or more: esdseg compare RUN RUN ...")
    folders = [find_folder(name, predictions_dir) for name in names]
    places = [folder.resolve() for folder in folders]
    for position, place in enumerate(places):
        if place in places[:position]:
            first = names[places.index(place)]
            raise UsageError(f"{first!r} and {names[position]!r} are the same run, {place}; name it once.")
    short = [place.name for place in places]
    return tuple(
        read_scored_run(folder, name if short.count(place.name) > 1 else place.name)
        for name, folder, place in zip(names, folders, places, strict=True)
    )


def read_scored_run(folder: Path, label: str) -> ScoredRun:
    """Read a run's ``metrics.json``.

    Raises:
        InputDataError: It cannot be read, is no such file, or its tiles do not add up to its total.
    """
    path = folder / METRICS_NAME
    mend = f"make it anew with `esdseg evaluate`, which writes {folder}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_finite, parse_float=_finite)
        metrics = _Metrics.model_validate(content)
    except (OSError, ValueError, RecursionError) as error:
        raise InputDataError(f"{path} {_describe_damage(error)}; {mend}.") from None
    missing = next((tile for tile in metrics.tiles if tile not in metrics.tiles_detail), None)
    if missing is not None:
        raise InputDataError(f"{path} is damaged: it has no counts of tile {missing!r}; {mend}.")
    confusions = np.array([metrics.tiles_detail[tile].confusion_matrix for tile in metrics.tiles])
    if confusions.sum(axis=0).tolist() != [list(row) for row in metrics.confusion_matrix]:
        raise InputDataError(f"{path} is damaged: its tiles do not add up to its confusion matrix; {mend}.")
    return ScoredRun(
        label=label,
        folder=folder,
        metrics=content,
        tiles=metrics.tiles,
        confusions=confusions,
        manifest_hash=metrics.data.manifest_hash,
        intervals=metrics.intervals,
        parameters=metrics.model_parameters,
        seconds_per_tile=metrics.seconds_per_tile,
    )


def check_comparable(runs: Sequence[ScoredRun]) -> None:
    """Refuse runs that were not scored on the same cells.

    Raises:
        InputDataError: They differ in their tiles, in the true classes of a tile, or in their store.
    """
    first = runs[0]
    for other in runs[1:]:
        _check_tiles(first, other)
        _check_truths(first, other)
        if other.manifest_hash != first.manifest_hash:
            raise InputDataError(
                f"{first.label} and {other.label} were scored on different stores or versions of a store "
                f"(manifest {first.manifest_hash[:12]} and {other.manifest_hash[:12]}), so nothing says that "
                f"their truths are the same; {_RESCORE}."
            )


_RESCORE = "score them on the same store and split with `esdseg evaluate --processed-dir DIR --split SPLIT`"


def _check_tiles(first: ScoredRun, other: ScoredRun) -> None:
    mine, theirs = set(first.tiles), set(other.tiles)
    if mine == theirs:
        return
    parts = [
        f"{run.label} alone has {_shorten(sorted(own))}"
        for run, own in ((first, mine - theirs), (other, theirs - mine))
        if own
    ]
    raise InputDataError(
        f"{first.label} and {other.label} were scored on different tiles: {'; '.join(parts)}; {_RESCORE}."
    )


def _check_truths(first: ScoredRun, other: ScoredRun) -> None:
    mine, theirs = first.confusions.sum(axis=-1), aligned(other, first.tiles).sum(axis=-1)
    for tile, my_cells, their_cells in zip(first.tiles, mine.tolist(), theirs.tolist(), strict=True):
        if my_cells != their_cells:
            raise InputDataError(
                f"{first.label} and {other.label} were scored against different truths: the cells of classes "
                f"1 to 4 of tile {tile} are {_listed(my_cells)} and {_listed(their_cells)}; {_RESCORE}."
            )


def aligned(run: ScoredRun, tiles: Sequence[str]) -> IntArray:
    """Return a run's counts of the named tiles in their order, shape (tiles, 4, 4)."""
    position = {tile: index for index, tile in enumerate(run.tiles)}
    counts: IntArray = run.confusions[[position[tile] for tile in tiles]]
    return counts


def _describe_damage(error: Exception) -> str:
    match error:
        case ValidationError():
            details = error.errors()[0]
            place = ".".join(map(str, details["loc"])) or "its start"
            return f"is not a {METRICS_NAME} of esdseg, at '{place}': {details['msg']}"
        case OSError():
            return f"cannot be read: {error.strerror}"
        case _:
            return f"is no JSON: {error}"


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no score")
    return number


def _listed(counts: Sequence[int]) -> str:
    return ", ".join(map(str, counts))


def _shorten(names: Sequence[str], shown: int = 5) -> str:
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")
