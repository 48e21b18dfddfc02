"""What preprocessing will need, from costs a raster that were measured on the contest's Tile1.

Measured on one core of a shared server: reading, converting to half precision and compressing (Blosc, LZ4,
byte shuffle) took 0.006 to 0.010 s of processor time a raster. Compressed sizes follow the noise of the
sensor: speckle hardly compresses, native VIIRS cells nearly vanish.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from math import ceil

from esdseg.sensors.sensors import SENSORS, SensorName

SECONDS_PER_RASTER = 0.010
MEGABYTES_PER_RASTER: Mapping[SensorName, float] = {
    "viirs": 0.02,
    "sentinel1": 0.96,
    "sentinel2": 0.58,
    "landsat8": 0.26,
}
"""Compressed size of one channel of a tile, by sensor."""

WORKER_MEGABYTES = 700
"""Memory of one worker at its peak: a tile in half precision, its rasters in flight, and the libraries."""


@dataclass(frozen=True)
class Cost:
    """An estimate, good to about a factor of two on another machine.

    Attributes:
        workers: Processes that it counts on.
        seconds: Time from start to end.
        memory_bytes: Memory of all processes at their peak.
        disk_bytes: Size of the processed store.
    """

    workers: int
    seconds: float
    memory_bytes: int
    disk_bytes: int

    def to_json(self) -> dict[str, float | int]:
        """Return the attributes as plain values."""
        return {
            "workers": self.workers,
            "seconds": self.seconds,
            "memory_bytes": self.memory_bytes,
            "disk_bytes": self.disk_bytes,
        }


def estimate_cost(num_tiles: int, dates: Mapping[SensorName, Sequence[date]], workers: int) -> Cost:
    """Estimate what it takes to preprocess tiles.

    Args:
        num_tiles: How many.
        dates: Each sensor's dates; every band of every date counts, on every tile.
        workers: Processes, at least 1; no more than tiles are used.
    """
    used = max(1, min(workers, num_tiles))
    rasters = {sensor.name: len(sensor.bands) * len(dates.get(sensor.name, ())) for sensor in SENSORS}
    seconds_per_tile = SECONDS_PER_RASTER * sum(rasters.values())
    megabytes_per_tile = sum(MEGABYTES_PER_RASTER[name] * number for name, number in rasters.items())
    return Cost(
        workers=used,
        seconds=ceil(num_tiles / used) * seconds_per_tile,
        memory_bytes=used * WORKER_MEGABYTES * 10**6,
        disk_bytes=round(num_tiles * megabytes_per_tile * 1e6),
    )
