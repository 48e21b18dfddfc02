"""Folds over labelled tiles: what a run trains on, what chooses its epoch, and what it is scored on."""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from esdseg.config.training import FoldsConfig
from esdseg.errors import InputDataError
from esdseg.sensors.classes import CLASSES, CONTEST_CLASS, PIXEL_SIZE_M, TILE_SIZE_PX
from esdseg.store.store import Store
from esdseg.tiles.discovery import natural_key
from esdseg.tiles.reading import Georeference

FloatArray = npt.NDArray[np.float64]

TOUCHING_M = float(PIXEL_SIZE_M)
"""Tiles with a gap below this touch: edges that are straight in one projection bend in another."""

_ELECTRIC = [label_class.index for label_class in CLASSES if label_class.code in (3, 4)]


@dataclass(frozen=True)
class FoldTile:
    """The properties of a tile that decide its fold.

    Attributes:
        name: The tile's name.
        class_1_share: Share of class 1 among the tile's known cells, 0 to 1.
        has_electricity: Whether any cell of the tile has electricity.
        group: Name of the tile's group; tiles of one group stay together.
    """

    name: str
    class_1_share: float
    has_electricity: bool
    group: str


@dataclass(frozen=True)
class Fold:
    """The tiles of one fold: each tuple is in natural order, and no tile is in two of them.

    Attributes:
        train_tiles: The only tiles that weights, channel statistics and class weights come from.
        inner_tiles: Tiles that choose the epoch.
        held_out_tiles: Tiles that are not looked at before the run is scored.
    """

    train_tiles: tuple[str, ...]
    inner_tiles: tuple[str, ...]
    held_out_tiles: tuple[str, ...]


def make_fold(config: FoldsConfig, store: Store) -> Fold:
    """Divide the labelled tiles of Train/ and Val/ as one fold's run needs them.

    Tiles that touch, or lie nearer to each other than the buffer, stay together: in one fold, and either all
    in training or all among the inner tiles.

    The division depends on the seed, the set of tiles and each tile's :class:`FoldTile` alone. Nothing else
    of a held-out tile enters the run, and the inner tiles do not depend on held-out tiles at all.

    Raises:
        InputDataError: There are too few tiles, or too few groups of neighbours.
    """
    tiles = labelled_tiles(store, config.buffer_km)
    if len(tiles) < 3:
        raise InputDataError(
            f"{store.path} has {len(tiles)} labelled tiles outside Test/; a fold needs three at least: to "
            "train on, to choose the epoch on, and to hold out. Add tiles, or train without folds."
        )
    folds = draw_folds(tiles, config.count, config.seed, f"--folds {config.count}")
    held_out = [tile for tile in tiles if folds[tile.name] == config.number]
    rest = [tile for tile in tiles if folds[tile.name] != config.number]
    # Each fold has its own random stream, so that its inner tiles do not depend on another fold.
    inner_seed = int(np.random.SeedSequence((config.seed, config.number)).generate_state(1)[0])
    groups = len({tile.group for tile in rest})
    if groups < 2:
        raise InputDataError(
            f"Fold {config.fold} of {store.path} leaves {len(rest)} tiles that all lie next to each other, "
            "and some must choose the epoch; use more folds, or a smaller --buffer-km."
        )
    parts = draw_folds(rest, min(config.inner_parts, groups), inner_seed, "folds.inner_parts")
    chosen = _choose_part(parts, [tile.name for tile in rest if tile.has_electricity])
    return Fold(
        train_tiles=tuple(tile.name for tile in rest if parts[tile.name] != chosen),
        inner_tiles=tuple(tile.name for tile in rest if parts[tile.name] == chosen),
        held_out_tiles=tuple(tile.name for tile in held_out),
    )


def _choose_part(parts: Mapping[str, int], lit_tiles: Sequence[str]) -> int:
    """Return the first part with lit cells where others are left to train on, else the first without."""
    lit_parts = {parts[tile] for tile in lit_tiles}
    if len(lit_parts) > 1:
        return min(lit_parts)
    return min(set(parts.values()) - lit_parts)


