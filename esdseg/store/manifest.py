"""The manifest of a processed store, which says what it holds, and the places of the files beside it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, ValidationError, model_validator

from esdseg.config.preprocessing import PreprocessConfig, Recipe, ReflectanceOffset
from esdseg.config.section import Fraction, Section, Seed, SelectedBands, SubtileSize, first_fault
from esdseg.errors import ESDSegError, InputDataError
from esdseg.sensors.acquisitions import Acquisition
from esdseg.sensors.channels import check_bands
from esdseg.sensors.classes import GRID_SIZE, NUM_CLASSES, UNKNOWN_LABEL
from esdseg.sensors.sensors import SensorTable
from esdseg.system.files import write_text
from esdseg.tiles.discovery import RENAME_TILE, is_tile_name
from esdseg.tiles.reading import Georeference

SplitName = Literal["train", "val", "test"]

SPLIT_FOLDERS: dict[SplitName, str] = {"train": "Train", "val": "Val", "test": "Test"}
"""Folder of each split's tiles. ``test`` holds the labelled tiles that no choice may see, and all tiles
without ground truth."""

MANIFEST_NAME = "manifest.json"
UNFINISHED_NAME = ".unfinished"
"""Folder of tiles that are still being written; never read, cleaned up by the next run."""

FORMAT_VERSION = 3
"""Version of the manifest and of a tile's attributes; stores of other versions are refused."""

CELLS = GRID_SIZE**2
CellCount = Annotated[int, Field(ge=0, le=CELLS)]


def store_path(processed_dir: Path, subtile_size: int) -> Path:
    """Return the folder of the store with subtiles of ``subtile_size`` cells, such as ``4x4``."""
    return processed_dir / f"{subtile_size}x{subtile_size}"


def tile_path(store: Path, split: SplitName, tile: str) -> Path:
    """Return the folder of a tile's Zarr group.

    Raises:
        InputDataError: The name would lead out of the store.
    """
    return store / SPLIT_FOLDERS[split] / f"{checked_tile_name(tile)}.zarr"


def checked_tile_name(tile: str) -> str:
    """Return ``tile`` if it can name a folder of the store and nothing else.

    Raises:
        InputDataError: It cannot; see :func:`esdseg.tiles.discovery.is_tile_name`.
    """
    if not is_tile_name(tile):
        raise InputDataError(f"A tile cannot be called {tile!r}. {RENAME_TILE}")
    return tile


class StoreSettings(Section):
    """The settings that shape a store's images."""

    subtile_size: SubtileSize
    selected_bands: SelectedBands | None
    recipe: Recipe
    reflectance_offset: ReflectanceOffset = "by_date"

    @classmethod
    def of(cls, config: PreprocessConfig, sensors: SensorTable) -> "StoreSettings":
        """Return the settings of the command that shape the images, without those of other sensors."""
        own = {name: config.recipe.steps(name) for name in sensors.names}
        shared = {name: getattr(config.recipe, name) for name in Recipe.model_fields}
        return cls(
            subtile_size=config.subtile_size,
            selected_bands=config.selected_bands,
            recipe=Recipe.model_validate({**shared, **own}),
            reflectance_offset=config.reflectance_offset,
        )


class SplitSettings(Section):
    """The settings that shape a store's split."""

    seed: Seed
    val_fraction: Fraction
    test_fraction: Fraction


class SourceFingerprint(Section):
    """The names, sizes and times of change of a tile's raw files when they were read."""

    files: Annotated[int, Field(ge=0, lt=2**31)]
    bytes: Annotated[int, Field(ge=0, lt=2**63)]
    digest: str


