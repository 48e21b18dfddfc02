"""The one table of sensors: bands, file names, value types and dates.

This is the only place that knows what a DFC2021 file is called; another mission is one more row of
:data:`SENSORS`. Band facts come from the missions' product guides, file names and dates from the
contest's training set.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Literal

SensorName = Literal["viirs", "sentinel1", "sentinel2", "landsat8"]
Role = Literal["red", "green", "blue", "near_infrared", "short_wave_infrared", "thermal", "radar", "other"]


@dataclass(frozen=True)
class Band:
    """One band of a sensor.

    Attributes:
        name: As written in file names, such as ``B8A``.
        native_size_m: Ground size of a native pixel in metres.
        role: What the band sees, for pretrained first layers and pictures.
    """

    name: str
    native_size_m: float
    role: Role = "other"


@dataclass(frozen=True)
class Sensor:
    """One row of the table.

    Attributes:
        name: Identifier in configurations and channel names.
        title: Wording for people.
        prefix: File name up to the date.
        date_format: ``strftime`` format of the date in file names.
        bands: In the sensor's own order (not the alphabet's: B2 comes before B10).
        band_in_name: Whether file names end with the band; a single-band sensor may leave it out.
        dtype: NumPy type of the raw rasters.
        dates: The contest's acquisition dates in order.
        whole_numbers: Whether the values are whole numbers from 0 to 65 535, whatever their type.
        fill_value: What the product writes where nothing was measured; ``None`` if it has no such value.
        saturated_value: What the product writes where the detector was blinded; ``None`` likewise.
        offset: Number that newer products add to every value but the fill value.
        offset_since: First acquisition date of products with the offset; ``None`` if there are none.
    """

    name: SensorName
    title: str
    prefix: str
    date_format: str
    bands: tuple[Band, ...]
    band_in_name: bool
    dtype: Literal["uint16", "float32"]
    dates: tuple[date, ...]
    whole_numbers: bool
    fill_value: int | None
    saturated_value: int | None
    offset: int = 0
    offset_since: date | None = None

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands in the sensor's order."""
        return tuple(band.name for band in self.bands)

    def band(self, name: str) -> Band:
        """Return the band called ``name``; raises ``KeyError`` if there is none."""
        return {band.name: band for band in self.bands}[name]

    def has_offset(self, acquired: date) -> bool:
        """Return whether the product of a date carries the offset, by the date alone."""
        return self.offset_since is not None and acquired >= self.offset_since

    def file_name(self, acquired: date, band: str) -> str:
        """Return the raster's file name, such as ``L2A_20200816_B8A.tif``."""
        ending = f"_{band}" if self.band_in_name else ""
        return f"{self.prefix}{acquired.strftime(self.date_format)}{ending}.tif"


@dataclass(frozen=True)
class RasterName:
    """What a raster's file name says."""

    sensor: SensorName
    acquired: date
    band: str


def _dates(text: str, date_format: str) -> tuple[date, ...]:
    return tuple(datetime.strptime(word, date_format).date() for word in text.split())


def _bands(native_size_m: float, *names: str, role: Role = "other") -> tuple[Band, ...]:
    return tuple(Band(name, native_size_m, role) for name in names)


