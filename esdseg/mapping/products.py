"""What is written of the map of an area, in one order."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from esdseg.mapping.area_map import AreaMap
from esdseg.mapping.coordinates import DEGREES, Floats
from esdseg.mapping.rasters import write_map, write_probabilities
from esdseg.mapping.settlement_files import write_geopackage, write_table
from esdseg.mapping.settlements import Integers, SettlementOptions, Settlements, find_settlements
from esdseg.mapping.stac import write_item
from esdseg.report.map_page import ListedSettlement, MapPage, write_map_page


@dataclass(frozen=True)
class MapSource:
    """Where a map comes from, as its products tell it.

    Attributes:
        area: The area's name for people, such as that of the folder of scenes.
        run: The network's name for people: that of its run, or several with commas.
        checkpoints: Paths of the checkpoints that predicted.
        made_at: When the map was made, with a time zone.
        notes: Sentences that a reader of the map should know.
        beside: Names of other files in the folder, which the STAC item lists too.
    """

    area: str
    run: str
    checkpoints: tuple[str, ...]
    made_at: datetime
    notes: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


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
        write_map_page(folder, _map_page(area, settlements, about)),
        *write_map(folder, area),
        write_probabilities(folder, area),
        write_geopackage(folder, settlements, options.vector_crs, about.made_at),
        write_table(folder, settlements),
    )
    listed = (*files, *(folder / name for name in about.beside))
    item = write_item(folder, area, about.area, about.made_at, about.checkpoints, listed)
    return Products((*files, item), settlements)


def _map_page(area: AreaMap, settlements: Settlements, about: MapSource) -> MapPage:
    west, south, east, north = transform_bounds(area.grid.crs_wkt, DEGREES, *area.grid.bounds)
    crs = CRS.from_user_input(area.grid.crs_wkt)
    code, name = crs.to_authority(), crs.to_wkt().split('"')[1]
    return MapPage(
        area=about.area,
        run=about.run,
        checkpoints=about.checkpoints,
        made_at=about.made_at,
        notes=about.notes,
        dates=area.dates,
        reference_system=f"{name} ({':'.join(code)})" if code else name,
        corners=((west, south), (east, north)),
        labels=area.classes,
        probabilities=area.probabilities,
        picture=area.picture,
        settlements=_listed(settlements),
        ranked_by=settlements.ranked_by,
    )


def _listed(settlements: Settlements) -> tuple[ListedSettlement, ...]:
    known = settlements.known
    starts = np.cumsum(settlements.cells) - settlements.cells
    longitude, latitude = settlements.places()

    def span(positions: Integers) -> tuple[Integers, Integers]:
        first = np.minimum.reduceat(positions, starts) if len(starts) else positions
        last = np.maximum.reduceat(positions, starts) if len(starts) else positions
        return first, last - first + 1

    def value(values: Floats | None, position: int) -> float | None:
        return None if values is None or np.isnan(values[position]) else float(values[position])

    (first_row, rows), (first_column, columns) = span(settlements.rows), span(settlements.columns)
    return tuple(
        ListedSettlement(
            rank=int(known.settlement[position]),
            code=int(known.code[position]),
            box=(
                int(first_row[position]),
                int(first_column[position]),
                int(rows[position]),
                int(columns[position]),
            ),
            longitude=float(longitude[position]),
            latitude=float(latitude[position]),
            area_km2=float(settlements.area_km2[position]),
            probability=float(known.probability[position]),
            population=value(known.population, position),
            distance_to_light_km=value(known.distance_to_light_km, position),
            distance_to_grid_km=value(known.distance_to_grid_km, position),
        )
        for position in range(len(starts))
    )
