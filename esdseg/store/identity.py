"""What a tile is known by: what it holds, where it lies, and its labels, never its name alone.

A place on other dates is the same tile, since a network that was trained on it has seen its labels.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from math import asin, cos, radians, sin, sqrt

import numpy as np

from esdseg.config.section import Section
from esdseg.sensors.acquisitions import Acquisition
from esdseg.sensors.classes import NUM_CLASSES, PIXEL_SIZE_M, TILE_SIZE_PX, UNKNOWN_LABEL
from esdseg.store.folds import tile_centres
from esdseg.store.manifest import SourceFingerprint, SplitName, TileEntry
from esdseg.store.statistics import IS_FINITE, CodeCounts
from esdseg.store.tile_store import LabelArray, TileArrays
from esdseg.tiles.reading import Georeference

MIN_VALUES = 16
"""Different values that a channel must hold to tell tiles apart. One that is empty, constant or nearly so,
such as a dark night, may be the same in many tiles."""

DIGEST_BYTES = 6
"""Length of a channel's digest. Among a million channels, two of different values share one with a
probability of 0.2 %."""

MIN_MINORITY_CELLS = 12
"""Cells of other classes than the most frequent one that a label grid must hold to tell tiles apart. A grid
of one class, or with a single hamlet, may be the same in many tiles."""

SAME_PLACE_M = TILE_SIZE_PX * PIXEL_SIZE_M / 2
"""Tiles whose middles lie nearer to each other are the same place: they share about half of their ground."""

EARTH_RADIUS_M = 6_371_000.0


class TilePlace(Section):
    """What a tile is known by on any date.

    Attributes:
        label_digest: Digest of the label grid; ``None`` where no cell is known.
        minority_cells: Known label cells of other classes than the most frequent one.
        centre: Longitude and latitude of the tile's middle (WGS 84, degrees); ``None`` where its rasters do
            not say where they lie.
    """

    label_digest: str | None = None
    minority_cells: int = 0
    centre: tuple[float, float] | None = None


@dataclass(frozen=True)
class TileIdentity:
    """What a tile is known by.

    Attributes:
        content: Digests of its channels' values; none where they are unknown.
        place: What it is known by on other dates.
    """

    content: tuple[str, ...]
    place: TilePlace

    @classmethod
    def of(cls, entry: TileEntry) -> "TileIdentity":
        """Return what a stored tile is known by."""
        return cls(entry.content, place_of(entry))


def place_of(entry: TileEntry) -> TilePlace:
    """Return what a stored tile is known by on any date."""
    known = sum(entry.class_counts)
    return TilePlace(
        label_digest=entry.label_digest if known else None,
        minority_cells=known - max(entry.class_counts),
        centre=_centre(entry.georeference) if entry.georeference is not None else None,
    )


@cache
def _centre(georeference: Georeference) -> tuple[float, float] | None:
    return tile_centres({"": georeference}).get("")


def digest_channels(code_counts: CodeCounts) -> tuple[str, ...]:
    """Return a digest of the values of each channel that tells tiles apart, in the order of the channels.

    A digest says which values a channel holds and how often, not where. So a tile that was mirrored or turned
    keeps its digests.

    Args:
        code_counts: Counts (C, 65536) of the half-precision codes of each channel.

    Returns:
        At most C hexadecimal digests; fewer where channels hold less than :data:`MIN_VALUES` values.
    """
    digests = []
    for counts in code_counts:
        codes = np.flatnonzero(counts * IS_FINITE)
        if len(codes) >= MIN_VALUES:
            content = codes.astype("<u2").tobytes() + counts[codes].astype("<u4").tobytes()
            digests.append(hashlib.blake2b(content, digest_size=DIGEST_BYTES).hexdigest())
    return tuple(digests)


def digest_labels(label: LabelArray) -> str:
    """Return a digest of a label grid (16, 16), which depends on where each class lies."""
    return hashlib.blake2b(label.astype(np.uint8).tobytes(), digest_size=DIGEST_BYTES).hexdigest()


def is_same_tile(first: TileIdentity, second: TileIdentity) -> bool | None:
    """Return whether two tiles are the same: by their values, else by where they lie, else by their labels.

    Returns:
        ``None`` where nothing tells: the values of either are unknown, or differ while the labels, which
        may be of other dates of one place, agree and are too plain to tell.
    """
    holds_same = _hold_same_values(first.content, second.content)
    here, there = first.place, second.place
    if holds_same:
        return True
    if here.centre is not None and there.centre is not None:
        return _distance_m(here.centre, there.centre) < SAME_PLACE_M
    if here.label_digest is not None and here.label_digest == there.label_digest:
        return True if here.minority_cells >= MIN_MINORITY_CELLS else None
    return holds_same


def _hold_same_values(first: Collection[str], second: Collection[str]) -> bool | None:
    """Return whether half of the channels of the tile that has fewer are in the other, by their digests.

    So a tile is known again where dates or bands were left out, and is no other one because a single raster
    was copied from there.

    Returns:
        ``None`` where the digests of either are unknown.
    """
    if not first or not second:
        return None
    return 2 * len(set(first).intersection(second)) >= min(len(first), len(second))


def _distance_m(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Return the distance between two points (longitude, latitude in degrees) on a sphere: the haversine."""
    (east, north), (other_east, other_north) = ((radians(x), radians(y)) for x, y in (first, second))
    half_chord = sqrt(
        sin((north - other_north) / 2) ** 2
        + cos(north) * cos(other_north) * sin((east - other_east) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_M * asin(min(1.0, half_chord))


def describe_tile(
    arrays: TileArrays,
    split: SplitName,
    source: SourceFingerprint,
    georeference: Georeference | None,
    acquisitions: tuple[Acquisition, ...],
) -> TileEntry:
    """Return the manifest's entry of a tile, given its arrays."""
    cells = np.bincount(arrays.label.ravel(), minlength=UNKNOWN_LABEL + 1)
    return TileEntry(
        split=split,
        source=source,
        content=digest_channels(arrays.code_counts),
        label_digest=digest_labels(arrays.label),
        class_counts=tuple(cells[:NUM_CLASSES].tolist()),
        unknown_cells=int(cells[UNKNOWN_LABEL]),
        georeference=georeference,
        acquisitions=acquisitions,
    )
