"""What is written of the map of an area, in one order."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from esdseg.mapping.area_map import AreaMap
from esdseg.mapping.rasters import write_map, write_probabilities
from esdseg.mapping.settlement_files import write_geopackage, write_table
from esdseg.mapping.settlements import SettlementOptions, Settlements, find_settlements


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
        files: All files.
        settlements: The settlements that were found.
    """

    files: tuple[Path, ...]
    settlements: Settlements


def write_products(
    area: AreaMap, folder: Path, about: MapSource, options: SettlementOptions | None = None
) -> Products:
    """Write all products of the map of an area.

    Args:
        area: The map; at least one cell has data.
        folder: Where they go; an empty folder that is there.
        about: Where the map comes from.
        options: What is asked for of the settlements; those without electricity alone unless given. Files in
            it are checked by :func:`esdseg.mapping.supplements.check_supplements`, before anything is
            predicted.

    Returns:
        What was written.

    Raises:
        InputDataError: A file cannot be written, or what is given beside the map cannot be used.
        MissingResourceError: There is no space left.
    """
    options = options or SettlementOptions()
    settlements = find_settlements(area, options)
    files = (
        *write_map(folder, area),
        write_probabilities(folder, area),
        write_geopackage(folder, settlements, options.vector_crs, about.made_at),
        write_table(folder, settlements),
    )
    return Products(files, settlements)
