"""Label grids that lie apart from the tiles, as the organisers' validation labels do: ``1.tif`` and so on."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from esdseg.errors import InputDataError
from esdseg.preprocessing.bad_tiles import BadTiles, shorten
from esdseg.sensors.sensors import RASTER_ENDINGS
from esdseg.tiles.discovery import RawTile, natural_key
from esdseg.tiles.reading import TileFileError, read_ground_truth

_NUMBERED = re.compile(r"(?:tile[ _-]?)?0*(\d+)", re.IGNORECASE)


def attach_labels(
    tiles: tuple[RawTile, ...], labels_dir: Path, bad: BadTiles
) -> tuple[list[RawTile], tuple[str, ...]]:
    """Give tiles the label grids of a folder, matched by number or by the tile's whole name.

    ``7.tif``, ``Tile7.tif`` and ``tile_07.tif`` belong to ``Tile7``. A grid of the folder stands in for the
    tile's own; a tile without one in the folder keeps its own, if it has any.

    Args:
        tiles: The tiles.
        labels_dir: Folder of label grids of 16 x 16 cells with codes 1 to 4.
        bad: Collects the tiles whose label grid cannot be read.

    Returns:
        The tiles in the same order, without those that are bad, and a sentence for each thing that the user
        may want to mend.

    Raises:
        InputDataError: The folder is missing, two files in it belong to one tile, none belongs to any, or,
            without ``skip_bad``, a label grid is wrong.
    """
    grids = _list_grids(labels_dir)
    attached, used = [], set()
    for tile in tiles:
        key = _key(tile.name)
        if key not in grids:
            attached.append(tile)
            continue
        used.add(key)
        try:
            read_ground_truth(grids[key])
        except TileFileError as error:
            bad.add(tile.name, str(error))
            continue
        attached.append(replace(tile, ground_truth=grids[key]))
    if not used:
        example = next(iter(grids.values())).name
        raise InputDataError(
            f"No label grid in {labels_dir} belongs to a tile: it holds {example} and the like, the tiles "
            f"are called {shorten([tile.name for tile in tiles], ', ')}. Name the grids after the tiles' "
            "numbers, such as 7.tif or Tile7.tif for Tile7."
        )
    return attached, tuple(_warnings(tiles, labels_dir, grids, used))


def _list_grids(folder: Path) -> dict[str, Path]:
    """Return the label grids of a folder by the tile that they belong to."""
    try:
        entries = sorted(folder.iterdir(), key=lambda path: natural_key(path.name))
    except OSError as error:
        reason = (error.strerror or "it cannot be listed").lower()
        raise InputDataError(
            f"The folder of labels {folder} cannot be read ({reason}); name the folder that holds 1.tif, "
            "2.tif and so on, or Tile1.tif."
        ) from None
    grids: dict[str, Path] = {}
    for path in entries:
        if path.name.startswith(".") or not re.search(f"{RASTER_ENDINGS}$", path.name, re.IGNORECASE):
            continue
        other = grids.setdefault(_key(path.stem), path)
        if other != path:
            raise InputDataError(
                f"{other} and {path.name} are labels of one tile; move one of the two elsewhere."
            )
    if not grids:
        raise InputDataError(
            f"{folder} holds no label grids; name the folder that holds 1.tif, 2.tif and so on, or Tile1.tif."
        )
    return grids


def _key(name: str) -> str:
    """Return what the names of a tile and of its label grid share: the number, or else the whole name."""
    numbered = _NUMBERED.fullmatch(name)
    return numbered[1] if numbered else name


def _warnings(
    tiles: tuple[RawTile, ...], labels_dir: Path, grids: dict[str, Path], used: set[str]
) -> Iterator[str]:
    without = [tile.name for tile in tiles if _key(tile.name) not in used]
    if without:
        own = [tile.name for tile in tiles if tile.name in without and tile.ground_truth is not None]
        kept = f" (with labels of their own: {shorten(own, ', ')})" if own else ""
        yield f"{labels_dir} has no label grid for {shorten(without, ', ')}{kept}."
    spare = [path.name for key, path in grids.items() if key not in used]
    if spare:
        yield f"{labels_dir}: {shorten(spare, ', ')} belong to no tile."
