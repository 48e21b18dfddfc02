"""Where people live: buildings, tracks and lamps, and the labels that follow from them.

Dark hamlets are added one after another, each where the land suits, until the tile's share of settled
cells is reached. An electrified zone is a compact town with street lamps; what it lights follows from the
lamps alone.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from esdseg.sample.fields import FloatArray, smooth_noise
from esdseg.sample.parameters import DARK_SETTLEMENT_CELLS, TileParameters
from esdseg.sample.regions import Region
from esdseg.sample.terrain import (
    LATTICE_STEP_PX,
    Terrain,
    draw_lines,
    least_cost_tree,
    node_positions,
)
from esdseg.sensors.classes import CELL_SIZE_PX, CLASSES, TILE_SIZE_PX

LAMP_SPREAD_PX = 5.0
"""Standard deviation of the light that one lamp throws on the ground: 50 m."""

LIT_THRESHOLD = 4e-4
"""Light a pixel needs to count as lit, in lamps a pixel: one lamp lights about 115 m around it."""


@dataclass(frozen=True)
class Lamps:
    """Outdoor lamps that burn at night, one entry each.

    Attributes:
        row: Position in pixels from the upper edge of the tile (0 to 800) or the scene.
        column: The same from the left edge.
        power: Radiance a lamp adds to one VIIRS pixel right above it, in product units.
    """

    row: FloatArray
    column: FloatArray
    power: FloatArray


def count_map(row: FloatArray, column: FloatArray, size_px: int = TILE_SIZE_PX) -> FloatArray:
    """Count positions, in pixels, into pixels: ``(size_px, size_px)``."""
    pixel = np.clip(np.floor(row), 0, size_px - 1).astype(np.int64) * size_px + np.clip(
        np.floor(column), 0, size_px - 1
    ).astype(np.int64)
    return np.bincount(pixel, minlength=size_px**2).reshape(size_px, size_px).astype(np.float32)


def ground_light(lamps: Lamps, size_px: int = TILE_SIZE_PX) -> FloatArray:
    """Return the light on the ground in lamps a pixel, ``(size_px, size_px)``."""
    if lamps.row.size == 0:
        return np.zeros((size_px, size_px), np.float32)
    lights = count_map(lamps.row, lamps.column, size_px)
    return np.asarray(ndimage.gaussian_filter(lights, LAMP_SPREAD_PX, mode="constant"), np.float32)


def lit_cells_of(lamps: Lamps, size_px: int = TILE_SIZE_PX) -> npt.NDArray[np.bool_]:
    """Return which label cells have any pixel with light of ``LIT_THRESHOLD`` or more, flat."""
    lit = ground_light(lamps, size_px) >= LIT_THRESHOLD
    cells = size_px // CELL_SIZE_PX
    return np.asarray(lit.reshape(cells, CELL_SIZE_PX, cells, CELL_SIZE_PX).any(axis=(1, 3)).ravel())


ROOF_MATERIALS = ("metal", "rusted_metal", "thatch", "mud")

TYPICAL_ROOF_M2 = 60.0
"""Median roof area of a village house in dry savanna; a pixel is 100 m2."""

TYPICAL_ECHO = 0.32
"""Median double bounce of a house in VV, linear power over a pixel: 6 dB above open ground."""

HAMLETS_OFFERED = 2500
"""To each tile; as many of them as its share of settled cells asks for are built."""


@dataclass(frozen=True)
class Buildings:
    """Single buildings, one entry each.

    Attributes:
        row: Position of the centre in pixels from the upper edge of the tile (0 to 800) or the scene.
        column: The same from the left edge.
        area_m2: Roof area.
        material: Index into :data:`ROOF_MATERIALS`.
        radar_power: Double bounce of walls and ground in VV, linear power over the pixel.
    """

    row: FloatArray
    column: FloatArray
    area_m2: FloatArray
    material: npt.NDArray[np.int64]
    radar_power: FloatArray


@dataclass(frozen=True)
class Settlements:
    """All that people built; fields are ``(800, 800)`` in a tile.

    Attributes:
        buildings: The buildings.
        lamps: The lamps.
        tracks: Share of a pixel covered by a track, 0 to 1.
        trampled: Bare ground around buildings, 0 to 1.
    """

    buildings: Buildings
    lamps: Lamps
    tracks: FloatArray
    trampled: FloatArray


def cell_of(
    row: npt.NDArray[np.floating], column: npt.NDArray[np.floating], size_px: int = TILE_SIZE_PX
) -> npt.NDArray[np.int64]:
    """Return the flat index of the label cell, 0 to 255 in a tile, for positions in pixels."""
    cells = size_px // CELL_SIZE_PX
    cell_row = np.clip(np.floor(row / CELL_SIZE_PX), 0, cells - 1).astype(np.int64)
    cell_column = np.clip(np.floor(column / CELL_SIZE_PX), 0, cells - 1).astype(np.int64)
    return np.asarray(cell_row * cells + cell_column)


def build_settlements(
    parameters: TileParameters, terrain: Terrain, fertility: FloatArray, rng: np.random.Generator
) -> Settlements:
    """Place towns, lamps, hamlets and tracks.

    Args:
        parameters: The tile's settings.
        terrain: The tile's ground.
        fertility: How well fields do, standard normal, ``(800, 800)`` in a tile.
        rng: Source of all draws.
    """
    suitability = _suitability(parameters, terrain, fertility, rng)
    town_position, lamps = _electrified_zones(parameters, terrain, suitability, rng)
    lit_cells = lit_cells_of(lamps, parameters.size_px)
    hamlet_position = _dark_hamlets(parameters, suitability, lit_cells, terrain, rng)
    position = np.concatenate([town_position, hamlet_position])
    in_town = np.arange(len(position)) < len(town_position)
    buildings = _furnish(position, in_town, parameters, rng)
    density = count_map(buildings.row, buildings.column, parameters.size_px)
    trampled = np.clip(1.8 * ndimage.gaussian_filter(density, 2.2, truncate=2.5), 0.0, 0.8)
    return Settlements(buildings, lamps, _tracks(terrain, buildings, rng), np.asarray(trampled, np.float32))


def _suitability(
    parameters: TileParameters, terrain: Terrain, fertility: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Score the lattice's nodes for living there, about standard normal, ``(side, side)``."""
    size_px = parameters.size_px
    nodes = (slice(LATTICE_STEP_PX // 2, None, LATTICE_STEP_PX),) * 2
    steepness = np.hypot(terrain.slope_east[nodes], terrain.slope_south[nodes])
    near_road = ndimage.gaussian_filter(terrain.main_road, 16.0, truncate=2.5)[nodes]
    score = (
        0.45 * fertility[nodes]
        + 0.9 * smooth_noise(rng, 70.0, size_px)[nodes]
        + 0.6 * smooth_noise(rng, 30.0, size_px)[nodes]
        + parameters.region.valley_pull * terrain.valley[nodes]
        + 8.0 * near_road
        - 3.0 * np.minimum(steepness, 0.5)
        - 2.0 * terrain.river_bed[nodes]
        - 6.0 * terrain.flooded[nodes]
        + np.broadcast_to(np.float32(parameters.attraction), (size_px, size_px))[nodes]
    )
    return np.asarray((score - score.mean()) / score.std(), np.float32)


def _electrified_zones(
    parameters: TileParameters, terrain: Terrain, suitability: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, Lamps]:
    """Build towns that light about the wanted numbers of cells; return building positions and lamps.

    Towns stand away from the edges, and those of a scene some way from each other.
    """
    houses, lamps = [np.zeros((0, 2), np.float32)], [Lamps(*3 * [np.zeros(0, np.float32)])]
    side = suitability.shape[0]
    margin = min(side, TILE_SIZE_PX // LATTICE_STEP_PX) // 5
    inner = slice(margin, side - margin)
    chance = np.exp(2.0 * suitability[inner, inner]).astype(np.float64)
    node_row, node_column = np.mgrid[inner, inner]
    for lit_cells in parameters.towns:
        spot = int(rng.choice(chance.size, p=(chance / chance.sum()).ravel()))
        center = np.array([node_row.ravel()[spot], node_column.ravel()[spot]])
        town_houses, town_lamps = _build_town(
            lit_cells, center * LATTICE_STEP_PX, terrain, parameters.region, rng
        )
        houses.append(town_houses)
        lamps.append(town_lamps)
        apart = np.hypot(node_row - center[0], node_column - center[1]) * LATTICE_STEP_PX
        chance[apart < TILE_SIZE_PX / 2] *= 1e-6
    row, column, power = (np.concatenate([getattr(town, axis) for town in lamps]) for axis in _LAMP_FIELDS)
    return np.concatenate(houses), Lamps(row, column, power)


_LAMP_FIELDS = ("row", "column", "power")


def _build_town(
    lit_cells: float,
    center_px: npt.NDArray[np.int64],
    terrain: Terrain,
    region: Region,
    rng: np.random.Generator,
) -> tuple[FloatArray, Lamps]:
    """Build a town in the window of a tile's size around its centre; return building positions and lamps."""
    last = terrain.elevation_m.shape[0] - TILE_SIZE_PX
    origin = np.clip(center_px - TILE_SIZE_PX // 2, 0, last)
    window = tuple(slice(start, start + TILE_SIZE_PX) for start in origin.tolist())
    center = center_px - origin
    # A disc of radius r touches pi r^2 + 4 r + 1 unit cells on average; solve for r and take off the reach
    # of the outermost lamps.
    radius_px = CELL_SIZE_PX * (np.sqrt(16 + 4 * np.pi * (lit_cells - 1)) - 4) / (2 * np.pi)
    radius_px = max(float(radius_px) - 6.0, 12.0)
    row, column = (axis.astype(np.float32) for axis in np.ogrid[:TILE_SIZE_PX, :TILE_SIZE_PX])
    distance = np.hypot(row - center[0], column - center[1]) / radius_px
    distance *= np.exp(0.25 * smooth_noise(rng, max(1.2 * radius_px, 20.0)))

    patches = (
        smooth_noise(rng, 50.0)
        + 0.4 * smooth_noise(rng, 20.0)
        + 0.6 * terrain.main_road[window]
        - 2.0 * terrain.river_bed[window]
        - terrain.streams[window]
        - 4.0 * terrain.flooded[window]
    )
    built_up = (patches > -0.25 + 1.1 * (distance - 0.5)) & (distance < 1.0)
    built_up |= distance < 0.15
    density = np.where(built_up, 0.045 * np.exp(-1.2 * distance), 0.0)
    house_row, house_column = np.nonzero(rng.random(density.shape) < density)
    houses = np.stack([house_row, house_column], axis=1) + rng.random((house_row.size, 2)) + origin

    # Street lamps stand at connected houses and along the streets, built up or not.
    street = (np.abs((row + 0.3 * column) % 27.0) < 1.0) | (np.abs((column - 0.3 * row) % 31.0) < 1.0)
    lamp_density = np.where(distance < 1.0, 0.012 * built_up + 0.10 * street, 0.0)
    lamp_row, lamp_column = np.nonzero(rng.random(lamp_density.shape) < lamp_density)
    strength = np.exp(-1.5 * distance[lamp_row, lamp_column]) * rng.lognormal(0.0, 0.5, lamp_row.size)
    power = region.lamp_power * (lit_cells / 40.0) ** 0.3 * strength
    return houses.astype(np.float32), Lamps(
        (lamp_row + 0.5 + origin[0]).astype(np.float32),
        (lamp_column + 0.5 + origin[1]).astype(np.float32),
        power.astype(np.float32),
    )


def _dark_hamlets(
    parameters: TileParameters,
    suitability: FloatArray,
    lit_cells: npt.NDArray[np.bool_],
    terrain: Terrain,
    rng: np.random.Generator,
) -> FloatArray:
    """Add hamlets until the wanted number of unlit cells holds a building; return building positions."""
    size_px, side, region = parameters.size_px, suitability.shape[0], parameters.region
    tiles = (size_px / TILE_SIZE_PX) ** 2
    offered = ceil(HAMLETS_OFFERED * tiles)
    chance = np.exp(1.5 * suitability).ravel().astype(np.float64)
    node = rng.choice(chance.size, offered, p=chance / chance.sum())
    # Lone farms stand anywhere: the cells that no landscape explains.
    lone = rng.random(offered) < region.lone_share
    node[lone] = rng.integers(0, chance.size, int(lone.sum()))
    center = (np.stack(np.divmod(node, side), axis=1) + rng.random((offered, 2))) * LATTICE_STEP_PX
    houses = region.hamlet_houses
    size = np.ceil(rng.lognormal(houses.log_median, houses.deviation, offered))
    size = np.where(lone, rng.integers(2, 6, offered), np.clip(size, 2, 120)).astype(np.int64)
    hamlet = np.repeat(np.arange(offered), size)
    spread_px = region.hamlet_spread_px * np.sqrt(size[hamlet])[:, None]
    position = center[hamlet] + spread_px * rng.standard_normal((hamlet.size, 2))
    inside = np.all((position >= 0) & (position < size_px), axis=1)
    position, hamlet = position[inside], hamlet[inside]
    pixel = position.astype(np.int64)
    dry = terrain.flooded[pixel[:, 0], pixel[:, 1]] < 0.5
    position, hamlet = position[dry], hamlet[dry]

    cell = cell_of(position[:, 0], position[:, 1], size_px)
    dark = np.flatnonzero(~lit_cells[cell])
    _, first = np.unique(cell[dark], return_index=True)
    first_hamlet = np.sort(hamlet[dark[first]])
    wanted = round(parameters.dark_settlement_share * int((~lit_cells).sum()))
    fewest, most = DARK_SETTLEMENT_CELLS
    wanted = int(np.clip(wanted, fewest, min(round(most * tiles), first_hamlet.size)))
    # Hamlets that lie within the lights are part of the town and were placed with it.
    return np.asarray(position[(hamlet <= first_hamlet[wanted - 1]) & ~lit_cells[cell]], np.float32)


def _furnish(
    position: FloatArray, in_town: npt.NDArray[np.bool_], parameters: TileParameters, rng: np.random.Generator
) -> Buildings:
    """Give every building a roof and an echo."""
    count, region = len(position), parameters.region
    metal_share = parameters.metal_share
    if isinstance(metal_share, np.ndarray):
        pixel = np.clip(position.astype(np.int64), 0, parameters.size_px - 1)
        metal_share = metal_share[pixel[:, 0], pixel[:, 1]]
    metal = np.clip(metal_share + 0.2 * in_town, 0.0, 0.9)
    draw = rng.random(count)
    mud = region.mud_share * (1.0 - metal)
    limits = np.stack([region.shiny_share * metal, metal, 1.0 - mud])
    material = np.array([0, 1, 2, 3])[(draw >= limits).sum(axis=0)]
    area = (
        rng.lognormal(np.log(region.roof_m2), 0.45, count)
        * np.where(in_town, 1.5, 1.0)
        * np.where(material == 2, 0.7, 1)
    )
    echo = (
        rng.lognormal(np.log(TYPICAL_ECHO), 0.9, count)
        * (area / TYPICAL_ROOF_M2) ** 0.5
        * np.where(material == 2, 0.5, 1.0)
    )
    return Buildings(
        position[:, 0],
        position[:, 1],
        area.astype(np.float32),
        material.astype(np.int64),
        np.minimum(echo, 12.0).astype(np.float32),
    )


def _tracks(terrain: Terrain, buildings: Buildings, rng: np.random.Generator) -> FloatArray:
    """Lead a track from where three or more buildings stand together to the main road."""
    tree = least_cost_tree(terrain.travel_cost, terrain.main_road_nodes)
    node = (buildings.row // LATTICE_STEP_PX).astype(np.int64) * tree.side + (
        buildings.column // LATTICE_STEP_PX
    ).astype(np.int64)
    homes = np.bincount(np.clip(node, 0, tree.side**2 - 1), minlength=tree.side**2)
    traffic = tree.accumulate((homes >= 3).astype(np.float64))
    nodes = np.flatnonzero(traffic >= 1)
    rows, columns = tree.draw(nodes, node_positions(tree, rng))
    weight = np.clip(0.25 + 0.1 * np.log2(traffic[nodes]), 0.0, 0.8)
    size_px = tree.side * LATTICE_STEP_PX
    return draw_lines(rows, columns, 0.5, np.repeat(weight, 2 * LATTICE_STEP_PX), size_px)


def label_grid(buildings: Buildings, lamps: Lamps, size_px: int = TILE_SIZE_PX) -> npt.NDArray[np.uint16]:
    """Label every cell: a settlement if any building stands in it, with electricity if any part is lit.

    A building stands where its centre is. A pixel is lit where the lamps' light on the ground reaches
    :data:`~esdseg.sample.settlements.LIT_THRESHOLD`.

    Returns:
        Codes 1 to 4, ``(16, 16)`` of a tile.
    """
    cells = size_px // CELL_SIZE_PX
    settled = np.zeros(cells**2, bool)
    settled[cell_of(buildings.row, buildings.column, size_px)] = True
    codes = np.where(lit_cells_of(lamps, size_px), np.where(settled, 3, 4), np.where(settled, 1, 2))
    return codes.reshape(cells, cells).astype(np.uint16)


def label_picture(labels: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """Paint codes ``(16, 16)`` in class colours at the rasters' size: RGB ``(800, 800, 3)``."""
    palette = np.zeros((max(label_class.code for label_class in CLASSES) + 1, 3), np.uint8)
    for label_class in CLASSES:
        palette[label_class.code] = label_class.rgb
    return palette[labels].repeat(CELL_SIZE_PX, axis=0).repeat(CELL_SIZE_PX, axis=1)
