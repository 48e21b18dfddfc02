"""The map of tiles that do not say where they lie: a raster each, and one picture of all."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from esdseg.mapping.area_map import AreaMap
from esdseg.mapping.lattice import Block, Cells
from esdseg.prediction.maps import write_prediction, write_probabilities
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.report.look import add_legend_below, new_figure, save_png, set_fonts, shorten
from esdseg.sensors.classes import CLASSES, GRID_SIZE, UNKNOWN_LABEL, UNKNOWN_RGB, label_grid_to_rgb

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
