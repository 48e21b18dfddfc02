"""How an area is divided: into blocks that are read and predicted in one go, and into windows."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esdseg.sensors.classes import CELL_SIZE_PX, GRID_SIZE
from esdseg.tiles.area import CellGrid

if TYPE_CHECKING:
    from esdseg.prediction.windows import Passes

BLOCK_CELLS = GRID_SIZE
"""Side of a block: what a tile covers, since sky and nights are judged by it as by a tile when training."""

LARGEST_WINDOW = GRID_SIZE
"""Side in cells of the largest window: networks are trained on parts of tiles."""


@dataclass(frozen=True)
class Cells:
    """A rectangle of label cells of an area.

    Attributes:
        row: First row, counted from the area's; negative above it.
        column: First column.
        rows: Number of rows.
        columns: Number of columns.
    """

    row: int
    column: int
    rows: int
    columns: int

    @classmethod
    def of(cls, grid: CellGrid) -> "Cells":
        """Return all cells of an area."""
        return cls(0, 0, grid.rows, grid.columns)

    @property
    def bottom(self) -> int:
        """The row below the last."""
        return self.row + self.rows

    @property
    def right(self) -> int:
        """The column right of the last."""
        return self.column + self.columns

    def overlap(self, other: "Cells") -> "Cells | None":
        """Return the cells that both hold; ``None`` where there are none."""
        row, column = max(self.row, other.row), max(self.column, other.column)
        rows, columns = min(self.bottom, other.bottom) - row, min(self.right, other.right) - column
        return Cells(row, column, rows, columns) if rows > 0 and columns > 0 else None

    def span(self, other: "Cells") -> "Cells":
        """Return the smallest rectangle around both."""
        row, column = min(self.row, other.row), min(self.column, other.column)
        bottom, right = max(self.bottom, other.bottom), max(self.right, other.right)
        return Cells(row, column, bottom - row, right - column)

    def within(self, outer: "Cells", unit: int = 1) -> tuple[slice, slice]:
        """Return where the rectangle lies in an array of ``outer``, of ``unit`` values a cell and side."""
        top, left = (self.row - outer.row) * unit, (self.column - outer.column) * unit
        return slice(top, top + self.rows * unit), slice(left, left + self.columns * unit)

    def pixels_within(self, outer: "Cells") -> tuple[slice, slice]:
        """Return where the rectangle lies in an image of ``outer``."""
        return self.within(outer, CELL_SIZE_PX)


@dataclass(frozen=True)
class Block:
    """A part of an area, and the windows that begin in it.

    Attributes:
        name: What it is called, such as ``row 0, column 16``, or a tile's name.
        domain: The cells over which windows are laid: the whole area, or a tile that lies alone.
        core: The block's own cells; those of all blocks are the area.
    """

    name: str
    domain: Cells
    core: Cells

    def corners(self, window_size: int, passes: "Passes") -> list[tuple[int, int]]:
        """Return row and column of the first cell of each window that begins in the block."""
        rows = (self.domain.row + row for row in passes.window_starts(window_size, self.domain.rows))
        columns = [
            start
            for column in passes.window_starts(window_size, self.domain.columns)
            if self.core.column <= (start := self.domain.column + column) < self.core.right
        ]
        return [
            (row, column) for row in rows if self.core.row <= row < self.core.bottom for column in columns
        ]

    def extent(self, window_sizes: Collection[int], passes: "Passes") -> Cells:
        """Return the cells that the block and its windows cover; they may reach beyond the area."""
        extent = self.core
        for size in window_sizes:
            for row, column in self.corners(size, passes):
                extent = extent.span(Cells(row, column, size, size))
        return extent


def divide(domain: Cells) -> tuple[Block, ...]:
    """Divide a rectangle into blocks of 16 x 16 cells, row by row.

    A remainder of less than half a block at the lower or right edge belongs to the block before it.
    """
    return tuple(
        Block(
            f"row {domain.row + row}, column {domain.column + column}",
            domain,
            Cells(domain.row + row, domain.column + column, rows, columns),
        )
        for row, rows in _pieces(domain.rows)
        for column, columns in _pieces(domain.columns)
    )


def divide_tiles(tiles: Collection[Cells]) -> tuple[Block, ...]:
    """Divide what tiles cover into blocks; windows are laid over tiles that touch each other together.

    Where such tiles are no full rectangle, blocks that no tile covers are among them: windows that begin in
    these reach into tiles to their right and below.
    """
    domains: list[Cells] = []
    for tile in sorted(set(tiles), key=lambda cells: (cells.row, cells.column)):
        domain = tile
        while touching := [other for other in domains if _touch(domain, other)]:
            for other in touching:
                domains.remove(other)
                domain = domain.span(other)
        domains.append(domain)
    blocks = (block for domain in domains for block in divide(domain))
    needed = (block for block in blocks if any(_reach(block).overlap(tile) for tile in tiles))
    return tuple(sorted(needed, key=lambda block: (block.core.row, block.core.column)))


def _reach(block: Block) -> Cells:
    """Return the cells that the largest windows which begin in a block can cover."""
    core, further = block.core, LARGEST_WINDOW - 1
    return Cells(core.row, core.column, core.rows + further, core.columns + further)


def _touch(first: Cells, second: Cells) -> bool:
    """Return whether two rectangles overlap, or touch at an edge or a corner."""
    wider = Cells(first.row - 1, first.column - 1, first.rows + 2, first.columns + 2)
    return wider.overlap(second) is not None


def _pieces(cells: int) -> Iterator[tuple[int, int]]:
    """Yield start and length of each piece of a side."""
    count = max(1, (cells + BLOCK_CELLS // 2) // BLOCK_CELLS)
    for piece in range(count):
        start = piece * BLOCK_CELLS
        yield start, cells - start if piece == count - 1 else BLOCK_CELLS