def labelled_tiles(store: Store, buffer_km: float = 0.0) -> tuple[FoldTile, ...]:
    """Describe the tiles of Train/ and Val/ that have a known cell, in natural order.

    Raises:
        InputDataError: There is a buffer, and no tile has coordinates; or a reference system is unusable.
    """
    tiles = []
    names = sorted((*store.tile_names("train"), *store.tile_names("val")), key=natural_key)
    labelled = [name for name in names if store.class_counts([name]).any()]
    places = {name: store.manifest.tiles[name].georeference for name in labelled}
    if buffer_km and not any(places.values()):
        raise InputDataError(
            f"{store.path}: --buffer-km needs to know where tiles lie, and no raster says so; leave it out."
        )
    groups = group_neighbours(places, buffer_km)
    for name in labelled:
        counts = store.class_counts([name])
        share = float(counts[CONTEST_CLASS.index] / counts.sum())
        tiles.append(FoldTile(name, share, bool(counts[_ELECTRIC].any()), groups[name]))
    return tuple(tiles)


def draw_folds(tiles: Sequence[FoldTile], count: int, seed: int, wish: str) -> dict[str, int]:
    """Spread tiles evenly over folds, alike in their share of class 1 and in having electricity.

    scikit-learn's ``StratifiedKFold`` draws over :func:`strata`; where tiles belong together its
    ``StratifiedGroupKFold`` does, which cannot keep the folds as even.

    Args:
        tiles: The tiles, in any order.
        count: Number of folds.
        seed: Seed of the draw.
        wish: The flag or setting that asks for so many folds, for the message.

    Returns:
        The fold of each tile, from 1 to ``count``.

    Raises:
        InputDataError: There are fewer tiles, or groups of tiles, than folds.
    """
    ordered = sorted(tiles, key=lambda tile: natural_key(tile.name))
    groups = [tile.group for tile in ordered]
    if len(set(groups)) < count:
        belonging = "" if len(set(groups)) == len(groups) else " that lie apart"
        smaller = ", a smaller --buffer-km" if belonging else ""
        raise InputDataError(
            f"{wish} needs {count} labelled tiles{belonging}, and there are {len(set(groups))}; use fewer "
            f"folds{smaller}, or add tiles."
        )
    # scikit-learn takes a second to import, and commands that need no folds should not wait for it.
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    alone = len(set(groups)) == len(groups)
    splitter = (StratifiedKFold if alone else StratifiedGroupKFold)(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A stratum with fewer tiles than folds is spread as far as it goes.
        warnings.filterwarnings("ignore", "The least populated class")
        split = list(splitter.split(groups, strata(ordered, count), None if alone else groups))
    return {
        ordered[position].name: number
        for number, (_, positions) in enumerate(split, start=1)
        for position in positions
    }


def strata(tiles: Sequence[FoldTile], count: int) -> list[int]:
    """Divide tiles into strata to be spread over ``count`` folds.

    Tiles with electricity and those without are each cut by their rank in the share of class 1 (ties by name)
    into as many bins as leave every bin ``count`` tiles, one bin at least. Where no stratum would have
    ``count`` tiles, all tiles are one.

    Returns:
        The stratum of each tile, in the order of ``tiles``.
    """
    numbers = [0] * len(tiles)
    first = 0
    for lit in (True, False):
        members = [position for position, tile in enumerate(tiles) if tile.has_electricity is lit]
        members.sort(key=lambda position: (tiles[position].class_1_share, natural_key(tiles[position].name)))
        bins = max(1, len(members) // count)
        for rank, position in enumerate(members):
            numbers[position] = first + rank * bins // len(members)
        first += bins
    largest = max((numbers.count(number) for number in set(numbers)), default=0)
    return numbers if largest >= count else [0] * len(tiles)


def group_neighbours(georeferences: Mapping[str, Georeference | None], buffer_km: float) -> dict[str, str]:
    """Group tiles that touch or lie nearer than a buffer, and the neighbours of neighbours with them.

    Args:
        georeferences: The georeference of each tile; a tile without one is a group of its own.
        buffer_km: Smallest distance between the edges of tiles of different groups, in kilometres.

    Returns:
        The name of each tile's group, which is the group's first tile in the order given.

    Raises:
        InputDataError: A tile's reference system cannot be placed on the globe.
    """
    group = {tile: tile for tile in georeferences}
    corners = tile_corners({tile: place for tile, place in georeferences.items() if place is not None})
    limit_m = max(buffer_km * 1000, TOUCHING_M)
    for tile, other in combinations(corners, 2):
        if group[tile] != group[other] and distance_m(corners[tile], corners[other]) < limit_m:
            kept, joined = group[tile], group[other]
            group = {name: kept if its_group == joined else its_group for name, its_group in group.items()}
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
    from rasterio.warp import transform

    degrees = {tile: _corners_in_degrees(tile, place) for tile, place in georeferences.items()}
    longitude, latitude = _middle(np.concatenate(list(degrees.values())))
    plane = CRS.from_string(f"+proj=aeqd +lat_0={latitude} +lon_0={longitude} +datum=WGS84 +units=m")
    return {
        tile: np.column_stack(transform("EPSG:4326", plane, points[:, 0], points[:, 1]))
        for tile, points in degrees.items()
    }


def tile_centres(georeferences: Mapping[str, Georeference | None]) -> dict[str, tuple[float, float]]:
    """Return longitude and latitude (WGS 84, degrees) of the middle of each tile whose place is known."""
    centres = {}
    for tile, place in georeferences.items():
        with suppress(InputDataError):
            if place is not None:
                centres[tile] = _middle(_corners_in_degrees(tile, place))
    return centres


def tile_bounds(
    georeferences: Mapping[str, Georeference | None],
) -> tuple[float, float, float, float] | None:
    """Return west, south, east and north (WGS 84, degrees) of all tiles whose place is known together.

    ``None`` where none is known. Tiles on both sides of the date line give bounds around the globe.
    """
    corners = []
    for tile, place in georeferences.items():
        with suppress(InputDataError):
            if place is not None:
                corners.append(_corners_in_degrees(tile, place))
    if not corners:
        return None
    (west, south), (east, north) = np.concatenate(corners).min(axis=0), np.concatenate(corners).max(axis=0)
    return round(float(west), 6), round(float(south), 6), round(float(east), 6), round(float(north), 6)


def _corners_in_degrees(tile: str, place: Georeference) -> FloatArray:
    """Return longitudes and latitudes (4, 2) of a tile's corners in the order of the outline."""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError
    from rasterio.warp import transform

    outline = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64) * TILE_SIZE_PX
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
    return np.column_stack([longitudes, latitudes])


def distance_m(first: FloatArray, second: FloatArray) -> float:
    """Return the smallest distance between two convex outlines (N, 2), 0 where they overlap."""
    if _overlap(first, second):
        return 0.0
    return min(_to_edges(first, second), _to_edges(second, first))


def _middle(degrees: FloatArray) -> tuple[float, float]:
    """Return longitude and latitude of the mean direction, also across the date line."""
    longitudes, latitudes = np.radians(degrees).T
    # The mean of the directions from the globe's centre, since longitudes jump at the date line.
    x = np.mean(np.cos(latitudes) * np.cos(longitudes))
    y = np.mean(np.cos(latitudes) * np.sin(longitudes))
    z = np.mean(np.sin(latitudes))
    return float(np.degrees(np.arctan2(y, x))), float(np.degrees(np.arctan2(z, np.hypot(x, y))))


def _overlap(first: FloatArray, second: FloatArray) -> bool:
    """Return whether convex outlines overlap: no edge's normal separates them (separating axis theorem)."""
    for outline in (first, second):
        edges = np.roll(outline, -1, axis=0) - outline
        normals = np.column_stack([-edges[:, 1], edges[:, 0]])
        ours, theirs = first @ normals.T, second @ normals.T
        if ((ours.max(axis=0) < theirs.min(axis=0)) | (theirs.max(axis=0) < ours.min(axis=0))).any():
            return False
    return True


def _to_edges(points: FloatArray, outline: FloatArray) -> float:
    """Return the smallest distance from any of the points (N, 2) to any edge of the outline (M, 2)."""
    starts, edges = outline[None], (np.roll(outline, -1, axis=0) - outline)[None]
    offsets = points[:, None] - starts
    along = np.clip((offsets * edges).sum(axis=-1) / (edges**2).sum(axis=-1), 0, 1)
    return float(np.linalg.norm(offsets - along[..., None] * edges, axis=-1).min())
