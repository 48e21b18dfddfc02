"""Predicting one block: its layers are read, its windows classified, and what they say is kept in a file."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from esdseg.baselines.checkpoint import BaselineCheckpoint
from esdseg.config.evaluation import MapConfig
from esdseg.mapping.area_input import AreaInput, Bands, Ground
from esdseg.mapping.lattice import Block, Cells
from esdseg.models.checkpoint import LoadedCheckpoint, NetworkCheckpoint
from esdseg.models.device import naming_memory_faults
from esdseg.prediction.channel_share import MIN_CHANNEL_SHARE, measure_channel_share
from esdseg.prediction.places import Places, fill_places, places_from_json, places_to_json
from esdseg.prediction.windows import (
    CellMean,
    Corners,
    Device,
    Passes,
    blend_windows,
    choose_device,
    place_model,
)
from esdseg.prediction.workers import WorkerNetwork, load_networks
from esdseg.preprocessing.conversions import to_numbers
from esdseg.sensors.acquisitions import in_order
from esdseg.sensors.channels import Channel, Layer, resolve
from esdseg.sensors.classes import CELL_SIZE_PX, NUM_CLASSES
from esdseg.sensors.sensors import Role, Sensor, SensorTable
from esdseg.store.statistics import HalfArray
from esdseg.system.files import write_whole

FloatArray = npt.NDArray[np.float32]

COLOR_ROLES: tuple[Role, ...] = ("red", "green", "blue")


@dataclass(frozen=True)
class MapJob:
    """What workers need to predict any block of an area.

    Attributes:
        area: What is mapped.
        networks: The checkpoints that predict together.
        config: How they do.
        overlap: Label cells that neighbouring windows share.
        bands: What is read of the area.
        picture_px: Pixels of the picture along a cell's side.
        threads: Threads of a process; ``None`` leaves them as they are.
    """

    area: AreaInput
    networks: tuple[WorkerNetwork, ...]
    config: MapConfig
    overlap: int
    bands: Bands
    picture_px: int
    threads: int | None = None

    @property
    def passes(self) -> Passes:
        """Turns, flips and the overlap of windows."""
        return Passes(self.config.tta, self.overlap)


@dataclass(frozen=True)
class BlockMap:
    """What was predicted in a block, and what else was seen there.

    Attributes:
        core: The block's own cells.
        extent: The cells that its windows cover.
        totals: Of each checkpoint the weighted sum of its windows' probabilities, (K, 4, rows, columns) of
            the extent.
        weights: The sums of the weights, (K, rows, columns).
        channel_share: Share of the channels that each cell of the core has, the smallest of all checkpoints.
        light: Brightest clean light of nights without a moon in each cell of the core, in the sensor's
            numbers; NaN is none, also where each tile is scaled by itself, since numbers are lost then.
        picture: Red, green and blue of the core, (3, rows * p, columns * p), as they are stored; NaN is none.
        places: The dates that fill the networks' places; none where nothing was measured.
    """

    core: Cells
    extent: Cells
    totals: FloatArray
    weights: FloatArray
    channel_share: FloatArray
    light: FloatArray
    picture: HalfArray
    places: Places

    def write(self, path: Path) -> None:
        """Write all to one file.

        Raises:
            InputDataError: It cannot be written.
            MissingResourceError: There is no space left.
        """
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        cells = [[part.row, part.column, part.rows, part.columns] for part in (self.core, self.extent)]
        words = json.dumps({"cells": cells, "places": places_to_json(self.places)})

        def write(part: Path) -> None:
            with part.open("wb") as file:
                np.savez(file, words=np.array(words), **arrays)

        write_whole(path, write)

    @classmethod
    def read(cls, path: Path) -> "BlockMap":
        """Read what :meth:`write` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            words = json.loads(str(stored["words"]))
            core, extent = (Cells(*numbers) for numbers in words["cells"])
            arrays: dict[str, Any] = {name: stored[name] for name in _ARRAYS}
        return cls(core, extent, **arrays, places=places_from_json(words["places"]))


_ARRAYS = ("totals", "weights", "channel_share", "light", "picture")


def predict_on_cluster(job: MapJob, block: Block) -> BlockMap:
    """Predict a block in a task of a Dask worker; what is wrong there is told with the machine's name."""
    from esdseg.system.dask_cluster import naming_machine, threads_of_a_task

    threads = threads_of_a_task(torch.get_num_threads())
    with naming_machine():
        return predict_block(replace(job, threads=threads), block)


