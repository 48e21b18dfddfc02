"""What is mapped, whatever it is read from: an area of label cells, block by block."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from esdseg.config.preprocessing import Recipe
from esdseg.mapping.lattice import Block, Cells
from esdseg.sensors.acquisitions import Acquisition
from esdseg.sensors.channels import Layer
from esdseg.sensors.sensors import RasterName, SensorTable
from esdseg.store.statistics import HalfArray
from esdseg.tiles.cell_grid import CellGrid

EDGE_TOLERANCE = 0.01
"""How far an edge may be from the lattice and yet lie on it, in cells: half a pixel."""

Bands = Mapping[str, Sequence[str]]
"""Bands and projections to read, by the name of their sensor."""


class Ground(ABC):
    """The layers of a block of ground.

    Attributes:
        layers: What there is.
        acquisitions: The dates of each sensor, and what the sky was over the block's core.
    """

    layers: tuple[Layer, ...]
    acquisitions: tuple[Acquisition, ...]

    @abstractmethod
    def read(self, layers: Sequence[Layer | None]) -> HalfArray:
        """Return layers (C, height, width) of the block's extent; NaN is no data, as is what is not there."""


@dataclass(frozen=True)
class AreaInput(ABC):
    """What is mapped. It is pickled for each worker, and says where to read.

    Attributes:
        grid: The cells of the map; without reference system where the input does not say where it lies.
        blocks: What is read in one go; together they are what is mapped.
        sensors: The description of the sensors.
        recipe: How the values of layers come about.
        bands: The bands and projections that there are, by sensor.
        identity: Changes whenever what is read does.
    """

    grid: CellGrid
    blocks: tuple[Block, ...]
    sensors: SensorTable
    recipe: Recipe
    bands: Mapping[str, tuple[str, ...]]
    identity: str

    @abstractmethod
    @contextmanager
    def open(self, block: Block, extent: Cells, bands: Bands) -> Iterator[Ground]:
        """Open a block until the context is left.

        Args:
            block: One of :attr:`blocks`.
            extent: The cells to read, of which the block's core is a part.
            bands: What will be read.

        Raises:
            InputDataError: A file is missing, cannot be read or does not fit.
        """

    @property
    def is_georeferenced(self) -> bool:
        """Whether it is known where the area lies."""
        return bool(self.grid.crs_wkt)

    @property
    def has_places(self) -> bool:
        """Whether any part of the area says where it lies, even if that does not place the whole."""
        return self.is_georeferenced


def bands_of_rasters(rasters: Iterable[RasterName], sensors: SensorTable) -> dict[str, tuple[str, ...]]:
    """Return the bands of rasters by sensor, in its order, and the projections of its nights."""
    held: dict[str, set[str]] = {}
    for name in rasters:
        held.setdefault(name.sensor, set()).add(name.band)
    return {
        sensor.name: (
            *(band for band in sensor.band_names if band in held[sensor.name]),
            *sensor.projection_names,
        )
        for sensor in sensors.all
        if sensor.name in held
    }


def fingerprint(files: Iterable[Path]) -> str:
    """Return a digest of names, sizes and times of change of files."""
    digest = hashlib.sha256()
    for path in dict.fromkeys(files):
        state = path.stat()
        digest.update(f"{path.absolute()} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()
