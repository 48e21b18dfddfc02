"""What stored tiles hold that their user should know: empty rasters, unknown labels, copies."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from esdseg.preprocessing.survey import Survey
from esdseg.preprocessing.usable_tiles import shorten
from esdseg.sensors.channels import Channel
from esdseg.sensors.sensors import RasterName
from esdseg.store.manifest import TileEntry
from esdseg.tiles.discovery import RawTile


def content_warnings(found: Survey, entries: Mapping[str, TileEntry]) -> Iterator[str]:
    """Yield one sentence for each kind of finding.

    Args:
        found: The raw tiles.
        entries: What is stored of each.
    """
    empty, constant, unlabelled = [], [], []
    for tile in found.tiles:
        entry = entries[tile.name]
        summaries = entry.summaries
        for channel, count, low, high in zip(
            found.channels, summaries.count, summaries.minimum, summaries.maximum, strict=True
        ):
            path = _raster_of(tile, channel)
            if path is None:
                continue
            if count == 0:
                empty.append(f"{tile.name}/{path.name}")
            # A few native cells of night light may well be equally dark; no other sensor sees but one value.
            elif low == high and channel.sensor != "viirs":
                constant.append(f"{tile.name}/{path.name}")
        if tile.ground_truth is not None and entry.unknown_cells:
            unlabelled.append(f"{tile.name} ({entry.unknown_cells})")
    if empty:
        yield f"No pixel holds a measurement, stored as no data: {shorten(empty, ', ')}."
    if constant:
        yield f"All pixels hold the same value: {shorten(constant, ', ')}."
    if unlabelled:
        yield f"Label cells of code 0, which are neither trained on nor scored: {shorten(unlabelled, ', ')}."
    copies = list(_copies(found, entries))
    if copies:
        yield (
            f"Their values are the same, so one is a copy: {shorten(copies, ', ')}. Remove one of each; a "
            "split could put one to training and the other to validation."
        )


def _raster_of(tile: RawTile, channel: Channel) -> Path | None:
    """Return the file that a channel is read from; ``None`` for projections and for what the tile lacks."""
    if channel.acquired is None:
        return None
    return tile.rasters.get(RasterName(channel.sensor, channel.acquired, channel.band))


def _copies(found: Survey, entries: Mapping[str, TileEntry]) -> Iterator[str]:
    """Yield pairs of tiles with the same moments in every channel that measures more than dark nights."""
    measured = [index for index, channel in enumerate(found.channels) if channel.sensor != "viirs"]
    first_with: dict[tuple[object, ...], str] = {}
    for tile in found.tiles:
        summaries = entries[tile.name].summaries
        moments = tuple((summaries.mean[index], summaries.m2[index]) for index in measured)
        if any(m2 for _, m2 in moments):
            original = first_with.setdefault(moments, tile.name)
            if original != tile.name:
                yield f"{tile.name} and {original}"