def predict_block(job: MapJob, block: Block) -> BlockMap:
    """Read a block and predict its windows.

    Raises:
        InputDataError: A file is missing or cannot be read, or a network gives numbers that are not finite.
        UsageError: The machine lacks the accelerator that the settings name.
        OutOfMemoryError: The windows that are predicted together do not fit into memory.
    """
    if job.threads is not None:
        torch.set_num_threads(job.threads)
    networks = load_networks(job.networks)
    device = choose_device(job.config.accelerator, job.config.precision)
    for network in networks:
        place_model(network, device)
    channels = all_channels(networks)
    extent = block.extent([network.window_size for network in networks], job.passes)
    with job.area.open(block, extent, job.bands) as ground:
        if not ground.acquisitions:
            return _nothing(job, block, len(networks))
        layers = resolve(channels, ground.acquisitions)
        seen = [*light_layers(ground), *picture_layers(ground)]
        beside = [layer for layer in seen if layer not in layers]
        stack = ground.read([*layers, *beside])
        positions = {layer: position for position, layer in enumerate([*layers, *beside])}
        places = fill_places(channels, ground.acquisitions)
        is_scaled = job.area.recipe.scale_by == "tile"
        lights = [] if is_scaled else light_layers(ground)
        light = _brightest([stack[positions[layer]] for layer in lights], lights, block.core, extent)
        picture = _picture(stack, positions, ground, block.core.pixels_within(extent), job.picture_px)
    image, place = stack[: len(channels)], {channel: index for index, channel in enumerate(channels)}
    inner, blends, shares = block.core.within(extent), [], []
    for network in networks:
        chosen = [place[channel] for channel in network.channels]
        own = image if chosen == list(range(len(image))) else image[chosen]
        share = measure_channel_share(own)
        shares.append(share[inner])
        blends.append(_blend(network, torch.from_numpy(own), share, block, extent, job, device))
    return BlockMap(
        block.core,
        extent,
        np.stack([blend.total.numpy() for blend in blends]),
        np.stack([blend.weight.numpy() for blend in blends]),
        np.min(shares, axis=0),
        light,
        picture,
        places,
    )


def all_channels(networks: Sequence[LoadedCheckpoint]) -> tuple[Channel, ...]:
    """Return the channels of several checkpoints, each once."""
    return tuple(dict.fromkeys(channel for network in networks for channel in network.channels))


def bands_to_read(needed: Bands, area: AreaInput) -> dict[str, tuple[str, ...]]:
    """Return the bands that networks, the picture and the light of a map need, of those that an area has.

    Args:
        needed: The networks' bands and projections, by sensor.
        area: What is mapped.
    """
    sensors = [area.sensors.sensor(name) for name in area.bands]
    wanted = {name: set(bands) for name, bands in needed.items()}
    for sensor in sensors:
        if sensor.kind == "night_light":
            wanted.setdefault(sensor.name, set()).update(_light_bands(sensor, area.bands[sensor.name]))
    pictured = _pictured_sensor(area.sensors, area.bands)
    if pictured is not None:
        wanted.setdefault(pictured.name, set()).update(_color_bands(pictured))
    return {
        name: chosen
        for name, bands in area.bands.items()
        if (chosen := tuple(band for band in bands if band in wanted.get(name, ())))
    }


def light_layers(ground: Ground) -> list[Layer]:
    """Return the layers that tell the brightest light: of nights without a moon, or else of all together."""
    held = {layer for layer in ground.layers if layer.sensor.kind == "night_light"}
    layers = []
    for sensor in dict.fromkeys(layer.sensor for layer in ground.layers if layer in held):
        own = (acquisition for acquisition in ground.acquisitions if acquisition.sensor == sensor.name)
        dark = [night.acquired for night in in_order(own, "darkest")]
        for band in _light_bands(sensor, {layer.band for layer in held if layer.sensor is sensor}):
            days = dark if band in sensor.band_names else [None]
            layers += [Layer(sensor, band, day) for day in days]
    return layers


def picture_layers(ground: Ground) -> list[Layer]:
    """Return red, green and blue of the clearest date; nothing where no date has them."""
    held: dict[str, set[str]] = {}
    for layer in ground.layers:
        held.setdefault(layer.sensor.name, set()).add(layer.band)
    sensors = {layer.sensor.name: layer.sensor for layer in ground.layers}
    sensor = _pictured_sensor(SensorTable(sensors=sensors), held) if sensors else None
    if sensor is None:
        return []
    own = (acquisition for acquisition in ground.acquisitions if acquisition.sensor == sensor.name)
    clearest = in_order(own, "clearest")[0].acquired
    return [Layer(sensor, band, clearest) for band in _color_bands(sensor)]