SENSORS: tuple[Sensor, ...] = (
    Sensor(
        name="viirs",
        title="VIIRS night lights (VNP46A1)",
        prefix="DNB_VNP46A1_A",
        date_format="%Y%j",
        bands=_bands(470.0, "DNB"),
        band_in_name=False,
        dtype="uint16",
        dates=_dates("2020221 2020224 2020225 2020226 2020227 2020231 2020235 2020236 2020237", "%Y%j"),
        whole_numbers=True,
        fill_value=65535,
        saturated_value=65534,
    ),
    Sensor(
        name="sentinel1",
        title="Sentinel-1 IW GRDH",
        prefix="S1A_IW_GRDH_",
        date_format="%Y%m%d",
        bands=_bands(10.0, "VV", "VH", role="radar"),
        band_in_name=True,
        dtype="float32",
        dates=_dates("20200723 20200804 20200816 20200828", "%Y%m%d"),
        whole_numbers=False,
        fill_value=None,
        saturated_value=None,
    ),
    Sensor(
        name="sentinel2",
        title="Sentinel-2 L2A",
        prefix="L2A_",
        date_format="%Y%m%d",
        bands=(
            *_bands(60.0, "B01"),
            *_bands(10.0, "B02", role="blue"),
            *_bands(10.0, "B03", role="green"),
            *_bands(10.0, "B04", role="red"),
            *_bands(20.0, "B05", "B06", "B07"),
            *_bands(10.0, "B08", role="near_infrared"),
            *_bands(20.0, "B8A", role="near_infrared"),
            *_bands(60.0, "B09"),
            *_bands(20.0, "B11", "B12", role="short_wave_infrared"),
        ),
        band_in_name=True,
        dtype="uint16",
        dates=_dates("20200811 20200816 20200826 20200831", "%Y%m%d"),
        whole_numbers=True,
        fill_value=0,
        saturated_value=65535,
        # Processing baseline 04.00: reflectance = (value - 1000) / 10 000. Source: Sentinel-2 Products
        # Specification Document, BOA_ADD_OFFSET.
        offset=1000,
        offset_since=date(2022, 1, 25),
    ),
    Sensor(
        name="landsat8",
        title="Landsat-8 L1TP",
        prefix="LC08_L1TP_",
        date_format="%Y-%m-%d",
        bands=(
            *_bands(30.0, "B1"),
            *_bands(30.0, "B2", role="blue"),
            *_bands(30.0, "B3", role="green"),
            *_bands(30.0, "B4", role="red"),
            *_bands(30.0, "B5", role="near_infrared"),
            *_bands(30.0, "B6", "B7", role="short_wave_infrared"),
            *_bands(15.0, "B8"),
            *_bands(30.0, "B9"),
            *_bands(30.0, "B10", "B11", role="thermal"),
        ),
        band_in_name=True,
        dtype="float32",
        dates=_dates("2020-07-29 2020-08-14 2020-08-30", "%Y-%m-%d"),
        whole_numbers=True,
        fill_value=0,
        saturated_value=65535,
    ),
)
"""All sensors in the order of their channels."""

SENSOR_NAMES: tuple[SensorName, ...] = tuple(sensor.name for sensor in SENSORS)
_BY_NAME = {sensor.name: sensor for sensor in SENSORS}

GROUND_TRUTH_NAME = "groundTruth.tif"
"""The label grid: 16 x 16, uint16, codes 1 to 4. Test tiles have none."""

GROUND_TRUTH_PICTURE_NAME = "groundTruthRGB.png"
"""The label grid in class colours, 800 x 800 px RGB."""

PROJECTION_BANDS = {"viirs": ("DNB_max", "DNB_median")}
"""Bands that preprocessing adds to a sensor: projections over its dates."""


def get_sensor(name: str) -> Sensor:
    """Return the sensor called ``name``; raises ``KeyError`` if there is none."""
    return _BY_NAME[name]  # type: ignore[index]


@lru_cache(maxsize=10_000)
def parse_raster_name(file_name: str) -> RasterName | None:
    """Read sensor, date and band off a raster's file name.

    Args:
        file_name: Name without folder, such as ``LC08_L1TP_2020-08-30_B9.tif``. Upper and lower case are
            one, and ``.tiff`` is as good as ``.tif``.

    Returns:
        What the name says, or ``None`` where it is not a raster of a known sensor, date and band.
    """
    for sensor in SENSORS:
        bands = {band.upper(): band for band in sensor.band_names}
        ending = rf"_(?P<band>{'|'.join(bands)})" if sensor.band_in_name else ""
        pattern = rf"{re.escape(sensor.prefix)}(?P<date>[0-9-]+){ending}\.tiff?"
        match = re.fullmatch(pattern, file_name, re.IGNORECASE | re.ASCII)
        if match is None:
            continue
        try:
            acquired = datetime.strptime(match["date"], sensor.date_format).date()
        except ValueError:
            return None
        # strptime also takes dates without their zeros, which would give one raster several names.
        if acquired.strftime(sensor.date_format) != match["date"]:
            return None
        band = bands[match["band"].upper()] if sensor.band_in_name else sensor.band_names[0]
        return RasterName(sensor.name, acquired, band)
    return None
