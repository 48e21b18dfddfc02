"""The plan of a run: which tiles it writes or keeps, what that costs, and which stores it refuses."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from esdseg.config.preprocessing import PreprocessConfig
from esdseg.errors import InputDataError, MissingResourceError
from esdseg.preprocessing.bad_tiles import refuse_bad_tile, shorten
from esdseg.preprocessing.survey import Survey, survey_tiles
from esdseg.store.commands import preprocess_command
from esdseg.store.manifest import Manifest, SplitName, TileEntry, read_manifest, store_path, tile_path
from esdseg.store.tile_store import read_entry
from esdseg.store.verification import find_damage
from esdseg.system.memory import available_memory_bytes, free_disk_bytes, megabytes
from esdseg.system.processes import ItemListener
from esdseg.tiles.cost import Cost, estimate_cost
from esdseg.tiles.discovery import union_of_dates
from esdseg.tiles.values import subtracted_offsets

MOST_DIFFERENCES = 4
"""Differences between a store and a run that a refusal names."""


@dataclass(frozen=True)
class PlannedTile:
    """What a run does with one tile.

    Attributes:
        name: The tile's name.
        split: The split that the tile goes to.
        action: ``keep`` where the tile is stored already as it should be.
    """

    name: str
    split: SplitName
    action: Literal["write", "keep"]


@dataclass(frozen=True)
class PreprocessPlan:
    """What a run does, and what it costs.

    Attributes:
        store: The store's folder.
        survey: The raw tiles, their split and their bands.
        kept: The manifest's entry of each tile that is stored already as it should be, by name.
        is_redrawn: Whether tiles of a finished store come back or go bad, so that its split is drawn anew.
        cost: Estimate for the tiles to be written.
        warnings: One sentence for each thing that the user may want to mend first.
    """

    store: Path
    survey: Survey
    kept: Mapping[str, TileEntry]
    is_redrawn: bool
    cost: Cost
    warnings: tuple[str, ...]

    @property
    def tiles(self) -> tuple[PlannedTile, ...]:
        """The tiles in natural order."""
        return tuple(
            PlannedTile(name, split, "keep" if name in self.kept else "write")
            for name, split in self.survey.splits.items()
        )

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers of the image of the tile that has the most."""
        return tuple(layer.name for layer in self.survey.most_layers)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is done to values beyond the recipe, as far as dates tell."""
        dates = union_of_dates(self.survey.tiles, self.survey.sensors)
        offset = self.survey.settings.reflectance_offset
        return tuple(subtracted_offsets(dates, self.survey.sensors, offset))

    @property
    def skipped(self) -> Mapping[str, str]:
        """What is wrong with each tile that is left out, by its name."""
        return self.survey.skipped

    def to_json(self) -> dict[str, object]:
        """Return the plan as plain values."""
        return {
            "store": str(self.store),
            "tiles": [{"name": t.name, "split": t.split, "action": t.action} for t in self.tiles],
            "layers": list(self.layers),
            "cost": asdict(self.cost),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            "skipped": dict(self.skipped),
        }


def plan(
    config: PreprocessConfig, *, overwrite: bool = False, on_read: ItemListener | None = None
) -> PreprocessPlan:
    """Return what :func:`esdseg.preprocessing.preprocess.preprocess` would do; nothing is written.

    Args:
        config: The settings.
        overwrite: Whether the run would build the store afresh.
        on_read: Called after each tile that was verified, raw or in the store, with its name, the number
            verified so far and the number of all.

    Raises:
        InputDataError: The run would be refused.
    """
    planned = plan_run(config, survey_tiles(config, on_read), overwrite=overwrite, on_read=on_read)
    return replace(planned, warnings=(*planned.warnings, *cost_warnings(planned.store, planned.cost)))


def plan_run(
    config: PreprocessConfig, survey: Survey, *, overwrite: bool, on_read: ItemListener | None
) -> PreprocessPlan:
    """Compare the raw tiles with what is stored; see :func:`plan`, which adds warnings of the cost."""
    store = store_path(config.processed_dir, config.subtile_size)
    kept: dict[str, TileEntry] = {}
    damaged: dict[str, str] = {}
    redrawn = None
    if not overwrite:
        redrawn = _compare_with_finished_store(store, config, survey)
        kept, damaged = _stored_tiles(store, survey, on_read)
    return PreprocessPlan(
        store=store,
        survey=survey,
        kept=kept,
        is_redrawn=redrawn is not None,
        cost=estimate_cost(len(survey.tiles) - len(kept), survey.most_layers, config.workers),
        warnings=(
            *survey.warnings,
            *(f"{name} was damaged and is written again: {fault}." for name, fault in damaged.items()),
            *([redrawn] if redrawn else []),
        ),
    )


def _stored_tiles(
    store: Path, survey: Survey, on_read: ItemListener | None
) -> tuple[dict[str, TileEntry], dict[str, str]]:
    """Find the tiles that are stored as a run would write them, and verify their checksums.

    Returns:
        The entries of whole tiles, and what is wrong with each damaged tile; both by name.
    """
    stored: dict[str, TileEntry] = {}
    for name, split in survey.splits.items():
        entry, tile_hash = read_entry(tile_path(store, split, name)) or (None, None)
        if entry is None or tile_hash != survey.config_hash:
            continue
        if (entry.split, entry.source) == (split, survey.fingerprints[name]):
            stored[name] = entry
    damaged = {}
    layers = {tile.name: len(survey.layers(tile)) for tile in survey.tiles}
    for number, name in enumerate(stored, start=1):
        path = tile_path(store, survey.splits[name], name)
        fault = find_damage(path, layers[name], survey.settings.subtile_size)
        if fault is not None:
            damaged[name] = fault
        if on_read is not None:
            on_read(name, number, len(stored))
    return {name: entry for name, entry in stored.items() if name not in damaged}, damaged


def _compare_with_finished_store(store: Path, config: PreprocessConfig, survey: Survey) -> str | None:
    """Refuse to change a finished store that was made with other settings or from another set of tiles.

    Tiles that were left out as bad may come back, and others be left out; the split is then drawn anew.

    Returns:
        A sentence on what a redrawn split changes; ``None`` where the split stays or no store is finished.

    Raises:
        InputDataError: The store differs, with the differences and the command that builds it afresh; or a
            tile that comes back is still bad.
    """
    command = preprocess_command(config, "--overwrite")
    try:
        manifest, _ = read_manifest(store, command)
    except (FileNotFoundError, NotADirectoryError):
        return None
    returned = [name for name in survey.splits if name in manifest.skipped and name not in manifest.tiles]
    departed = [name for name in manifest.tiles if name in survey.skipped and name not in survey.splits]
    differences = list(_differences(manifest, survey, {*returned, *departed}))
    if differences:
        shown = "; ".join(differences[:MOST_DIFFERENCES])
        more = "; and more" if len(differences) > MOST_DIFFERENCES else ""
        raise InputDataError(
            f"{store} was made otherwise ({shown}{more}). Build it afresh by your command with --overwrite, "
            f"such as {command}, or choose another --processed-dir."
        )
    for tile in survey.tiles:
        if tile.name in returned:
            refuse_bad_tile(tile, survey.bands, config)
    return _describe_redrawn(manifest, survey, returned, departed) if returned or departed else None


def _differences(manifest: Manifest, survey: Survey, expected: set[str]) -> Iterator[str]:
    """Yield what a store has otherwise than a run would write it, but for the expected tiles."""
    for then, now in (
        (manifest.split, survey.split_settings),
        (manifest.config, survey.settings),
        (manifest.sensors, survey.sensors),
    ):
        before, after = dict(_dotted(then)), dict(_dotted(now))
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                yield f"{key} was {before.get(key)}, is {after.get(key)} now"
    stored, wanted = (
        [f"{sensor} {band}" for sensor, kept in bands.items() for band in kept]
        for bands in (manifest.bands, survey.bands)
    )
    gone = [name for name in stored if name not in wanted]
    new = [name for name in wanted if name not in stored]
    if gone or new:
        example = f"without {gone[0]}" if gone else f"with {new[0]}"
        yield f"{len(stored)} bands there, {len(wanted)} now, such as {example}"
    splits = {name: entry.split for name, entry in manifest.tiles.items()}
    yield from (f"tile {name} is gone" for name in splits if name not in {*survey.splits, *expected})
    yield from (f"tile {name} is new" for name in survey.splits if name not in {*splits, *expected})
    if splits.keys() == survey.splits.keys() and manifest.split == survey.split_settings:
        # Other settings or tiles draw another split, which is no difference of its own.
        for name, split in splits.items():
            if split != survey.splits[name]:
                yield f"tile {name} was in {split}, is in {survey.splits[name]} now"


def _dotted(section: BaseModel | Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the dotted key and the value of each setting."""
    values = section.model_dump(mode="json") if isinstance(section, BaseModel) else section
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _describe_redrawn(
    manifest: Manifest, survey: Survey, returned: Sequence[str], departed: Sequence[str]
) -> str:
    reasons = [f"{shorten(returned, ', ')} came back"] if returned else []
    reasons += [f"{shorten(departed, ', ')} went bad"] if departed else []
    moved = [
        f"{name} from {entry.split} to {survey.splits[name]}"
        for name, entry in manifest.tiles.items()
        if name in survey.splits and entry.split != survey.splits[name]
    ]
    changed = f"; moved: {shorten(moved, ', ')}" if moved else "; no other tile moved"
    return (
        f"The split was drawn anew over the tiles that are kept: {' and '.join(reasons)}{changed}. Train "
        "again before you evaluate: earlier networks may have seen tiles that are for validation now."
    )


