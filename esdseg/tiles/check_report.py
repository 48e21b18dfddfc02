"""What a check reports: what each tile and sensor holds, problems with their fixes, and notes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from esdseg.sensors.acquisitions import Acquisition, Sky
from esdseg.sensors.classes import CLASSES
from esdseg.sensors.sensors import Sensor
from esdseg.tiles.cost import Cost
from esdseg.tiles.problems import Note, Problem
from esdseg.tiles.values import ValueCounts, merge_counts


@dataclass(frozen=True)
class TileReport:
    """One tile of a report.

    Attributes:
        name: Its name.
        rasters: Number of rasters found.
        label_cells: Number of cells a label code; ``None`` without a readable ground truth.
        acquisitions: Its dates of each sensor, with what the sky was.
        georeferenced: Whether its rasters say where they lie.
    """

    name: str
    rasters: int
    label_cells: Mapping[int, int] | None
    acquisitions: tuple[Acquisition, ...]
    georeferenced: bool

    def to_json(self) -> dict[str, object]:
        """Return plain values: classes by name, skies by sensor and date."""
        skies: dict[str, dict[str, object]] = {}
        for acquisition in self.acquisitions:
            if acquisition.is_optical:
                skies.setdefault(acquisition.sensor, {})[str(acquisition.acquired)] = {
                    "sky": acquisition.sky,
                    "cloud_share": acquisition.cloud_share,
                    "shadow_share": acquisition.shadow_share,
                    "cirrus_reflectance": acquisition.cirrus_reflectance,
                }
        cells = self.label_cells
        return {
            "name": self.name,
            "rasters": self.rasters,
            "georeferenced": self.georeferenced,
            "classes": None if cells is None else {entry.name: cells.get(entry.code, 0) for entry in CLASSES},
            "skies": skies,
        }


@dataclass(frozen=True)
class SensorReport:
    """One sensor of a report.

    Attributes:
        sensor: The sensor.
        tiles: Number of tiles that hold any of its rasters.
        dates: Number of tiles that hold each date, in order.
        bands: Counts of the values of each band over all tiles and dates, in the sensor's order.
    """

    sensor: Sensor
    tiles: int
    dates: Mapping[date, int]
    bands: Mapping[str, ValueCounts]

    @property
    def name(self) -> str:
        """The sensor's name."""
        return self.sensor.name

    @property
    def values(self) -> ValueCounts | None:
        """Counts of the values of all bands together; ``None`` if no raster could be read."""
        return merge_counts(self.bands.values()) if self.bands else None


@dataclass(frozen=True)
class CheckReport:
    """What a folder of raw tiles holds, and what is wrong with it.

    Attributes:
        raw_dir: The folder.
        tiles: Its tiles in natural order.
        sensors: The sensors that any tile holds.
        problems: What must be mended, by tile; empty if all is well.
        notes: What is worth knowing, by tile.
        cost: What preprocessing will need.
    """

    raw_dir: Path
    tiles: tuple[TileReport, ...]
    sensors: tuple[SensorReport, ...]
    problems: tuple[Problem, ...]
    notes: tuple[Note, ...]
    cost: Cost

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    @property
    def class_cells(self) -> dict[str, int]:
        """Number of cells of each class over all tiles, by class name."""
        return {
            entry.name: sum((tile.label_cells or {}).get(entry.code, 0) for tile in self.tiles)
            for entry in CLASSES
        }

    def skies(self, sensor: str) -> dict[date, Counter[Sky]]:
        """Return on how many tiles each date of an optical sensor was clear, cloudy, hazy or unknown."""
        found: dict[date, Counter[Sky]] = {}
        for tile in self.tiles:
            for acquisition in tile.acquisitions:
                if acquisition.sensor == sensor and acquisition.is_optical:
                    found.setdefault(acquisition.acquired, Counter())[acquisition.sky] += 1
        return dict(sorted(found.items()))

    def to_json(self) -> dict[str, object]:
        """Return the report as plain values that JSON can hold.

        Keys: ``ok``, ``raw_dir``, ``tiles`` (a list of ``name``, ``rasters``, ``georeferenced``, ``classes``
        with cells by class name or null, ``skies`` by sensor and date), ``sensors`` (by name: ``title``,
        ``tiles``, ``dates`` with tiles by date, ``skies`` with tiles by date and sky, ``values`` and
        ``bands`` with ``minimum``, ``p01``, ``median``, ``p99``, ``maximum``, ``zero_share``, ``nan_share``,
        ``fill_share``, ``saturated_share``, ``rasters``), ``classes`` (by name: ``cells``, ``share``),
        ``problems`` (``tile``, ``file``, ``kind``, ``message``, ``fix``), ``notes`` (``tile``, ``file``,
        ``message``) and ``preprocessing`` (``workers``, ``seconds``, ``memory_bytes``, ``disk_bytes``).
        """
        cells = self.class_cells
        total = max(1, sum(cells.values()))
        return {
            "ok": self.ok,
            "raw_dir": str(self.raw_dir),
            "tiles": [tile.to_json() for tile in self.tiles],
            "sensors": {sensor.name: self._sensor_to_json(sensor) for sensor in self.sensors},
            "classes": {name: {"cells": number, "share": number / total} for name, number in cells.items()},
            "problems": [asdict(problem) for problem in self.problems],
            "notes": [asdict(note) for note in self.notes],
            "preprocessing": asdict(self.cost),
        }

    def _sensor_to_json(self, sensor: SensorReport) -> dict[str, object]:
        values = sensor.values
        return {
            "title": sensor.sensor.title,
            "tiles": sensor.tiles,
            "dates": {str(day): number for day, number in sensor.dates.items()},
            "skies": {str(day): dict(skies) for day, skies in self.skies(sensor.name).items()},
            "values": None if values is None else values.to_json(),
            "bands": {band: counts.to_json() for band, counts in sensor.bands.items()},
        }
