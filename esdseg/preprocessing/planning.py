"""What a run would write, keep or refuse."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from esdseg.config.preprocessing import PreprocessConfig
from esdseg.errors import InputDataError, MissingResourceError
from esdseg.preprocessing.bad_tiles import refuse_bad_tile
from esdseg.preprocessing.survey import Survey, shorten, survey_tiles
from esdseg.store.manifest import Manifest, SplitName, TileEntry, read_manifest, store_path, tile_path
from esdseg.store.store import preprocess_command
from esdseg.store.tile_store import read_entry
from esdseg.store.verification import find_damage
from esdseg.system.memory import available_cores, available_memory_bytes, free_disk_bytes, megabytes
from esdseg.system.processes import ItemListener
from esdseg.tiles.cost import MEGABYTES_PER_RASTER, SECONDS_PER_RASTER, WORKER_MEGABYTES, Cost

Action = Literal["write", "keep"]


@dataclass(frozen=True)
class PlannedTile:
    """What a run does with one tile.

    Attributes:
        name: The tile's name.
        split: Where it goes.
        action: ``keep`` where it is stored already as it should be.
    """

    name: str
    split: SplitName
    action: Action


@dataclass(frozen=True)
class PreprocessPlan:
    """What a run would do, and what it would cost.

    Attributes:
        store: The store's folder.
        tiles: In natural order.
        channels: Names of the image's channels.
        cost: Estimate for the tiles to be written.
        warnings: What the user may want to mend first.
        skipped: What is wrong with each tile that is left out, by its name.
    """

    store: Path
    tiles: tuple[PlannedTile, ...]
    channels: tuple[str, ...]
    cost: Cost
    warnings: tuple[str, ...]
    skipped: Mapping[str, str]

    def to_json(self) -> dict[str, object]:
        """Return the plan as plain values."""
        return {
            "store": str(self.store),
            "tiles": [{"name": t.name, "split": t.split, "action": t.action} for t in self.tiles],
            "channels": list(self.channels),
            "cost": self.cost.to_json(),
            "warnings": list(self.warnings),
            "skipped": dict(self.skipped),
        }


def plan(
    config: PreprocessConfig, *, overwrite: bool = False, on_read: ItemListener | None = None
) -> PreprocessPlan:
    """Say what :func:`esdseg.preprocessing.preprocess.preprocess` would do; nothing is written.

    Args:
        config: The settings.
        overwrite: Whether the run would build the store afresh.
        on_read: Told of each tile that was read to see whether it, or its place in the store, is good.

    Raises:
        InputDataError: The run would be refused.
    """
    found = survey_tiles(config, on_read)
    store = store_path(config.processed_dir, config.subtile_size)
    stored = StoredTiles({}, {})
    redrawn = None
    if not overwrite:
        manifest = refuse_other_store(store, config, found)
        redrawn = describe_redrawn(manifest, found) if manifest is not None else None
        stored = stored_tiles(store, found, on_read)
    kept = stored.entries
    tiles = tuple(
        PlannedTile(tile.name, found.splits[tile.name], "keep" if tile.name in kept else "write")
        for tile in found.tiles
    )
    cost = estimate(found, sum(tile.action == "write" for tile in tiles), config.workers)
    return PreprocessPlan(
        store,
        tiles,
        found.channel_names,
        cost,
        (*found.warnings, *stored.warnings, *filter(None, [redrawn]), *cost_warnings(store, cost)),
        found.skipped,
    )


@dataclass(frozen=True)
class StoredTiles:
    """The tiles that are stored already just as a run would write them.

    Attributes:
        entries: What is known of each, by its name.
        damaged: What is wrong with each that has been damaged since, by its name; they are written again.
    """

    entries: dict[str, TileEntry]
    damaged: Mapping[str, str]

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each damaged tile."""
        return tuple(
            f"{name} was damaged and is written again: {fault}." for name, fault in self.damaged.items()
        )


def stored_tiles(store: Path, found: Survey, on_read: ItemListener | None = None) -> StoredTiles:
    """Find the tiles that are stored already, and see that each of their files is whole.

    Args:
        store: The store's folder.
        found: The raw tiles.
        on_read: Told of each stored tile whose checksums were verified.
    """
    stored: dict[str, TileEntry] = {}
    for tile in found.tiles:
        split = found.splits[tile.name]
        read = read_entry(tile_path(store, split, tile.name))
        if read is None:
            continue
        entry, tile_hash = read
        if tile_hash == found.config_hash and (entry.split, entry.source) == (
            split,
            found.fingerprints[tile.name],
        ):
            stored[tile.name] = entry
    damaged = {}
    for number, name in enumerate(stored, start=1):
        path = tile_path(store, found.splits[name], name)
        fault = find_damage(path, len(found.channels), found.settings.subtile_size)
        if fault is not None:
            damaged[name] = fault
        if on_read is not None:
            on_read(name, number, len(stored))
    return StoredTiles({name: stored[name] for name in stored if name not in damaged}, damaged)


