"""What the values of stored tiles tell their user: empty rasters, constant ones, unknown labels, copies."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np

from esdseg.preprocessing.bad_tiles import shorten
from esdseg.preprocessing.survey import Survey
from esdseg.sensors.channels import Layer
from esdseg.sensors.classes import CLASSES
from esdseg.sensors.sensors import RasterName
from esdseg.store.identity import TileIdentity, is_same_tile
from esdseg.store.manifest import TileEntry
from esdseg.store.statistics import CODE_VALUES, IS_FINITE, NO_DATA_CODES, CodeCounts, count_missing
from esdseg.tiles.values import LOWEST_SHARE, changes_offset, suspected_offset


@dataclass(frozen=True)
class TileContents:
    """What the values of one tile tell.

    Attributes:
        num_values: Number of different values in each layer (C,).
        bright_dates: Dates of sensors whose newer products have an offset, if hardly a value lies below it.
        turned: Names of the files whose rows were put in the order of the others, if the tile was just read.
    """

    num_values: tuple[int, ...]
    bright_dates: frozenset[tuple[str, date]]
    turned: tuple[str, ...] = ()

    @classmethod
    def of(cls, code_counts: CodeCounts, layers: tuple[Layer, ...]) -> "TileContents":
        """Summarise a tile from the counts (C, 65536) of its layers' half-precision codes."""
        num_values = tuple(
            int(np.count_nonzero(counts) - np.count_nonzero(counts[NO_DATA_CODES])) for counts in code_counts
        )
        return cls(num_values, _bright_dates(code_counts, layers))


def _bright_dates(code_counts: CodeCounts, layers: tuple[Layer, ...]) -> frozenset[tuple[str, date]]:
    """Return the dates on which hardly a reflectance lies below what the sensor's offset stands for."""
    bright: dict[tuple[str, date], bool] = {}
    for counts, layer in zip(code_counts, layers, strict=True):
        sensor = layer.sensor
        if layer.acquired is None or not changes_offset(sensor):
            continue
        key, measured = (sensor.name, layer.acquired), int(counts.sum()) - count_missing(counts)
        if not measured or not bright.get(key, True):
            continue
        is_dark = IS_FINITE & (sensor.offset / sensor.conversion.scale > CODE_VALUES)
        bright[key] = int(counts[is_dark].sum()) <= LOWEST_SHARE * measured
    return frozenset(key for key, is_bright in bright.items() if is_bright)


def content_warnings(
    survey: Survey, entries: Mapping[str, TileEntry], contents: Mapping[str, TileContents]
) -> Iterator[str]:
    """Yield one sentence for each kind of finding.

    Args:
        survey: The raw tiles.
        entries: The manifest's entry of each tile.
        contents: What each stored tile holds.
    """
    empty, constant, unlabelled, dummies = [], [], [], []
    for tile in survey.tiles:
        for layer, num_values in zip(survey.layers(tile), contents[tile.name].num_values, strict=True):
            if layer.acquired is None:
                continue
            path = tile.rasters.get(RasterName(layer.sensor.name, layer.acquired, layer.band))
            if path is None:
                continue
            if num_values == 0:
                empty.append(f"{tile.name}/{path.name}")
            # A few native cells of night light may well be equally dark; no other sensor sees but one value.
            elif num_values == 1 and layer.sensor.kind != "night_light":
                constant.append(f"{tile.name}/{path.name}")
        unknown_cells = entries[tile.name].unknown_cells
        if tile.ground_truth is not None and unknown_cells:
            unlabelled.append(f"{tile.name} ({unknown_cells})")
        present = [
            label_class.code
            for label_class, cells in zip(CLASSES, entries[tile.name].class_counts, strict=True)
            if cells
        ]
        if len(present) == 1:
            dummies.append(f"{tile.name} (class {present[0]})")
    if empty:
        yield f"No pixel holds a measurement, stored as no data: {shorten(empty, ', ')}."
    if constant:
        yield f"All pixels hold the same value: {shorten(constant, ', ')}."
    if unlabelled:
        yield f"Label cells of code 0, which are neither trained on nor scored: {shorten(unlabelled, ', ')}."
    if dummies:
        yield (
            f"Label grids of one class alone, which are most often dummies: {shorten(dummies, ', ')}. They "
            "are used like the others; move groundTruth.tif elsewhere where its labels shall not be used."
        )
    yield from _suspected_offsets(survey, contents)
    copies = list(_copies(survey, entries))
    if copies:
        yield (
            f"They show the same ground, a copy or other dates: {shorten(copies, ', ')}. Move one of each "
            "elsewhere; a split could put one to training and the other to validation."
        )


def _suspected_offsets(survey: Survey, contents: Mapping[str, TileContents]) -> Iterator[str]:
    """Yield a sentence on dates of older products that look as if an offset was added to their values."""
    if survey.settings.reflectance_offset != "by_date" or survey.settings.recipe.scale_by == "tile":
        return
    found = set().union(*(content.bright_dates for content in contents.values()))
    for sensor in survey.sensors.all:
        suspected = []
        for day in sorted(day for name, day in found if name == sensor.name and not sensor.has_offset(day)):
            holding = [tile.name for tile in survey.tiles if day in tile.dates(sensor.name)]
            if 2 * sum((sensor.name, day) in contents[tile].bright_dates for tile in holding) > len(holding):
                suspected.append(day)
        if suspected:
            yield suspected_offset(sensor, suspected)


def _copies(survey: Survey, entries: Mapping[str, TileEntry]) -> Iterator[str]:
    """Yield pairs of tiles of the same ground, each tile with the first of its like."""
    originals: dict[str, TileIdentity] = {}
    for tile in survey.tiles:
        identity = TileIdentity.of(entries[tile.name])
        original = next((name for name, other in originals.items() if is_same_tile(identity, other)), None)
        if original is None:
            originals[tile.name] = identity
        else:
            yield f"{tile.name} and {original}"
