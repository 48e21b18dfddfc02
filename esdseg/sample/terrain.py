"""The ground of a tile: relief, streams and the main road.

Streams and roads are trees of least-cost paths over a lattice of nodes 50 m apart.
"""

from dataclasses import dataclass
from math import isqrt

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from esdseg.sample.fields import FloatArray, fractal_noise, level_of, smooth_noise, smooth_step
from esdseg.sample.parameters import TileParameters
from esdseg.sample.regions import Region
from esdseg.sensors.classes import TILE_SIZE_PX

LATTICE_STEP_PX = 5
"""Distance of lattice nodes: 50 m."""

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PathTree:
    """A tree of paths over the lattice's nodes, counted row by row.

    Attributes:
        downstream: For each node the next one towards its root; a root names itself.
    """

    downstream: IntArray

    @property
    def side(self) -> int:
        """Nodes along each side of the lattice."""
        return isqrt(self.downstream.size)

    def accumulate(self, weight: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Sum ``weight`` (a value a node) over each node and all nodes above it.

        Doubles the length of the pointers at each step, so the work grows with the logarithm of the
        longest path.
        """
        count = self.downstream.size
        roots = self.downstream == np.arange(count)
        pointer = np.append(np.where(roots, count, self.downstream), count)
        total = np.append(weight.astype(np.float64), 0.0)
        while np.any(pointer < count):
            passed_on = np.bincount(pointer, weights=total, minlength=count + 1)
            passed_on[count] = 0.0
            total = total + passed_on
            pointer = pointer[pointer]
        return total[:count]

    def draw(self, nodes: IntArray, positions_px: npt.NDArray[np.float64]) -> tuple[IntArray, IntArray]:
        """Draw the steps from ``nodes`` to their downstream neighbours.

        Args:
            nodes: Nodes where a step starts.
            positions_px: Row and column of every node in pixels, ``(nodes, 2)``.

        Returns:
            Row and column of every pixel on the way, ``(nodes x samples,)`` each; pixels repeat.
        """
        size_px = self.side * LATTICE_STEP_PX
        along = np.linspace(0.0, 1.0, 2 * LATTICE_STEP_PX, endpoint=False)[None, :, None]
        start, end = positions_px[nodes][:, None], positions_px[self.downstream[nodes]][:, None]
        points = (start + along * (end - start)).reshape(-1, 2)
        pixels = np.clip(points.astype(np.int64), 0, size_px - 1)
        return pixels[:, 0], pixels[:, 1]


def least_cost_tree(cost: FloatArray, roots: IntArray) -> PathTree:
    """Join every node to its cheapest root by Dijkstra's algorithm over the eight neighbours.

    Args:
        cost: Cost of a step at each node, positive, ``(side, side)``.
        roots: Nodes where paths may end.
    """
    size = cost.shape[0]
    node = np.arange(size * size).reshape(size, size)
    starts, ends = [], []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        left = slice(max(0, -right), size - max(0, right))
        moved = slice(max(0, right), size + min(0, right))
        starts.append(node[: size - down, left].ravel())
        ends.append(node[down:, moved].ravel())
    lengths = np.repeat([1.0, 1.0, np.sqrt(2), np.sqrt(2)], [len(part) for part in starts])
    start, end = np.concatenate(starts), np.concatenate(ends)
    flat = cost.ravel().astype(np.float64)
    graph = sparse.csr_array((lengths * (flat[start] + flat[end]), (start, end)), shape=(size**2, size**2))
    _, before, _ = csgraph.dijkstra(
        graph, directed=False, indices=roots, return_predecessors=True, min_only=True
    )
    return PathTree(np.where(before < 0, np.arange(size**2), before).astype(np.int64))


def node_positions(tree: PathTree, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Place the nodes on the ground, jittered and then smoothed along the paths so that lines wind.

    Returns:
        Row and column in pixels, ``(nodes, 2)``.
    """
    row, column = np.divmod(np.arange(tree.downstream.size), tree.side)
    position = (np.stack([row, column], axis=1) + rng.uniform(0.0, 1.0, (row.size, 2))) * LATTICE_STEP_PX
    for _ in range(3):
        position = 0.5 * (position + position[tree.downstream])
    return position


SUN_DIRECTION = (0.6, -0.55)
"""Horizontal part of the light, east and south, over its vertical part: ten in the morning in August at
13 degrees south, the sun 50 degrees high in the north-east."""

RELIEF_SCALES_PX = (300.0, 150.0, 75.0, 38.0, 19.0)
RELIEF_DEVIATIONS_M = (40.0, 20.0, 10.0, 5.0, 2.5)

BRIDGE_COST = np.float32(15.0)
"""Cost of a step for a road through standing water against one on flat land."""

STREAM_NODES = 30.0
"""Upstream area, in nodes of 50 m x 50 m, from which a stream shows."""


@dataclass(frozen=True)
class Terrain:
    """The ground of a tile, whose fields are ``(800, 800)``, or of a scene.

    Attributes:
        elevation_m: Height above the tile's mean.
        slope_east: Rise towards the east, metres a metre.
        slope_south: Rise towards the south, metres a metre.
        streams: Closeness to a stream, 1 in its bed, falling to 0 within about 60 m.
        river_bed: Share of a pixel covered by the bed of a river, 0 to 1.
        flooded: Share of a pixel under standing water, 0 to 1.
        valley: Closeness to running water on the scale of 300 m, 0 to 1.
        main_road: Share of a pixel covered by the road through the tile, 0 to 1.
        main_road_nodes: Lattice nodes on that road.
        travel_cost: Cost of a step for a road at each lattice node.
    """

    elevation_m: FloatArray
    slope_east: FloatArray
    slope_south: FloatArray
    streams: FloatArray
    river_bed: FloatArray
    flooded: FloatArray
    valley: FloatArray
    main_road: FloatArray
    main_road_nodes: IntArray
    travel_cost: FloatArray

    def sunlight(self) -> FloatArray:
        """Return the sun's light on the ground: 1 on flat ground, more on slopes that face it."""
        east, south = SUN_DIRECTION
        facing = 1.0 - np.float32(east) * self.slope_east - np.float32(south) * self.slope_south
        return np.asarray(np.clip(facing, 0.55, 1.6), np.float32)


def build_terrain(parameters: TileParameters, rng: np.random.Generator) -> Terrain:
    """Build the ground of a tile from its settings."""
    size_px = parameters.size_px
    elevation = fractal_noise(rng, RELIEF_SCALES_PX, RELIEF_DEVIATIONS_M, size_px)
    elevation *= np.asarray(parameters.ruggedness, np.float32)
    row, column = (axis.astype(np.float32) for axis in np.ogrid[:size_px, :size_px])
    direction = rng.uniform(0, 2 * np.pi)
    elevation += np.float32(0.08) * (
        np.float32(np.sin(direction)) * row + np.float32(np.cos(direction)) * column
    )
    elevation -= elevation.mean()

    coarse_pixels = (slice(LATTICE_STEP_PX // 2, None, LATTICE_STEP_PX),) * 2
    coarse = elevation[coarse_pixels]
    streams, river_bed = _draw_streams(coarse, parameters.region, rng)
    valley = ndimage.gaussian_filter(streams, 14.0, truncate=2.5)
    valley /= max(float(np.quantile(valley[::4, ::4], 0.99)), 1e-6)
    valley = np.clip(valley, 0.0, 1.0)
    flooded = _flood(valley, parameters.flooded_share, rng)
    # Water has cut its own valley: without it slopes and streams would not meet in the pictures.
    elevation -= parameters.region.incision_m * ndimage.gaussian_filter(streams, 5.0, truncate=2.5)
    slope_south, slope_east = np.gradient(elevation, 10.0)

    steepness = np.hypot(*np.gradient(coarse, 50.0)).astype(np.float32)
    detours = np.exp(0.7 * smooth_noise(rng, 12.0, coarse.shape[0])) * rng.uniform(0.7, 1.3, steepness.shape)
    travel_cost = ((1.0 + 25.0 * steepness) * detours).astype(np.float32)
    travel_cost *= 1.0 + BRIDGE_COST * flooded[coarse_pixels]
    main_road, main_road_nodes = _draw_main_road(travel_cost, rng)
    return Terrain(
        elevation_m=elevation,
        slope_east=np.asarray(slope_east, np.float32),
        slope_south=np.asarray(slope_south, np.float32),
        streams=streams,
        river_bed=river_bed,
        flooded=flooded,
        valley=valley,
        main_road=main_road,
        main_road_nodes=main_road_nodes,
        travel_cost=travel_cost,
    )


def draw_lines(
    rows: IntArray,
    columns: IntArray,
    sigma_px: float,
    weight: npt.NDArray[np.float64] | None = None,
    size_px: int = TILE_SIZE_PX,
) -> FloatArray:
    """Draw pixels of lines, widened to a Gaussian cross-section of height 1.

    Args:
        rows: Row of each pixel.
        columns: Column of each pixel.
        sigma_px: Width of the cross-section.
        weight: Height of the line at each pixel, 0 to 1; 1 unless given.
        size_px: Side of the field.

    Returns:
        Field ``(size_px, size_px)`` between 0 and 1.
    """
    mask = np.zeros((size_px, size_px), np.float32)
    np.maximum.at(mask, (rows, columns), 1.0 if weight is None else weight.astype(np.float32))
    # A straight line one pixel wide keeps 1 / (sigma sqrt(2 pi)) of its height under the blur.
    blurred = ndimage.gaussian_filter(mask, sigma_px, truncate=3.0) * max(1.0, sigma_px * np.sqrt(2 * np.pi))
    return np.asarray(np.clip(blurred, 0.0, 1.0), np.float32)


def _draw_streams(
    coarse_m: FloatArray, region: Region, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Let water leave the land over the lowest parts of its edge along the lowest paths."""
    side = coarse_m.shape[0]
    size_px = side * LATTICE_STEP_PX
    node = np.arange(side**2).reshape(side, side)
    edge = np.unique(np.concatenate([node[0], node[-1], node[:, 0], node[:, -1]]))
    heights = coarse_m.ravel()[edge]
    outlets = edge[heights < np.quantile(heights, 0.3)]
    scaled = (coarse_m - coarse_m.min()) / (np.ptp(coarse_m) + 1e-6)
    texture = np.exp(0.5 * smooth_noise(rng, 5.0, side)) * rng.uniform(0.7, 1.3, scaled.shape)
    tree = least_cost_tree(np.asarray(np.exp(5.0 * scaled) * texture, np.float32), outlets)
    area = tree.accumulate(np.ones(side**2))
    position = node_positions(tree, rng)

    stream_nodes = np.flatnonzero(area > STREAM_NODES)
    rows, columns = tree.draw(stream_nodes, position)
    height = np.clip(0.22 + 0.26 * np.log10(area[stream_nodes] / STREAM_NODES), 0.0, 0.8)
    samples = rows.size // max(stream_nodes.size, 1)
    streams = draw_lines(rows, columns, 0.9, np.repeat(height, samples), size_px)
    river_nodes = np.flatnonzero(area > region.river_nodes)
    if river_nodes.size == 0:
        return streams, np.zeros_like(streams)
    rows, columns = tree.draw(river_nodes, position)
    return streams, draw_lines(rows, columns, region.river_width_px, size_px=size_px)


def _flood(valley: FloatArray, share: float, rng: np.random.Generator) -> FloatArray:
    """Let water stand on about ``share`` of the land, near streams first."""
    if share == 0.0:
        return np.zeros_like(valley)
    low = valley + fractal_noise(rng, (60.0, 25.0, 10.0), (0.25, 0.15, 0.06), valley.shape[0])
    level = level_of(low, share)
    return smooth_step(low, level - 0.03, level + 0.03)


def _draw_main_road(travel_cost: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, IntArray]:
    """Draw one road from edge to opposite edge along the cheapest path."""
    side = travel_cost.shape[0]
    start, end = rng.integers(side // 8, side - side // 8, 2)
    across = bool(rng.random() < 0.5)
    root = start * side if across else start
    goal = (end + 1) * side - 1 if across else (side - 1) * side + end
    tree = least_cost_tree(travel_cost, np.array([root]))
    path, node = [int(goal)], int(goal)
    while tree.downstream[node] != node:
        node = int(tree.downstream[node])
        path.append(node)
    nodes = np.array(path)
    rows, columns = tree.draw(nodes, node_positions(tree, rng))
    return draw_lines(rows, columns, 0.6, size_px=side * LATTICE_STEP_PX), nodes
