"""What is written of the map of an area, in one order."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from esdseg.mapping.area_map import AreaMap
from esdseg.mapping.rasters import write_map, write_probabilities


@dataclass(frozen=True)
class MapSource:
    """Where a map comes from, as its products tell it.

    Attributes:
        area: The area's name for people, such as that of the folder of scenes.
        run: The network's name for people: that of its run, or several with commas.
        checkpoints: Paths of the checkpoints that predicted.
        made_at: When the map was made, with a time zone.
        notes: Sentences that a reader of the map should know.
    """

    area: str
    run: str
    checkpoints: tuple[str, ...]
    made_at: datetime
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Products:
    """What was written.

    Attributes:
        files: All files, in the order in which a reader opens them.
    """

    files: tuple[Path, ...]


def write_products(area: AreaMap, folder: Path, about: MapSource) -> Products:
    """Write all products of the map of an area.

    Args:
        area: The map; at least one cell has data.
        folder: Where they go; an empty folder that is there.
        about: Where the map comes from.

    Returns:
        What was written.

    Raises:
        InputDataError: A file cannot be written.
        MissingResourceError: There is no space left.
    """
    rasters = (*write_map(folder, area), write_probabilities(folder, area))
    return Products(rasters)