def _pictured_sensor(sensors: SensorTable, bands: Mapping[str, Collection[str]]) -> Sensor | None:
    """Return the optical sensor of the finest pixels that has red, green and blue."""

    def pixel_size(sensor: Sensor) -> float:
        return max(sensor.band(band).native_size_m for band in _color_bands(sensor))

    colored = [
        sensor
        for sensor in sensors.all
        if sensor.kind == "optical"
        and len(_color_bands(sensor)) == len(COLOR_ROLES)
        and set(_color_bands(sensor)) <= set(bands.get(sensor.name, ()))
    ]
    return min(colored, key=pixel_size, default=None)


def _color_bands(sensor: Sensor) -> tuple[str, ...]:
    return tuple(band for role in COLOR_ROLES if (band := sensor.band_with(role)) is not None)


def _light_bands(sensor: Sensor, held: Collection[str]) -> tuple[str, ...]:
    """Return the band of a sensor of night light, or where it is not held the projection to the brightest."""
    (band,) = sensor.band_names
    return tuple(name for name in (band, f"{band}_max") if name in held)[:1]


def _brightest(
    images: Sequence[HalfArray], layers: Sequence[Layer], core: Cells, extent: Cells
) -> FloatArray:
    """Return the brightest number of each cell of the core in layers of night light; NaN where none is."""
    rows, columns = core.pixels_within(extent)
    cells = (core.rows, CELL_SIZE_PX, core.columns, CELL_SIZE_PX)
    brightest = np.full((core.rows, core.columns), np.nan, np.float32)
    for layer, values in zip(layers, images, strict=True):
        numbers = to_numbers(values[rows, columns].astype(np.float32), layer.sensor)
        brightest = np.fmax(brightest, np.fmax.reduce(numbers.reshape(cells), axis=(1, 3)))
    return brightest


def _picture(
    stack: HalfArray,
    positions: Mapping[Layer | None, int],
    ground: Ground,
    core: tuple[slice, slice],
    picture_px: int,
) -> HalfArray:
    """Return red, green and blue (3, height, width) of every n-th pixel."""
    step = CELL_SIZE_PX // picture_px
    rows = slice(core[0].start + step // 2, core[0].stop, step)
    columns = slice(core[1].start + step // 2, core[1].stop, step)
    layers = picture_layers(ground)
    if layers:
        return np.stack([stack[positions[layer], rows, columns] for layer in layers])
    shape = (core[0].stop - core[0].start) // step, (core[1].stop - core[1].start) // step
    return np.full((len(COLOR_ROLES), *shape), np.nan, np.float16)


def _blend(
    network: LoadedCheckpoint,
    image: Tensor,
    share: FloatArray,
    block: Block,
    extent: Cells,
    job: MapJob,
    device: Device,
) -> CellMean:
    """Return what a checkpoint says of the cells of an extent that its windows cover."""
    if isinstance(network, BaselineCheckpoint):
        # It looks at each cell for itself, and so at those of the core alone.
        blend, inner = CellMean(extent.rows, extent.columns), block.core.within(extent)
        if (share[inner] >= MIN_CHANNEL_SHARE).any():
            rows, columns = block.core.pixels_within(extent)
            blend.total[:, *inner] = network.predict(image[:, rows, columns].numpy())[1]
            blend.weight[inner] = 1
        return blend
    assert isinstance(network, NetworkCheckpoint)
    size = network.window_size
    corners: Corners = [
        (row - extent.row, column - extent.column) for row, column in block.corners(size, job.passes)
    ]
    # A window in which no cell will be mapped is not worth its time.
    seen = [
        (row, column)
        for row, column in corners
        if (share[row : row + size, column : column + size] >= MIN_CHANNEL_SHARE).any()
    ]
    at_once = job.config.batch_size or max(1, device.cells_at_once // size**2)
    with naming_memory_faults(
        f"batches of {at_once} windows of {size} x {size} cells and {len(network.channels)} channels",
        f"Try --batch-size {max(1, at_once // 4)}." if at_once > 1 else "Use a machine with more memory.",
    ):
        return blend_windows(network, image, seen, device, job.config.batch_size, job.passes)


def _nothing(job: MapJob, block: Block, networks: int) -> BlockMap:
    """Return the map of a block of which nothing was measured."""
    core, px = block.core, job.picture_px
    cells = core.rows, core.columns
    return BlockMap(
        core,
        core,
        np.zeros((networks, NUM_CLASSES, *cells), np.float32),
        np.zeros((networks, *cells), np.float32),
        np.zeros(cells, np.float32),
        np.full(cells, np.nan, np.float32),
        np.full((len(COLOR_ROLES), core.rows * px, core.columns * px), np.nan, np.float16),
        {},
    )
