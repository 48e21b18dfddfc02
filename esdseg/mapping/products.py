"""What is written of the map of an area, or of tiles that lie nowhere: all its files, in one order."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from esdseg.mapping.area_map import AreaMap
from esdseg.mapping.lattice import Block, Cells
from esdseg.mapping.rasters import write_map, write_probability_map
from esdseg.mapping.settlements import Integers, SettlementOptions, Settlements, find_settlements
from esdseg.mapping.stac import write_item
from esdseg.mapping.vectors import write_geopackage, write_table
from esdseg.prediction.maps import write_prediction, write_probabilities
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.report.look import add_legend_below, new_figure, save_png, set_fonts, shorten
from esdseg.report.map_page import ListedSettlement, MapPage, write_map_page
from esdseg.sensors.classes import CLASSES, GRID_SIZE, UNKNOWN_LABEL, UNKNOWN_RGB, label_grid_to_rgb
from esdseg.tiles.area import WGS84, Floats


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
        write_probability_map(folder, area),
        write_geopackage(folder, settlements, options.vector_crs, about.made_at),
        write_table(folder, settlements),
    )
    listed = (*files, *(folder / name for name in about.beside))
    item = write_item(folder, area, about.area, about.made_at, about.checkpoints, listed)
    return Products((*files, item), settlements)


def _map_page(area: AreaMap, settlements: Settlements, about: MapSource) -> MapPage:
    west, south, east, north = transform_bounds(area.grid.crs_wkt, WGS84, *area.grid.bounds)
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


CONTACT_SHEET_NAME = "contact_sheet.png"

TILE_INCHES = 1.3
"""Side of a tile in the picture, where there are not too many."""

LONGEST_SIDE_INCHES = 10.0
SHORTEST_SIDE_INCHES = 3.0
NAME_CHARACTERS_AN_INCH = 10.0
NAME_SIZE = 8


def write_tiles(area: AreaMap, tiles: Sequence[Block], folder: Path) -> tuple[Path, ...]:
    """Write ``contact_sheet.png``, and of each tile ``prediction.tif`` and ``probabilities.tif``.

    Args:
        area: The tiles, laid beside each other.
        tiles: The cells of each and its name.
        folder: Where the files go.

    Returns:
        The files.

    Raises:
        InputDataError: A file cannot be written.
        MissingResourceError: There is no space left.
    """
    sheet = save_png(draw_contact_sheet(area, tiles), folder / CONTACT_SHEET_NAME)
    files = [sheet]
    for tile in tiles:
        rows, columns = tile.core.within(Cells.of(area.grid))
        prediction = TilePrediction(
            tile.name,
            np.full((GRID_SIZE, GRID_SIZE), UNKNOWN_LABEL, np.uint8),
            area.probabilities[:, rows, columns],
            cell_shares=area.channel_share[rows, columns],
        )
        place = folder / tile.name
        place.mkdir()
        files += [write_prediction(place, prediction, None), write_probabilities(place, prediction, None)]
    return tuple(files)


def draw_contact_sheet(area: AreaMap, tiles: Sequence[Block]) -> Figure:
    """Draw all tiles as they look from above, and the classes of their cells beside that."""
    longest = max(area.grid.rows, area.grid.columns) // GRID_SIZE
    tile_inches = min(TILE_INCHES, LONGEST_SIDE_INCHES / longest)
    tile_inches = max(tile_inches, SHORTEST_SIDE_INCHES / longest)
    width, height = (side // GRID_SIZE * tile_inches for side in (area.grid.columns, area.grid.rows))
    figure = new_figure(2 * width + 0.6, height + 1.2)
    pixels = area.picture.shape[0] // area.grid.rows
    is_tile = np.zeros(area.classes.shape, np.bool_)
    for tile in tiles:
        is_tile[tile.core.within(Cells.of(area.grid))] = True
    # The last row may have fewer tiles.
    picture = np.where(np.kron(is_tile, np.ones((pixels, pixels), np.bool_))[..., None], area.picture, 255)
    images = (picture, np.where(is_tile[..., None], label_grid_to_rgb(area.classes), np.uint8(255)))
    titles = "From above", "Classes"
    for number, (image, unit, title) in enumerate(zip(images, (pixels, 1), titles, strict=True)):
        axes = figure.add_subplot(1, 2, number + 1)
        axes.imshow(image, interpolation="nearest")
        axes.set_title(title)
        axes.set_axis_off()
        side = GRID_SIZE * unit
        for line in range(1, ceil(image.shape[0] / side)):
            axes.axhline(line * side - 0.5, color="white", linewidth=2)
        for line in range(1, ceil(image.shape[1] / side)):
            axes.axvline(line * side - 0.5, color="white", linewidth=2)
        for tile in tiles:
            axes.text(
                (tile.core.column + 0.4) * unit - 0.5,
                (tile.core.row + 0.4) * unit - 0.5,
                shorten(tile.name, max(4, int(tile_inches * NAME_CHARACTERS_AN_INCH))),
                fontsize=NAME_SIZE,
                verticalalignment="top",
                path_effects=[withStroke(linewidth=2, foreground="white")],
            )
    handles = [Patch(color=label_class.color, label=label_class.title_with_code) for label_class in CLASSES]
    if not area.is_mapped[is_tile].all():
        handles.append(Patch(color=[shade / 255 for shade in UNKNOWN_RGB], label="0 No data"))
    add_legend_below(figure, handles, 2)
    set_fonts(figure)
    return figure
