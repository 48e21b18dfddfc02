"""The map of an area in memory: put together from the maps of its blocks, with the dates that were used."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from esdseg.mapping.blocks import BlockMap, FloatArray
from esdseg.mapping.lattice import Cells
from esdseg.metrics.score_table import TextTable
from esdseg.prediction.calibration import temper
from esdseg.prediction.channel_share import leave_out_unseen
from esdseg.report.satellite import stretch
from esdseg.sensors.classes import CELL_SIZE_PX, NUM_CLASSES, UNKNOWN_LABEL
from esdseg.tiles.area import CellGrid


@dataclass(frozen=True)
class AreaMap:
    """The map of an area.

    Attributes:
        grid: The cells, R rows and C columns.
        probabilities: Of the four classes in each cell, (4, R, C) float32; NaN in cells without data.
        channel_share: Share of the network's channels that each cell has, (R, C) float32, 0 to 1.
        light: Brightest clean night light of each cell in the sensor's numbers, (R, C) float32; NaN where
            there is none, and everywhere if the recipe scales each tile by itself.
        picture: The ground in true colours, (R * p, C * p, 3) uint8 with p pixels a cell; 0 where nothing was
            seen.
        dates: The dates that were used, by sensor.
    """

    grid: CellGrid
    probabilities: npt.NDArray[np.float32]
    channel_share: npt.NDArray[np.float32]
    light: npt.NDArray[np.float32]
    picture: npt.NDArray[np.uint8]
    dates: dict[str, tuple[date, ...]]

    @property
    def is_mapped(self) -> npt.NDArray[np.bool_]:
        """Which cells have data, (R, C)."""
        mapped: npt.NDArray[np.bool_] = np.all(np.isfinite(self.probabilities), axis=0)
        return mapped

    @property
    def classes(self) -> npt.NDArray[np.uint8]:
        """The most probable class of each cell, (R, C) uint8, 0 to 3; 255 without data."""
        best = np.where(self.is_mapped, self.probabilities, 0.0).argmax(axis=0)
        return np.where(self.is_mapped, best, UNKNOWN_LABEL).astype(np.uint8)


MOST_PICTURE_PX = 2000
"""Longest side of the picture of an area."""


@dataclass(frozen=True)
class DatesUsed:
    """The dates of one sensor that filled places of the networks.

    Attributes:
        sensor: The sensor.
        blocks: In how many blocks each date was used, in the order of the dates.
        seen: Blocks in which anything was measured, by any sensor.
        lacking: Of these, the blocks in which a place stayed empty.
    """

    sensor: str
    blocks: dict[date, int]
    seen: int
    lacking: int

    def to_json(self) -> dict[str, JsonValue]:
        """Return all as plain values."""
        return {
            "dates": {str(day): count for day, count in self.blocks.items()},
            "blocks": self.seen,
            "blocks_lacking_dates": self.lacking,
        }


def choose_picture_px(grid: CellGrid) -> int:
    """Return how many pixels of the picture a cell's side gets: as many as keep the picture small."""
    longest = max(grid.rows, grid.columns)
    divisors = (px for px in range(CELL_SIZE_PX, 0, -1) if CELL_SIZE_PX % px == 0)
    return next((px for px in divisors if px * longest <= MOST_PICTURE_PX), 1)


def assemble(
    grid: CellGrid, blocks: Iterable[BlockMap], picture_px: int, temperature: float | None = None
) -> tuple[AreaMap, tuple[DatesUsed, ...]]:
    """Blend the windows of all blocks.

    Each checkpoint's mean over its windows comes first, then the mean of the checkpoints. The order of the
    blocks moves nothing beyond the rounding of sums, and is best always the same.

    Args:
        grid: The cells of the area.
        blocks: The blocks, at least one; read one after the other.
        picture_px: Pixels of the picture along a cell's side.
        temperature: What the logarithms of the mean are divided by, if anything.

    Returns:
        The map, and the dates that were used, by sensor.
    """
    area, shape = Cells.of(grid), (grid.rows, grid.columns)
    sums: tuple[FloatArray, FloatArray] | None = None
    channel_share, light = np.zeros(shape, np.float32), np.full(shape, np.nan, np.float32)
    colors = np.full((3, grid.rows * picture_px, grid.columns * picture_px), np.nan, np.float16)
    used: dict[str, Counter[date]] = {}
    seen, lacking = 0, Counter[str]()
    for block in blocks:
        if sums is None:
            networks = len(block.totals)
            totals = np.zeros((networks, NUM_CLASSES, *shape), np.float32)
            sums = totals, np.zeros((networks, *shape), np.float32)
        totals, weights = sums
        held = block.extent.overlap(area)
        assert held is not None
        totals[:, :, *held.within(area)] += block.totals[:, :, *held.within(block.extent)]
        weights[:, *held.within(area)] += block.weights[:, *held.within(block.extent)]
        channel_share[block.core.within(area)] = block.channel_share
        light[block.core.within(area)] = block.light
        colors[:, *block.core.within(area, picture_px)] = block.picture
        # Of a block without cells to map, windows that reach into its neighbours may have dates.
        places = block.places if block.channel_share.any() else {}
        seen += bool(places)
        for sensor, days in places.items():
            used.setdefault(sensor, Counter()).update(day for day in days if day is not None)
            lacking[sensor] += None in days or not days
    assert sums is not None
    totals, weights = sums
    with np.errstate(invalid="ignore"):
        mean = (totals / weights[:, np.newaxis]).mean(axis=0)
    if temperature is not None:
        mean = temper(mean, temperature)
    probabilities = leave_out_unseen(mean, channel_share).astype(np.float32)
    dates = tuple(
        DatesUsed(sensor, {day: counts[day] for day in sorted(counts)}, seen, lacking[sensor])
        for sensor, counts in used.items()
    )
    days_used = {sensor.sensor: tuple(sensor.blocks) for sensor in dates}
    return AreaMap(grid, probabilities, channel_share, light, _true_color(colors), days_used), dates


def dates_table(dates: Iterable[DatesUsed]) -> TextTable:
    """Return a row for each sensor and date, with the share of the blocks in which it was used."""
    rows = tuple(
        (sensor.sensor, str(day), f"{blocks} of {sensor.seen}")
        for sensor in dates
        for day, blocks in sensor.blocks.items()
    )
    return TextTable("Dates that fill the network's places", ("sensor", "date", "squares of 8 km"), rows)


def dates_notes(dates: Iterable[DatesUsed]) -> tuple[str, ...]:
    """Return which places stayed empty: a sentence for all sensors that lack dates in as many squares."""
    sensors: dict[tuple[int, int], list[str]] = {}
    for used in dates:
        if used.lacking:
            sensors.setdefault((used.lacking, used.seen), []).append(used.sensor)
    return tuple(
        f"{lacking} of {seen} squares of 8 km lack dates of {', '.join(names)} that the network takes. What "
        "is missing is no data, which the network sees as the mean of its training tiles."
        for (lacking, seen), names in sensors.items()
    )


def _true_color(colors: npt.NDArray[np.float16]) -> npt.NDArray[np.uint8]:
    """Return colours (height, width, 3), 0 where nothing was seen."""
    unseen = np.isnan(colors).any(axis=0)
    picture = np.zeros((*unseen.shape, 3), np.uint8)
    if not unseen.all():
        picture = stretch(colors)
        picture[unseen] = 0
    return picture
