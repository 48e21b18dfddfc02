"""Which dates of a tile fill the places that a network asks for, and which places stay empty."""

from collections.abc import Mapping, Sequence
from datetime import date

from esdseg.metrics.score_table import TextTable
from esdseg.sensors.acquisitions import Acquisition
from esdseg.sensors.channels import Channel, bands_of, ordered_dates, orders_of, places_of

Places = dict[str, tuple[date | None, ...]]
"""The dates of one tile by sensor, that of place 1 first; ``None`` for a place that the tile lacks."""

NAMED_TILES = 3
"""Tiles that a row names before it says how many more there are."""

MISSING = "none"


def fill_places(channels: Sequence[Channel], acquisitions: Sequence[Acquisition]) -> Places:
    """Return the dates of a tile that fill the places of a network's channels.

    Args:
        channels: The channels, of one order a sensor.
        acquisitions: The tile's acquisitions.

    Returns:
        For a sensor of which the network sees projections over nights alone, all nights of the tile.
    """
    orders, counts = orders_of(channels), places_of(channels)
    places: Places = {}
    for sensor, count in counts.items():
        dates: list[date | None] = list(ordered_dates(acquisitions, sensor, orders[sensor]))
        places[sensor] = tuple((dates + [None] * count)[:count] if count else dates)
    return places


def places_to_json(places: Places) -> dict[str, list[str | None]]:
    """Return places as plain values."""
    return {sensor: [str(day) if day else None for day in dates] for sensor, dates in places.items()}


def places_from_json(stored: Mapping[str, Sequence[str | None]]) -> Places:
    """Read what :func:`places_to_json` wrote."""
    return {
        sensor: tuple(date.fromisoformat(day) if day else None for day in days)
        for sensor, days in stored.items()
    }


def places_table(by_tile: Mapping[str, Places]) -> TextTable:
    """Return a row for each sensor and set of dates, with the tiles that have it."""
    groups: dict[tuple[str, tuple[date | None, ...]], list[str]] = {}
    for tile, places in by_tile.items():
        for sensor, dates in places.items():
            groups.setdefault((sensor, dates), []).append(tile)
    sensors = list(dict.fromkeys(sensor for sensor, _ in groups))
    rows = tuple(
        (sensor, _days(dates), _tiles(tiles, len(by_tile)))
        for (sensor, dates), tiles in sorted(groups.items(), key=lambda item: sensors.index(item[0][0]))
    )
    return TextTable(
        "Dates that fill the network's places, the first place first", ("sensor", "dates", "tiles"), rows
    )


def missing_notes(by_tile: Mapping[str, Places], channels: Sequence[Channel]) -> tuple[str, ...]:
    """Return a sentence for each sensor of which tiles lack places, or of which no band was stored.

    Args:
        by_tile: The dates of each tile.
        channels: The network's channels.
    """
    notes = []
    for sensor in bands_of(channels):
        lacking = [tile for tile, places in by_tile.items() if None in places[sensor] or not places[sensor]]
        if lacking:
            fewest = min(sum(day is not None for day in by_tile[tile][sensor]) for tile in lacking)
            asked = places_of(channels)[sensor] or 1
            notes.append(
                f"{_tiles(lacking, len(by_tile))} {'lacks' if len(lacking) == 1 else 'lack'} acquisitions of "
                f"{sensor}: of {asked} that the network takes, {fewest} at least are there. What is missing "
                "is no data, which the network sees as the mean of its training tiles."
            )
    return tuple(notes)


def _days(dates: Sequence[date | None]) -> str:
    return ", ".join(str(day) if day else MISSING for day in dates) or MISSING


def _tiles(tiles: Sequence[str], all_tiles: int) -> str:
    if len(tiles) == all_tiles > 1:
        return f"all {all_tiles}"
    more = f" and {len(tiles) - NAMED_TILES} more" if len(tiles) > NAMED_TILES else ""
    return ", ".join(tiles[:NAMED_TILES]) + more
