"""Settlements of a map: touching cells of one class, what is known of each, and their order."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import shapely
from scipy import ndimage

from esdseg.mapping.area_map import AreaMap
from esdseg.mapping.supplements import distances_to_lines, population_of_cells
from esdseg.sensors.classes import CLASSES, CONTEST_CLASS
from esdseg.tiles.area import CELL_SIZE_M, WGS84, CellGrid, Floats, reproject

LIT_SETTLEMENT = CLASSES[2]
LIT_CLASSES = (CLASSES[2], CLASSES[3])
"""Classes of cells that have electricity."""

CELL_AREA_KM2 = (CELL_SIZE_M / 1000) ** 2

NEIGHBOURS = np.ones((3, 3), dtype=bool)
"""A cell and its eight neighbours, which belong to one settlement."""

VectorCrs = Literal["map", "EPSG:4326"]

Integers = npt.NDArray[np.int64]
Shapes = npt.NDArray[np.object_]


@dataclass(frozen=True)
class SettlementOptions:
    """What is asked for beside the settlements without electricity.

    Attributes:
        with_lit: Whether settlements with electricity are listed too.
        population: A raster of people in each pixel, such as WorldPop's.
        grid: A vector file of the lines of the electricity grid.
        vector_crs: Reference system of the GeoPackage: the map's, or longitude and latitude.
    """

    with_lit: bool = False
    population: Path | None = None
    grid: Path | None = None
    vector_crs: VectorCrs = "map"


@dataclass(frozen=True)
class Attributes:
    """What is known of cells or of settlements, an array with a value of each; NaN where it is not known.

    Attributes:
        settlement: Rank of the settlement, from 1.
        code: Class code: 1 without electricity, 3 with it.
        probability: Of the class; of a settlement the mean over its cells.
        light: Brightest clean night light in the sensor's numbers.
        distance_to_light_km: From the outline to that of the nearest cell mapped with electricity, class 3 or
            4; 0 where they touch, NaN where the map has no such cell.
        population: People; ``None`` where no raster of them was given.
        distance_to_grid_km: From the outline to the nearest line of the electricity grid; ``None`` where no
            lines were given.
    """

    settlement: Integers
    code: Integers
    probability: Floats
    light: Floats
    distance_to_light_km: Floats
    population: Floats | None
    distance_to_grid_km: Floats | None

    def take(self, order: Integers) -> "Attributes":
        """Return the values in another order."""
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        taken: dict[str, Any] = {
            name: None if values is None else values[order] for name, values in known.items()
        }
        return Attributes(**taken)


@dataclass(frozen=True)
class Settlements:
    """The settlements of a map, in the order of their ranks.

    Attributes:
        grid: The cells of the map.
        known: What is known of each settlement, (S,).
        cells: How many cells each has, (S,).
        probability_least: The least probability among its cells, (S,).
        rows: Row of each cell of a settlement, (N,). The cells of a settlement follow each other, and the
            settlements' cells the settlements' order.
        columns: Column of each of these cells, (N,).
        known_of_cells: What is known of each of them, (N,).
    """

    grid: CellGrid
    known: Attributes
    cells: Integers
    probability_least: Floats
    rows: Integers
    columns: Integers
    known_of_cells: Attributes

    @property
    def area_km2(self) -> Floats:
        """Area of each settlement, (S,)."""
        return np.asarray(self.cells * CELL_AREA_KM2, np.float64)

    @property
    def ranked_by(self) -> str:
        """What the ranks follow, in words."""
        return "cells times mean probability" if self.known.population is None else "population"

    def squares(self) -> Shapes:
        """Return the outline of each cell, (N,) polygons in the map's reference system."""
        return _squares(self.grid, self.rows, self.columns)

    def outlines(self) -> Shapes:
        """Return the outline of each settlement, (S,) multipolygons in the map's reference system."""
        outlines = np.empty(len(self.cells), dtype=object)
        for position, group in enumerate(np.split(self.squares(), np.cumsum(self.cells)[:-1])):
            if len(group):
                parts = shapely.get_parts(shapely.coverage_union_all(group))
                outlines[position] = shapely.multipolygons(parts)
        return outlines

    def places(self) -> tuple[Floats, Floats]:
        """Return where each settlement lies: the middle of its cell that is nearest its centre.

        Returns:
            Longitude and latitude in degrees, (S,) each.
        """
        first = np.cumsum(self.cells) - self.cells
        distance = np.hypot(
            *(
                values - np.repeat(_sums(self.known_of_cells.settlement - 1, values) / self.cells, self.cells)
                for values in (self.rows, self.columns)
            )
        )
        nearest = np.lexsort((distance, self.known_of_cells.settlement))[first]
        x, y = self.grid.cell_transform @ (self.columns[nearest] + 0.5, self.rows[nearest] + 0.5)
        return reproject(self.grid.crs_wkt, WGS84, x, y)


