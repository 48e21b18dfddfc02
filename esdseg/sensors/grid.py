"""The label grid: the unit in which splits, samples, models, maps and error bars are counted.

Source: the contest's description of the DSE track (DOI 10.21227/vfbk-6325).
"""

CELL_SIZE_PX = 50
"""Side of a label cell in raster pixels; a pixel is about 10 m, a cell 500 m."""

GRID_SIZE = 16
"""Label cells along each side of a tile."""

TILE_SIZE_PX = CELL_SIZE_PX * GRID_SIZE
"""Side of a tile in raster pixels: 800."""

PIXEL_SIZE_M = 10.0
"""Ground size of a raster pixel in metres (all sensors are resampled to it)."""

SUBTILE_SIZES = tuple(size for size in range(1, GRID_SIZE + 1) if GRID_SIZE % size == 0)
"""Sides of a subtile in label cells that divide a tile: 1, 2, 4, 8, 16."""