class TileEntry(Section):
    """What is known of a tile without opening its arrays; kept in the manifest and in the tile itself."""

    split: SplitName
    source: SourceFingerprint
    content: tuple[str, ...]
    """Digests of the channels' values, by which the tile is known under any name; empty where no channel
    holds enough to tell tiles apart."""
    label_digest: str
    """Digest of the label grid."""
    class_counts: Annotated[tuple[CellCount, ...], Field(min_length=NUM_CLASSES, max_length=NUM_CLASSES)]
    """Label cells of each class."""
    unknown_cells: CellCount
    """Label cells without ground truth."""
    georeference: Georeference | None
    """Where the tile lies; ``None`` where its rasters do not say."""
    acquisitions: tuple[Acquisition, ...] = ()
    """The dates of each sensor in the tile and what the sky was, in the order of the image's layers."""


class Manifest(Section):
    """All that is known of a store without opening a tile."""

    format_version: int
    config: StoreSettings
    config_hash: str
    """Hash of ``config``, ``sensors`` and ``bands``: tiles with the same hash can stand side by side."""
    split: SplitSettings
    sensors: SensorTable
    """The description of the sensors."""
    bands: Annotated[dict[str, Annotated[tuple[str, ...], Field(min_length=1)]], Field(min_length=1)]
    """Stored bands and projections by sensor. A tile's image has a layer a date and band, then the
    projections, sensor by sensor."""
    unknown_label: int = UNKNOWN_LABEL
    tiles: dict[str, TileEntry]
    """By name, in natural order."""
    skipped: dict[str, str] = Field(default_factory=dict)
    """What was wrong with each raw tile that was left out (``--skip-bad``), by its name."""

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        try:
            check_bands(self.sensors, self.bands, "bands")
            for name in self.tiles:
                checked_tile_name(name)
        except ESDSegError as error:
            raise ValueError(str(error)) from None
        for name, entry in self.tiles.items():
            if sum(entry.class_counts) + entry.unknown_cells != CELLS:
                raise ValueError(f"the label cells of tile {name} do not add up to {CELLS}")
            strange = {acquisition.sensor for acquisition in entry.acquisitions} - self.bands.keys()
            if strange:
                raise ValueError(
                    f"tile {name} has acquisitions of {min(strange)}, of which no band is stored"
                )
        return self


def config_hash(config: StoreSettings, sensors: SensorTable, bands: Mapping[str, Sequence[str]]) -> str:
    """Return the hash that tiles of one store share."""
    content = {
        "format_version": FORMAT_VERSION,
        "config": config.model_dump(mode="json"),
        "sensors": sensors.model_dump(mode="json"),
        "bands": bands,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_manifest(store: Path, manifest: Manifest) -> None:
    """Write the manifest so that a reader finds the whole of it or what was there before.

    A file that says the same already, in whatever words, is left untouched: runs know their store by the
    file's hash.
    """
    path = store / MANIFEST_NAME
    with suppress(FileNotFoundError, ValidationError):
        if Manifest.model_validate_json(path.read_bytes()) == manifest:
            return
    text = json.dumps(manifest.model_dump(mode="json"), separators=(",", ":"), ensure_ascii=False)
    write_text(path, f"{text}\n")


def read_manifest(store: Path, mend: str) -> tuple[Manifest, str]:
    """Read a store's manifest.

    Args:
        store: The store's folder.
        mend: The command that writes the store anew, for messages.

    Returns:
        The manifest, and the hash of its file.

    Raises:
        FileNotFoundError: There is none.
        InputDataError: It is no manifest, is damaged, or was written by another version.
    """
    path = store / MANIFEST_NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputDataError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        values: JsonValue = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputDataError(f"{path} is damaged ({error}); write the store anew with {mend}.") from None
    version = values.get("format_version") if isinstance(values, dict) else None
    if version != FORMAT_VERSION or type(version) is not int:
        shown = f"{version!r:.40}"
        raise InputDataError(
            f"{path} has format version {shown}, this esdseg reads {FORMAT_VERSION}; write "
            f"the store anew with {mend}."
        )
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise InputDataError(
            f"{path} is not a manifest of esdseg, at {first_fault(error)}; write the store anew with {mend}."
        ) from None
    return manifest, hashlib.sha256(content).hexdigest()
