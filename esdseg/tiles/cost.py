"""What preprocessing will need, estimated from costs a raster that were measured on the contest's Tile1.

Measured on one core of a shared server: reading, converting to half precision and compressing (Blosc, LZ4,
byte shuffle) took 0.006 to 0.010 s of processor time a raster. Compressed sizes follow the noise of the
sensor: speckle hardly compresses, native VIIRS cells nearly vanish.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from esdseg.sensors.channels import Channel, Layer
from esdseg.sensors.sensors import Kind, Sensor
from esdseg.system.memory import available_cores, available_memory_bytes

SECONDS_PER_RASTER = 0.010
MEGABYTES_PER_RASTER: Mapping[Kind, float] = {"night_light": 0.02, "radar": 0.96, "optical": 0.58}
"""Compressed size of one channel of a tile, by the kind of its sensor."""

MEGABYTES_PER_COARSE_RASTER = 0.26
"""The same of an optical sensor whose finest pixels are coarser than :data:`COARSE_M`: Landsat-8's."""

COARSE_M = 12.0

WORKER_MEGABYTES = 700
"""Memory of one worker at its peak: a tile in half precision, its rasters in flight, and the libraries."""


@dataclass(frozen=True)
class Cost:
    """An estimate, good to about a factor of two on another machine.

    Attributes:
        workers: Processes that will run.
        seconds: Time from start to end.
        memory_bytes: Memory of all processes at their peak.
        disk_bytes: Size of the processed store.
    """

    workers: int
    seconds: float
    memory_bytes: int
    disk_bytes: int


def estimate_cost(num_tiles: int, layers: Sequence[Layer] | Sequence[Channel], workers: int | None) -> Cost:
    """Estimate what it takes to preprocess tiles.

    Args:
        num_tiles: How many tiles will be written.
        layers: Layers of a processed image, projections over nights included.
        workers: Processes that were asked for; see :func:`choose_workers`.
    """
    used = choose_workers(workers, num_tiles)
    return Cost(
        workers=used,
        seconds=ceil(num_tiles / used) * SECONDS_PER_RASTER * len(layers),
        memory_bytes=used * WORKER_MEGABYTES * 10**6,
        disk_bytes=num_tiles * stored_tile_bytes(layers),
    )


def stored_tile_bytes(layers: Sequence[Layer] | Sequence[Channel]) -> int:
    """Estimate the size of one tile of the processed store."""
    return round(sum(_stored_megabytes(layer.sensor) for layer in layers) * 1e6)


def _stored_megabytes(sensor: Sensor) -> float:
    is_coarse = min(band.native_size_m for band in sensor.all_bands) > COARSE_M
    if sensor.kind == "optical" and is_coarse:
        return MEGABYTES_PER_COARSE_RASTER
    return MEGABYTES_PER_RASTER[sensor.kind]


def choose_workers(workers: int | None, num_tiles: int) -> int:
    """Return how many processes to use: no more than tiles; by default one a core, as memory allows."""
    if workers is None:
        workers = min(available_cores(), available_memory_bytes() // (WORKER_MEGABYTES * 10**6))
    return max(1, min(workers, num_tiles))
