"""Finding out what a folder holds that is to be mapped: a store, scenes, or tiles that lie nowhere."""

from collections.abc import Sequence
from pathlib import Path

from esdseg.config.evaluation import AreaConfig
from esdseg.config.loading import load_sensors
from esdseg.errors import InputDataError, UsageError
from esdseg.mapping.area_input import AreaInput, SceneArea, StoreArea, TilesArea
from esdseg.models.checkpoint import LoadedCheckpoint
from esdseg.prediction.open_checkpoints import check_store, differing_steps
from esdseg.sensors.channels import bands_of, sensor_names
from esdseg.sensors.sensors import SensorTable
from esdseg.store.manifest import MANIFEST_NAME
from esdseg.store.store import Store, find_stores, open_store
from esdseg.tiles.area import choose_grid
from esdseg.tiles.discovery import RawTile, find_tiles
from esdseg.tiles.reading import read_georeference
from esdseg.tiles.scenes import find_scenes


def open_area(path: Path, config: AreaConfig, checkpoints: Sequence[LoadedCheckpoint]) -> AreaInput:
    """Look at what a folder holds, and divide it into blocks.

    A folder that is or holds a store is taken as one. Else it is a folder of rasters: tiles without
    coordinates, or scenes, of which tiles with coordinates are a kind.

    Args:
        path: The folder.
        config: The area, the sensors and the like.
        checkpoints: What predicts; the first one's sensors and steps act on rasters.

    Raises:
        InputDataError: There is nothing to map, a file cannot be read, or it does not fit the checkpoints.
        UsageError: A setting does not fit what is there.
    """
    if find_stores(path):
        _refuse_settings_of_rasters(path, config)
        return StoreArea.of(_open_store(path, config, checkpoints))
    first = checkpoints[0].metadata
    sensors = first.sensors if config.sensors is None else load_sensors(config.sensors)
    for checkpoint in checkpoints:
        _check_description(checkpoint, sensors)
        _check_steps(checkpoint, checkpoints[0])
    offset = config.reflectance_offset or first.reflectance_offset
    scenes = find_scenes(path, sensors)
    area: AreaInput
    tiles = _tiles_that_lie_nowhere(path, sensors)
    if tiles:
        if config.area is not None or config.crs is not None:
            raise UsageError(
                f"The tiles of {path} do not say where they lie, so --area and --crs mean nothing there; "
                "leave them out."
            )
        area = TilesArea.of(tiles, first.recipe, offset)
    else:
        area = SceneArea.of(scenes, choose_grid(scenes, config.crs, config.area), first.recipe, offset)
    _check_bands(path, checkpoints, area)
    return area


def _open_store(path: Path, config: AreaConfig, checkpoints: Sequence[LoadedCheckpoint]) -> Store:
    if (path / MANIFEST_NAME).is_file():
        size = path.name.partition("x")[0]
        store = open_store(path.absolute().parent, int(size) if size.isdecimal() else None)
    else:
        sizes = {int(store.name.partition("x")[0]) for store in find_stores(path)} if path.is_dir() else set()
        wanted = config.subtile_size or checkpoints[0].subtile_size
        store = open_store(path, wanted if wanted in sizes or len(sizes) > 1 else None)
    for checkpoint in checkpoints:
        check_store(checkpoint, store)
    return store


def _refuse_settings_of_rasters(path: Path, config: AreaConfig) -> None:
    for flag in ("sensors", "reflectance_offset", "area", "crs"):
        if getattr(config, flag) is not None:
            raise UsageError(
                f"--{flag.replace('_', '-')} is for rasters, and {path} is a store, which was written "
                "with its own; leave it out, or give the folder of the rasters."
            )


def _tiles_that_lie_nowhere(path: Path, sensors: SensorTable) -> tuple[RawTile, ...]:
    """Return the tiles of a folder if they are tiles of the contest's form without coordinates, else none.

    Raises:
        InputDataError: Some say where they lie and some do not.
    """
    try:
        tiles = find_tiles(path, sensors)
    except InputDataError:
        # Rasters that lie deeper are scenes.
        return ()
    placed = {}
    for tile in tiles:
        reference = read_georeference(next(iter(tile.rasters.values())))
        placed[tile.name] = reference is not None and bool(reference.crs_wkt)
    if all(placed.values()):
        return ()
    if any(placed.values()):
        with_place = next(name for name, is_placed in placed.items() if is_placed)
        without = next(name for name, is_placed in placed.items() if not is_placed)
        raise InputDataError(
            f"{path} mixes tiles that say where they lie, such as {with_place}, with tiles that do not, such "
            f"as {without}; a map is of one kind. Put them into two folders and map each."
        )
    return tiles


def _check_description(checkpoint: LoadedCheckpoint, sensors: SensorTable) -> None:
    """Refuse a description by which numbers mean something else than to the network (``UsageError``)."""
    for sensor in dict.fromkeys(channel.sensor for channel in checkpoint.channels):
        own = sensors.sensors.get(sensor.name)
        if own is not None and (own.kind, own.conversion) != (sensor.kind, sensor.conversion):
            raise UsageError(
                f"{sensor.name} is described otherwise than {checkpoint.path} was trained with: {own.kind}, "
                f"{own.conversion.name} instead of {sensor.kind}, {sensor.conversion.name}, or with other "
                "numbers. Leave --sensors out for the network's own description."
            )


def _check_steps(checkpoint: LoadedCheckpoint, first: LoadedCheckpoint) -> None:
    """Refuse checkpoints that take values of different steps (``UsageError``)."""
    names = sensor_names(checkpoint.channels)
    differing = differing_steps(checkpoint.metadata.recipe, first.metadata.recipe, names)
    if differing:
        raise UsageError(
            f"{checkpoint.path} and {first.path} were trained on values of different steps: "
            f"{'; '.join(differing)}. Map with each of them apart."
        )


def _check_bands(path: Path, checkpoints: Sequence[LoadedCheckpoint], area: AreaInput) -> None:
    """Refuse rasters of which a network would see nothing (``InputDataError``)."""
    held = {(sensor, band) for sensor, bands in area.bands.items() for band in bands}
    for checkpoint in checkpoints:
        bands = bands_of(checkpoint.channels)
        if not any((sensor, band) in held for sensor, own in bands.items() for band in own):
            there, wanted = ", ".join(area.bands), ", ".join(bands)
            raise InputDataError(
                f"{path} holds none of the bands that {checkpoint.path} was trained on: it has {there}, the "
                f"network takes {wanted}. Give rasters of these sensors, or another network."
            )