def check_room(store: Path, cost: Cost) -> None:
    """Refuse to begin a run that would fill the disk.

    Raises:
        MissingResourceError: The disk lacks even half of the room that the estimate asks for.
    """
    if free_disk_bytes(store) < cost.disk_bytes / 2:
        raise MissingResourceError(
            f"{_disk_needed_and_free(store, cost)} Free some, choose another --processed-dir, or store fewer "
            "bands with selected_bands."
        )


def cost_warnings(store: Path, cost: Cost) -> tuple[str, ...]:
    """Return a sentence for each estimate that the machine may not bear: disk and memory."""
    warnings = []
    if free_disk_bytes(store) < cost.disk_bytes:
        warnings.append(f"{_disk_needed_and_free(store, cost)} It may not suffice.")
    available = available_memory_bytes()
    if available < cost.memory_bytes:
        warnings.append(
            f"{cost.workers} processes will take up to {megabytes(cost.memory_bytes)} of memory, and "
            f"{megabytes(available)} are free; use fewer --workers."
        )
    return tuple(warnings)


def _disk_needed_and_free(store: Path, cost: Cost) -> str:
    needed, free = megabytes(cost.disk_bytes), megabytes(free_disk_bytes(store))
    return f"{store} will take about {needed} of disk, and {free} are free there."