def refuse_other_store(store: Path, config: PreprocessConfig, found: Survey) -> Manifest | None:
    """Make sure that a finished store was made with the same settings from the same set of tiles.

    Tiles that were left out as bad may come back, and others be left out; the split is then drawn anew.

    Returns:
        What the store says of itself, or ``None`` where it is not finished.

    Raises:
        InputDataError: It was not, with the differences and the command that builds it afresh; or a tile that
            comes back is still bad.
    """
    command = preprocess_command(config, "--overwrite")
    try:
        manifest, _ = read_manifest(store, command)
    except (FileNotFoundError, NotADirectoryError):
        return None
    differences = list(_differences(manifest, found))
    if differences:
        shown = "; ".join(differences[:4]) + ("; and more" if len(differences) > 4 else "")
        raise InputDataError(
            f"{store} was made otherwise ({shown}). Build it afresh by your command with --overwrite, such "
            f"as {command}, or choose another --processed-dir."
        )
    refuse_bad_returns(manifest, found)
    return manifest


def _differences(manifest: Manifest, found: Survey) -> Iterator[str]:
    for then, now in ((manifest.split, found.split_settings), (manifest.config, found.settings)):
        yield from _changed_settings(_flat(then), _flat(now))
    gone = [name for name in manifest.channels if name not in found.channel_names]
    new = [name for name in found.channel_names if name not in manifest.channels]
    if gone or new:
        example = f"without {gone[0]}" if gone else f"with {new[0]}"
        yield f"{len(manifest.channels)} channels there, {len(found.channels)} now, such as {example}"
    splits = {name: entry.split for name, entry in manifest.tiles.items()}
    expected = {*returned_tiles(manifest, found), *departed_tiles(manifest, found)}
    yield from (f"tile {name} is gone" for name in splits if name not in {*found.splits, *expected})
    yield from (f"tile {name} is new" for name in found.splits if name not in {*splits, *expected})
    if splits.keys() == found.splits.keys() and manifest.split == found.split_settings:
        # Other settings or tiles draw another split, which is no difference of its own.
        for name, split in splits.items():
            if split != found.splits[name]:
                yield f"tile {name} was in {split}, is in {found.splits[name]} now"


def _changed_settings(then: Mapping[str, object], now: Mapping[str, object]) -> Iterator[str]:
    for key in sorted(then.keys() | now.keys()):
        if then.get(key) != now.get(key):
            yield f"{key} was {then.get(key)}, is {now.get(key)} now"


def _flat(section: BaseModel) -> dict[str, object]:
    """Flatten settings to dotted keys."""
    flat: dict[str, object] = {}

    def walk(values: Mapping[str, object], prefix: str) -> None:
        for key, value in values.items():
            if isinstance(value, dict) and value:
                walk(value, f"{prefix}{key}.")
            else:
                flat[f"{prefix}{key}"] = value

    walk(section.model_dump(mode="json"), "")
    return flat


def estimate(found: Survey, num_tiles: int, workers: int | None) -> Cost:
    """Estimate what it takes to write tiles.

    Args:
        found: What is known of all tiles.
        num_tiles: How many of them are to be written.
        workers: Processes that were asked for.
    """
    rasters = Counter(channel.sensor for channel in found.channels)
    used = choose_workers(workers, num_tiles)
    megabytes_per_tile = sum(MEGABYTES_PER_RASTER[sensor] * number for sensor, number in rasters.items())
    return Cost(
        workers=used,
        seconds=ceil(num_tiles / used) * SECONDS_PER_RASTER * rasters.total(),
        memory_bytes=used * WORKER_MEGABYTES * 10**6,
        disk_bytes=round(num_tiles * megabytes_per_tile * 1e6),
    )


def choose_workers(workers: int | None, num_tiles: int) -> int:
    """Return how many processes to use: no more than tiles; by default one a core, as memory allows."""
    if workers is None:
        workers = available_cores()
        available = available_memory_bytes()
        if available:
            workers = min(workers, available // (WORKER_MEGABYTES * 10**6))
    return max(1, min(workers, num_tiles))


def check_room(store: Path, cost: Cost) -> None:
    """Refuse to begin what would fill the disk.

    Raises:
        MissingResourceError: The disk lacks even half of the room that the estimate asks for.
    """
    if free_disk_bytes(store) < cost.disk_bytes / 2:
        raise MissingResourceError(
            f"{_want_of_room(store, cost)} Free some, choose another --processed-dir, or store fewer "
            "channels with selected_bands and selected_dates."
        )


def cost_warnings(store: Path, cost: Cost) -> Iterator[str]:
    """Yield what of the estimate the machine may not bear."""
    if free_disk_bytes(store) < cost.disk_bytes:
        yield f"{_want_of_room(store, cost)} It may not suffice."
    available = available_memory_bytes()
    if 0 < available < cost.memory_bytes:
        yield (
            f"{cost.workers} processes will take up to {megabytes(cost.memory_bytes)} of memory, and "
            f"{megabytes(available)} are free; use fewer --workers."
        )


def _want_of_room(store: Path, cost: Cost) -> str:
    needed, free = megabytes(cost.disk_bytes), megabytes(free_disk_bytes(store))
    return f"{store} will take about {needed} of disk, and {free} are free there."


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
