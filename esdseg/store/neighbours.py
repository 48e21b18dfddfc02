"""Which tiles lie so near each other that they must not be parted, told from their coordinates."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import numpy.typing as npt

from esdseg.errors import InputDataError
from esdseg.sensors.grid import PIXEL_SIZE_M, TILE_SIZE_PX
from esdseg.tiles.reading import Georeference

FloatArray = npt.NDArray[np.float64]

TOUCHING_M = float(PIXEL_SIZE_M)
"""A gap of less than a pixel counts as none: edges that are straight in one projection bend in another."""


def group_neighbours(georeferences: Mapping[str, Georeference | None], buffer_km: float) -> dict[str, str]:
    """Group tiles that touch or lie nearer than a buffer, and the neighbours of neighbours with them.

    Args:
        georeferences: Where each tile lies; a tile without coordinates is a group of its own.
        buffer_km: Smallest distance between the edges of tiles of different groups, in kilometres.

    Returns:
        For each tile the name of its group: that of the group's first tile, in the order given.

    Raises:
        InputDataError: A tile's reference system cannot be placed on the globe.
    """
    group = {tile: tile for tile in georeferences}
    corners = tile_corners({tile: place for tile, place in georeferences.items() if place is not None})
    limit_m = max(buffer_km * 1000, TOUCHING_M)
    for one, other in combinations(corners, 2):
        if group[one] != group[other] and distance_m(corners[one], corners[other]) < limit_m:
            kept, joined = group[one], group[other]
            group = {tile: kept if name == joined else name for tile, name in group.items()}
    first: dict[str, str] = {}
    return {tile: first.setdefault(name, tile) for tile, name in group.items()}


def tile_corners(georeferences: Mapping[str, Georeference]) -> dict[str, FloatArray]:
    """Return the corners of tiles in one plane, in metres, each (4, 2) in the order of the outline.

    The plane is the azimuthal equidistant projection around the tiles' middle, whose distances are wrong by
    0.4 % at most within 1,000 km of it (sin(x) / x of the angle x; Snyder, Map Projections, 1987, p. 191).

    Raises:
        InputDataError: A reference system is unknown, or cannot be placed on the globe.
    """
    if not georeferences:
        return {}
    # rasterio takes a while to import, and most stores have no coordinates.
    from rasterio.crs import CRS
    from rasterio.errors import CRSError
    from rasterio.warp import transform

    outline = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64) * TILE_SIZE_PX
    degrees: dict[str, FloatArray] = {}
    for tile, place in georeferences.items():
        a, b, c, d, e, f = place.transform
        x, y = outline @ (a, b) + c, outline @ (d, e) + f
        try:
            system = CRS.from_user_input(place.crs_wkt)
            is_on_globe = system.is_projected or system.is_geographic
        except CRSError:
            is_on_globe = False
        if not is_on_globe:
            raise InputDataError(
                f"{tile} lies in a reference system that cannot be placed on the globe "
                f"({place.crs_wkt[:60]}); correct the CRS of its rasters and run `esdseg preprocess` again."
            )
        longitudes, latitudes = transform(system, "EPSG:4326", x, y)
        degrees[tile] = np.column_stack([longitudes, latitudes])
    longitude, latitude = _middle(np.concatenate(list(degrees.values())))
    plane = CRS.from_string(f"+proj=aeqd +lat_0={latitude} +lon_0={longitude} +datum=WGS84 +units=m")
    return {
        tile: np.column_stack(transform("EPSG:4326", plane, points[:, 0], points[:, 1]))
        for tile, points in degrees.items()
    }


def distance_m(one: FloatArray, other: FloatArray) -> float:
    """Return the smallest distance between two convex outlines (N, 2), 0 where they overlap."""
    if _overlap(one, other):
        return 0.0
    return min(_to_edges(one, other), _to_edges(other, one))


def _middle(degrees: FloatArray) -> tuple[float, float]:
    """Return longitude and latitude of the mean direction, which knows no date line."""
    longitudes, latitudes = np.radians(degrees).T
    x, y, z = (
        np.mean(np.cos(latitudes) * np.cos(longitudes)),
        np.mean(np.cos(latitudes) * np.sin(longitudes)),
        np.mean(np.sin(latitudes)),
    )
    return float(np.degrees(np.arctan2(y, x))), float(np.degrees(np.arctan2(z, np.hypot(x, y))))


def _overlap(one: FloatArray, other: FloatArray) -> bool:
    """Say whether convex outlines overlap: no edge's normal separates them (separating axis theorem)."""
    for outline in (one, other):
        edges = np.roll(outline, -1, axis=0) - outline
        normals = np.column_stack([-edges[:, 1], edges[:, 0]])
        mine, theirs = one @ normals.T, other @ normals.T
        if ((mine.max(axis=0) < theirs.min(axis=0)) | (theirs.max(axis=0) < mine.min(axis=0))).any():
            return False
    return True


def _to_edges(points: FloatArray, outline: FloatArray) -> float:
    """Return the smallest distance from any of the points (N, 2) to any edge of the outline (M, 2)."""
    starts, edges = outline[None], (np.roll(outline, -1, axis=0) - outline)[None]
    offsets = points[:, None] - starts
    along = np.clip((offsets * edges).sum(axis=-1) / (edges**2).sum(axis=-1), 0, 1)
    return float(np.linalg.norm(offsets - along[..., None] * edges, axis=-1).min())
