"""What a tile is known by: digests of what it holds. Two tiles may share a name, and one may have two."""

import hashlib
from collections.abc import Collection

import numpy as np

from esdseg.sensors.acquisitions import Acquisition
from esdseg.sensors.classes import NUM_CLASSES, UNKNOWN_LABEL
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


def is_same_tile(first: Collection[str], second: Collection[str]) -> bool | None:
    """Return whether two tiles are the same, by the digests of their channels.

    They are where half of the channels of the tile that has fewer are in the other. So a tile is known again
    where dates or bands were left out, and is no other one because a single raster was copied from there.

    Returns:
        ``None`` where the digests of either are unknown.
    """
    if not first or not second:
        return None
    return 2 * len(set(first).intersection(second)) >= min(len(first), len(second))


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
