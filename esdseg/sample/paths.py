"""Networks of lines over a tile: streams and roads as trees of least-cost paths on a 50 m lattice."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import csgraph

from esdseg.sample.fields import FloatArray
from esdseg.sensors.grid import TILE_SIZE_PX

LATTICE_STEP_PX = 5
"""Distance of lattice nodes: 50 m."""

LATTICE_SIZE = TILE_SIZE_PX // LATTICE_STEP_PX

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PathTree:
    """A tree of paths over the lattice's nodes, counted row by row.

    Attributes:
        downstream: For each node the next one towards its root; a root names itself.
    """

    downstream: IntArray

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
        along = np.linspace(0.0, 1.0, 2 * LATTICE_STEP_PX, endpoint=False)[None, :, None]
        start, end = positions_px[nodes][:, None], positions_px[self.downstream[nodes]][:, None]
        points = (start + along * (end - start)).reshape(-1, 2)
        pixels = np.clip(points.astype(np.int64), 0, TILE_SIZE_PX - 1)
        return pixels[:, 0], pixels[:, 1]


def least_cost_tree(cost: FloatArray, roots: IntArray) -> PathTree:
    """Join every node to its cheapest root by Dijkstra's algorithm over the eight neighbours.

    Args:
        cost: Cost of a step at each node, positive, ``(LATTICE_SIZE, LATTICE_SIZE)``.
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
    """Place the nodes in the tile, jittered and then smoothed along the paths so that lines wind.

    Returns:
        Row and column in pixels, ``(nodes, 2)``.
    """
    row, column = np.divmod(np.arange(LATTICE_SIZE**2), LATTICE_SIZE)
    position = (np.stack([row, column], axis=1) + rng.uniform(0.0, 1.0, (row.size, 2))) * LATTICE_STEP_PX
    for _ in range(3):
        position = 0.5 * (position + position[tree.downstream])
    return position
