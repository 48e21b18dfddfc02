"""Printing which dates of tiles fill the places that a network asks for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esdseg.cli.output import print_line, print_table

if TYPE_CHECKING:
    from esdseg.prediction.places import Places
    from esdseg.sensors.acquisitions import Acquisition
    from esdseg.sensors.channels import Channel


def print_places(places: "Mapping[str, Places]") -> None:
    """Print a row for each sensor and set of dates, with the tiles that have it."""
    from esdseg.prediction.places import places_table

    table = places_table(places)
    print_table(table.title, table.header, table.rows, texts=("dates", "tiles"))


@dataclass(frozen=True)
class NetworkPlaces:
    """The places of a network that is not asked to predict yet.

    Attributes:
        channels: The network's channels.
        acquired: The acquisitions of each tile.
    """

    channels: "Sequence[Channel]"
    acquired: "Mapping[str, Sequence[Acquisition]]"

    def by_tile(self) -> "dict[str, Places]":
        """Return the dates that fill the places in each tile."""
        from esdseg.prediction.places import fill_places

        return {tile: fill_places(self.channels, found) for tile, found in self.acquired.items()}

    def missing(self) -> tuple[str, ...]:
        """Return a sentence for each sensor of which tiles lack acquisitions."""
        from esdseg.prediction.places import missing_notes

        return missing_notes(self.by_tile(), self.channels)

    def to_json(self) -> dict[str, object]:
        """Return places and what is missing as plain values."""
        from esdseg.prediction.places import places_to_json

        places = {tile: places_to_json(found) for tile, found in self.by_tile().items()}
        return {"places": places, "missing": list(self.missing())}

    def show(self) -> None:
        """Print places and what is missing."""
        print_places(self.by_tile())
        for note in self.missing():
            print_line(f"Note: {note}")