def find_settlements(area: AreaMap, options: SettlementOptions) -> Settlements:
    """Find settlements: cells of one class that touch each other, corners included.

    Those without electricity come first. Among them the one with most people is first where a raster of
    people is given, else the one with the largest number of cells times mean probability.

    Args:
        area: The map.
        options: What is asked for.

    Raises:
        InputDataError: The raster of people or the lines of the grid cannot be used.
    """
    classes = area.classes
    found = np.zeros(classes.shape, dtype=np.int64)
    for label_class in (CONTEST_CLASS, LIT_SETTLEMENT) if options.with_lit else (CONTEST_CLASS,):
        components, _ = ndimage.label(classes == label_class.index, structure=NEIGHBOURS)
        found = np.where(components > 0, components + found.max(), found)
    rows, columns = np.nonzero(found)
    labels = classes[rows, columns].astype(np.int64)
    people = to_grid = None
    if options.population is not None:
        people = population_of_cells(options.population, area.grid)[rows, columns]
    if options.grid is not None:
        to_grid = distances_to_lines(options.grid, area.grid, _squares(area.grid, rows, columns)) / 1000
    cells = Attributes(
        settlement=found[rows, columns],
        code=labels + 1,
        probability=area.probabilities[labels, rows, columns].astype(np.float64),
        light=area.light[rows, columns].astype(np.float64),
        distance_to_light_km=_distances_to_light(classes)[rows, columns] / 1000,
        population=people,
        distance_to_grid_km=to_grid,
    )
    return _rank(area.grid, rows, columns, cells)


def _rank(grid: CellGrid, rows: Integers, columns: Integers, cells: Attributes) -> Settlements:
    """Gather what is known of the cells of each settlement, and number the settlements by rank."""
    number = cells.settlement - 1
    sizes = np.bincount(number)
    people = None
    if cells.population is not None:
        is_known = _extremes(np.fmax, number, cells.population) >= 0
        people = np.where(is_known, _sums(number, np.nan_to_num(cells.population)), np.nan)
    summed = _sums(number, cells.probability)
    known = Attributes(
        settlement=np.arange(1, len(sizes) + 1),
        code=_extremes(np.fmax, number, cells.code).astype(np.int64),
        probability=summed / sizes,
        light=_extremes(np.fmax, number, cells.light),
        distance_to_light_km=_extremes(np.fmin, number, cells.distance_to_light_km),
        population=people,
        distance_to_grid_km=None
        if cells.distance_to_grid_km is None
        else _extremes(np.fmin, number, cells.distance_to_grid_km),
    )
    score = summed if people is None else np.nan_to_num(people, nan=-1)
    order = np.lexsort((-sizes, -score, known.code))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    by_rank = np.argsort(rank[number], kind="stable")
    least = _extremes(np.fmin, number, cells.probability)
    return Settlements(
        grid,
        replace(known.take(order), settlement=known.settlement),
        sizes[order],
        least[order],
        rows[by_rank],
        columns[by_rank],
        replace(cells.take(by_rank), settlement=rank[number][by_rank] + 1),
    )


def _sums(number: Integers, values: npt.NDArray[np.generic]) -> Floats:
    """Sum the values of each settlement, (S,)."""
    return np.asarray(np.bincount(number, values.astype(np.float64)), np.float64)


def _extremes(function: np.ufunc, number: Integers, values: npt.NDArray[np.generic]) -> Floats:
    """Return the least (``fmin``) or greatest (``fmax``) value of each settlement, (S,), NaN left out."""
    found = np.full(int(number.max(initial=-1)) + 1, np.nan)
    function.at(found, number, values.astype(np.float64))
    return found


def _distances_to_light(classes: npt.NDArray[np.uint8]) -> Floats:
    """Return metres from each cell's outline to that of the nearest cell with electricity, (R, C)."""
    is_lit = np.isin(classes, [label_class.index for label_class in LIT_CLASSES])
    if not is_lit.any():
        return np.full(classes.shape, np.nan)
    # The outlines of cells are nearer than their middles by a cell in each direction, but for neighbours.
    around = ndimage.binary_dilation(is_lit, NEIGHBOURS)
    return np.asarray(ndimage.distance_transform_edt(~around) * CELL_SIZE_M)


def _squares(grid: CellGrid, rows: Integers, columns: Integers) -> Shapes:
    left, top = grid.left_m + columns * CELL_SIZE_M, grid.top_m - rows * CELL_SIZE_M
    return np.asarray(shapely.box(left, top - CELL_SIZE_M, left + CELL_SIZE_M, top), dtype=object)
