"""An area of the ground, divided into label cells: what scenes are cut to and maps are made of."""

from dataclasses import dataclass

from affine import Affine

from esdseg.sensors.classes import CELL_SIZE_PX, PIXEL_SIZE_M
from esdseg.tiles.reading import Georeference

CELL_SIZE_M = CELL_SIZE_PX * PIXEL_SIZE_M
"""Side of a label cell."""


@dataclass(frozen=True)
class CellGrid:
    """A rectangle of label cells in a projected reference system whose unit is the metre.

    Rows run from north to south, columns from west to east.

    Attributes:
        crs_wkt: The reference system as WKT.
        left_m: X coordinate of the western edge.
        top_m: Y coordinate of the northern edge.
        rows: Cells from north to south, 1 or more.
        columns: Cells from west to east, 1 or more.
    """

    crs_wkt: str
    left_m: float
    top_m: float
    rows: int
    columns: int

    @property
    def cell_transform(self) -> Affine:
        """The transform from (column, row) of cells to coordinates."""
        return Affine(CELL_SIZE_M, 0.0, self.left_m, 0.0, -CELL_SIZE_M, self.top_m)

    @property
    def georeference(self) -> Georeference:
        """Where the area lies, at pixels of 10 m, as a tile's rasters say it."""
        transform = (PIXEL_SIZE_M, 0.0, self.left_m, 0.0, -PIXEL_SIZE_M, self.top_m)
        return Georeference(self.crs_wkt, transform)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right and top in metres."""
        right = self.left_m + self.columns * CELL_SIZE_M
        return self.left_m, self.top_m - self.rows * CELL_SIZE_M, right, self.top_m

    def part(self, row: int, column: int, rows: int, columns: int) -> "CellGrid":
        """Return a rectangle of the same lattice; it may reach beyond this one.

        Args:
            row: Its first row, counted from this grid's.
            column: Its first column.
            rows: How many rows it has.
            columns: How many columns it has.
        """
        left, top = self.left_m + column * CELL_SIZE_M, self.top_m - row * CELL_SIZE_M
        return CellGrid(self.crs_wkt, left, top, rows, columns)
