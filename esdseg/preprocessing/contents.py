"""What the values of stored tiles tell their user: empty rasters, constant ones, unknown labels, copies."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from esdseg.preprocessing.survey import Survey, shorten
from esdseg.sensors.channels import Channel
from esdseg.sensors.sensors import RasterName
from esdseg.store.manifest import TileEntry
from esdseg.store.statistics import IS_FINITE, CodeCounts


@dataclass(frozen=True)
class TileContents:
    """A digest of the values of one tile.

    Attributes:
        num_values: Number of different values in each channel (C,).
        digest: Hash of the counts of all values but those of night light, which may be equally dark in two
            tiles; ``None`` where no other channel has more than one value.
    """

    num_values: tuple[int, ...]
    digest: str | None

    @classmethod
    def of(cls, code_counts: CodeCounts, channels: tuple[Channel, ...]) -> "TileContents":
        """Summarise a tile from the counts (C, 65536) of its channels' half-precision codes."""
        num_values = tuple(int(np.count_nonzero(counts[IS_FINITE])) for counts in code_counts)
        measured = [
            position for position, channel in enumerate(channels) if channel.sensor.kind != "night_light"
        ]
        if all(num_values[position] < 2 for position in measured):
            return cls(num_values, None)
        digest = hashlib.sha256()
        for position in measured:
            digest.update(code_counts[position].astype(np.uint32, copy=False).tobytes())
        return cls(num_values, digest.hexdigest())


def content_warnings(
    survey: Survey, entries: Mapping[str, TileEntry], contents: Mapping[str, TileContents]
) -> Iterator[str]:
    """Yield one sentence for each kind of finding.

    Args:
        survey: The raw tiles.
        entries: The manifest's entry of each tile.
        contents: What each stored tile holds.
    """
    empty, constant, unlabelled = [], [], []
    for tile in survey.tiles:
        for channel, num_values in zip(survey.channels, contents[tile.name].num_values, strict=True):
            if channel.acquired is None:
                continue
            path = tile.rasters.get(RasterName(channel.sensor.name, channel.acquired, channel.band))
            if path is None:
                continue
            if num_values == 0:
                empty.append(f"{tile.name}/{path.name}")
            # A few native cells of night light may well be equally dark; no other sensor sees but one value.
            elif num_values == 1 and channel.sensor.kind != "night_light":
                constant.append(f"{tile.name}/{path.name}")
        unknown_cells = entries[tile.name].unknown_cells
        if tile.ground_truth is not None and unknown_cells:
            unlabelled.append(f"{tile.name} ({unknown_cells})")
    if empty:
        yield f"No pixel holds a measurement, stored as no data: {shorten(empty, ', ')}."
    if constant:
        yield f"All pixels hold the same value: {shorten(constant, ', ')}."
    if unlabelled:
        yield f"Label cells of code 0, which are neither trained on nor scored: {shorten(unlabelled, ', ')}."
    copies = list(_copies(survey, contents))
    if copies:
        yield (
            f"Their values are the same, so one is a copy: {shorten(copies, ', ')}. Remove one of each; a "
            "split could put one to training and the other to validation."
        )


def _copies(survey: Survey, contents: Mapping[str, TileContents]) -> Iterator[str]:
    """Yield pairs of tiles whose channels hold the same values equally often."""
    first_with: dict[str, str] = {}
    for tile in survey.tiles:
        digest = contents[tile.name].digest
        if digest is not None:
            original = first_with.setdefault(digest, tile.name)
            if original != tile.name:
                yield f"{tile.name} and {original}"
