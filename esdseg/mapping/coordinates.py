"""Coordinates as arrays: from rows and columns to metres, and from one reference system to another."""

from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform

DEGREES = "EPSG:4326"
"""Longitude and latitude on WGS 84."""

Floats = npt.NDArray[np.float64]


def apply_transform(affine: Affine, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Apply an affine transform, such as that from (column, row) to coordinates, to points.

    Args:
        affine: The transform.
        x: First coordinate of each point, (N,).
        y: Second coordinate, (N,).

    Returns:
        The transformed coordinates, (N,) each.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f


def reproject(source: Any, target: Any, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Move points from one reference system to another, each as WKT, EPSG code or rasterio's CRS.

    Args:
        source: The system of the points.
        target: The system of the result. In degrees, x is longitude and y latitude.
        x: X coordinate of each point, (N,).
        y: Y coordinate, (N,).

    Returns:
        Coordinates, (N,) each; infinite where the target has no such point.
    """
    if CRS.from_user_input(source) == CRS.from_user_input(target):
        return x, y
    moved_x, moved_y = transform(source, target, x, y)
    return np.asarray(moved_x, np.float64), np.asarray(moved_y, np.float64)
