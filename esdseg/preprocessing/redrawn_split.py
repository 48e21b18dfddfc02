"""What becomes of a store's split where tiles that were left out as bad come back, or others go bad."""

from esdseg.preprocessing.bad_tiles import refuse_bad_tile
from esdseg.preprocessing.survey import Survey
from esdseg.preprocessing.usable_tiles import shorten
from esdseg.store.manifest import Manifest


def returned_tiles(manifest: Manifest, found: Survey) -> tuple[str, ...]:
    """Return the tiles that the store was made without, being bad, and that are to be stored now."""
    return tuple(name for name in found.splits if name in manifest.skipped and name not in manifest.tiles)


def departed_tiles(manifest: Manifest, found: Survey) -> tuple[str, ...]:
    """Return the stored tiles that are to be left out now, since they have gone bad."""
    return tuple(name for name in manifest.tiles if name in found.skipped and name not in found.splits)


def refuse_bad_returns(manifest: Manifest, found: Survey) -> None:
    """Make sure that tiles that come back are good, before the store is changed for their sake.

    Raises:
        InputDataError: One is still bad.
    """
    returned = returned_tiles(manifest, found)
    for tile in found.tiles:
        if tile.name in returned:
            refuse_bad_tile(tile, found.channels)


def describe_redrawn(manifest: Manifest, found: Survey) -> str | None:
    """Say what a changed set of good tiles does to the split; ``None`` where nothing."""
    returned, departed = returned_tiles(manifest, found), departed_tiles(manifest, found)
    if not returned and not departed:
        return None
    parts = [f"{shorten(returned, ', ')} came back"] if returned else []
    parts += [f"{shorten(departed, ', ')} went bad"] if departed else []
    moved = [
        f"{name} from {entry.split} to {found.splits[name]}"
        for name, entry in manifest.tiles.items()
        if name in found.splits and entry.split != found.splits[name]
    ]
    changed = f"; moved: {shorten(moved, ', ')}" if moved else "; no other tile moved"
    return (
        f"The split was drawn anew over the tiles that are kept: {' and '.join(parts)}{changed}. Train "
        "again before you evaluate: earlier networks may have seen tiles that are for validation now."
    )
