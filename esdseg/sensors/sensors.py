"""The description of sensors: what their files are called, what their bands see, and what their numbers mean.

The contest's sensors are described in ``dfc2021.yml`` beside this file; ``--sensors FILE.yml`` gives others.
Code asks for kinds of sensors and roles of bands, never for a sensor's name.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, field_validator, model_validator

from esdseg.config.section import Section

Kind = Literal["optical", "radar", "night_light"]
Role = Literal[
    "red",
    "green",
    "blue",
    "near_infrared",
    "short_wave_infrared",
    "thermal",
    "cirrus",
    "radar",
    "other",
]
ConversionName = Literal["decibel", "reflectance", "digital_number", "log1p", "none"]
Projection = Literal["max", "median"]

CONTEST_FILE = Path(__file__).with_name("dfc2021.yml")
"""Describes the contest's sensors; it acts where no other description is given."""

GROUND_TRUTH_NAME = "groundTruth.tif"
"""The label grid: 16 x 16, uint16, codes 1 to 4. Test tiles have none."""

GROUND_TRUTH_PICTURE_NAME = "groundTruthRGB.png"
"""The label grid in class colours, 800 x 800 px RGB."""

EXAMPLE_DATE = date(2020, 8, 30)
"""Stands in names that messages give as examples."""

RASTER_ENDINGS = r"\.(?:tiff?|jp2)"
"""What names of rasters end with, in any case."""

LARGEST_WHOLE_NUMBER = 65_535
"""Largest value of sensors whose values are whole numbers: that of 16 bits."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_TOKEN = re.compile(r"\{(\w+)(?::([^{}]*))?\}")
_DATE_PARTS = {
    "Y": r"\d{4}",
    "m": r"\d\d",
    "d": r"\d\d",
    "j": r"\d{3}",
    "H": r"\d\d",
    "M": r"\d\d",
    "S": r"\d\d",
}
_FREE_TOKENS = {"tile": r"[0-9A-Za-z]+", "version": r"[0-9A-Za-z._-]+?"}


class Band(Section):
    """One band of a sensor."""

    name: str = ""
    """As written in file names, such as ``B8A``; the key in the description."""
    native_size_m: Annotated[float, Field(gt=0, le=100_000)]
    """Ground size of a native pixel in metres."""
    read_at_m: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """Ground size at which networks with a branch a resolution read the band; the native one unless given."""
    role: Role = "other"
    """What the band sees, for pictures, clouds and pretrained first layers."""


class Linear(Section):
    """A line through raw numbers: ``number * scale + offset``."""

    scale: float
    offset: float = 0.0


class Conversion(Section):
    """How raw numbers become the physical values that a store holds."""

    name: ConversionName
    """``decibel``: 10 log10 of linear power. ``reflectance``: (number + offset) / scale. ``digital_number``:
    number / scale. ``log1p``: log(1 + number). ``none``: as they are."""
    scale: Annotated[float, Field(gt=0)] = 1.0
    """What numbers are divided by."""
    offset: float = 0.0
    """What is added to numbers first; for ``reflectance`` alone."""
    offset_since: date | None = None
    """First date on which the offset acts; all dates unless given."""

    @model_validator(mode="after")
    def _uses_its_numbers(self) -> Self:
        if self.scale != 1 and self.name not in ("reflectance", "digital_number"):
            raise ValueError(f"the conversion {self.name} has no scale; leave it out")
        if self.offset and self.name != "reflectance":
            raise ValueError(f"the conversion {self.name} has no offset; leave it out")
        if self.offset_since is not None and not self.offset:
            raise ValueError("offset_since says from when an offset acts; give the offset too")
        return self


def _read_name(value: object) -> object:
    """Let a text such as ``decibel`` stand for ``{name: decibel}``."""
    return {"name": value} if isinstance(value, str) else value


class FilePattern(Section):
    """What files of a sensor are called, up to the ending."""

    name: str
    """Text with ``{date:%Y%m%d}`` and, where files hold one band each, ``{band}``. ``{tile:EXAMPLE}`` and
    ``{version:EXAMPLE}`` stand for any text; the example is what esdseg writes there itself."""
    bands: tuple[str, ...] | None = None
    """Bands of a file that holds several, in the file's order."""

    @field_validator("name")
    @classmethod
    def _has_a_date(cls, name: str) -> str:
        tokens = [token for token, _ in _TOKEN.findall(name)]
        strange = [token for token in tokens if token not in ("date", "band", *_FREE_TOKENS)]
        if strange or "{" in _TOKEN.sub("", name):
            held = f"{{{strange[0]}}}" if strange else "a brace that is not closed"
            raise ValueError(
                f"'{name}' holds {held}; a pattern knows {{date:%Y%m%d}}, {{band}}, {{tile}} and {{version}}"
            )
        if tokens.count("date") != 1 or tokens.count("band") > 1:
            raise ValueError(f"'{name}' needs {{date:%Y%m%d}} once, and {{band}} at most once")
        date_format = next(text for token, text in _TOKEN.findall(name) if token == "date")
        parts = re.findall(r"%(.)", date_format)
        if (
            not parts
            or set(parts) - set(_DATE_PARTS)
            or (not {"Y", "j"} <= {*parts} and not {"Y", "m", "d"} <= {*parts})
        ):
            raise ValueError(
                f"'{date_format}' does not say a day; write %Y%m%d, or %Y%j for a day of the year"
            )
        repeated = next((part for part in parts if parts.count(part) > 1), None)
        if repeated is not None:
            raise ValueError(
                f"'{date_format}' holds %{repeated} more than once; write each part of the date once"
            )
        return name

    @cached_property
    def date_format(self) -> str:
        """``strftime`` format of the date."""
        return next(text for token, text in _TOKEN.findall(self.name) if token == "date")

    @property
    def beginning(self) -> str:
        """The name up to its first token."""
        return self.name.partition("{")[0]

    def regular_expression(self, bands: tuple[str, ...]) -> str:
        """Return the expression that matches names, with the groups ``date`` and ``band``."""
        pieces, end = [], 0
        for token in _TOKEN.finditer(self.name):
            pieces.append(re.escape(self.name[end : token.start()]))
            end = token.end()
            if token[1] == "date":
                digits = re.sub("%(.)", lambda part: _DATE_PARTS[part[1]], re.escape(token[2]))
                pieces.append(f"(?P<date>{digits})")
            elif token[1] == "band":
                pieces.append(f"(?P<band>{'|'.join(map(re.escape, bands))})")
            else:
                pieces.append(_FREE_TOKENS[token[1]])
        return "".join([*pieces, re.escape(self.name[end:])])

    def file_name(self, acquired: date, band: str) -> str:
        """Return the name of a TIFF."""

        def written(token: re.Match[str]) -> str:
            if token[1] == "date":
                # strftime gives the year 220 three digits on Linux.
                return acquired.strftime(token[2].replace("%Y", f"{acquired.year:04}"))
            return band if token[1] == "band" else token[2] or "1"

        return f"{_TOKEN.sub(written, self.name)}.tif"


@dataclass(frozen=True)
class RasterName:
    """What a raster's file name says."""

    sensor: str
    acquired: date
    band: str


class Sensor(Section):
    """One sensor of a description."""

    name: str = ""
    """Identifier in configurations and channel names; the key in the description."""
    title: Annotated[str, Field(min_length=1)]
    """Wording for people."""
    kind: Kind
    """What the sensor measures."""
    files: Annotated[tuple[Annotated[FilePattern, BeforeValidator(_read_name)], ...], Field(min_length=1)]
    """What its files may be called; esdseg itself writes each band by the first that holds it."""
    dtypes: Annotated[tuple[Literal["uint8", "uint16", "int16", "float32"], ...], Field(min_length=1)]
    """NumPy types of raw rasters."""
    whole_numbers: bool = False
    """Whether the values are whole numbers from 0 to 65 535, whatever their type."""
    fill_value: int | None = None
    """What the product writes where nothing was measured."""
    saturated_value: int | None = None
    """What the product writes where the detector was blinded."""
    file_scale: bool = False
    """Whether scale and offset tags of files are applied; files that have them are refused otherwise."""
    conversion: Annotated[Conversion, BeforeValidator(_read_name)]
    """How raw numbers become the physical values that a store holds."""
    sky_reflectance: Linear | None = None
    """How raw numbers become reflectance, by which clouds are told; the conversion where that is one."""
    bands: Annotated[dict[str, Band], Field(min_length=1)]
    """By name, in the sensor's own order (not the alphabet's: B2 comes before B10)."""
    projections: tuple[Projection, ...] = ()
    """Channels over all nights of a tile that preprocessing adds to each band; for night lights alone."""
    simulated_as: Literal["viirs", "sentinel1", "sentinel2", "landsat8"] | None = None
    """What ``esdseg sample`` draws its rasters like; without it there are no sample tiles of the sensor."""
    dates: tuple[date, ...] = ()
    """Usual acquisition dates, for sample tiles and the listing of models."""

    @field_validator("bands", mode="before")
    @classmethod
    def _name_bands(cls, value: object) -> object:
        return _with_names(value)

    @field_validator("bands")
    @classmethod
    def _bands_can_be_named(cls, bands: dict[str, Band]) -> dict[str, Band]:
        _check_names(bands, "a band")
        return bands

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        for pattern in self.files:
            for band in pattern.bands or ():
                if band not in self.bands:
                    raise ValueError(f"files: '{pattern.name}' holds {band}, which is none of the bands")
            if not pattern.bands and "{band}" not in pattern.name and len(self.bands) > 1:
                raise ValueError(
                    f"files: '{pattern.name}' does not say which of {len(self.bands)} bands a file holds; "
                    "add {band}, or list the bands of the file"
                )
        for key, number in (("fill_value", self.fill_value), ("saturated_value", self.saturated_value)):
            if self.whole_numbers and number is not None and not 0 <= number <= LARGEST_WHOLE_NUMBER:
                raise ValueError(
                    f"{key} {number} is no whole number from 0 to {LARGEST_WHOLE_NUMBER}; "
                    "correct it, or leave whole_numbers out"
                )
        if self.projections and self.kind != "night_light":
            raise ValueError("projections are taken over nights; only a night_light has them")
        if self.kind == "night_light" and len(self.bands) > 1:
            raise ValueError("a night_light has one band; describe each band as a sensor of its own")
        return self

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def offset(self) -> float:
        """Number that products with an offset add to every value but the fill value; 0 if none do."""
        return -self.conversion.offset

    def has_offset(self, acquired: date) -> bool:
        """Return whether the product of a date carries the offset, by the date alone."""
        since = self.conversion.offset_since
        return bool(self.offset) and (since is None or acquired >= since)

    @property
    def all_bands(self) -> tuple[Band, ...]:
        """The bands in the sensor's order."""
        return tuple(self.bands.values())

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands in the sensor's order."""
        return tuple(self.bands)

    @property
    def projection_names(self) -> tuple[str, ...]:
        """Names of the projections over nights, such as ``DNB_max``."""
        return tuple(f"{band}_{projection}" for band in self.bands for projection in self.projections)

    def projection_of(self, name: str) -> Projection:
        """Return which projection the band ``DNB_max`` is; raises ``KeyError`` if it is none."""
        kinds = {f"{band}_{projection}": projection for band in self.bands for projection in self.projections}
        return kinds[name]

    def band(self, name: str) -> Band:
        """Return the band called ``name``; raises ``KeyError`` if there is none."""
        return self.bands[name]

    def band_with(self, role: Role) -> str | None:
        """Return the name of the first band of a role; ``None`` if there is none."""
        return next((band.name for band in self.bands.values() if band.role == role), None)

    def pattern_of(self, band: str) -> FilePattern:
        """Return the first pattern of names whose files hold a band; the first of all if none does."""
        return next((pattern for pattern in self.files if band in (pattern.bands or (band,))), self.files[0])

    def file_name(self, acquired: date, band: str) -> str:
        """Return the raster's file name, such as ``L2A_20200816_B8A.tif``."""
        return self.pattern_of(band).file_name(acquired, band)

    def example_name(self, pattern: FilePattern | None = None) -> str:
        """Return a name that a raster of the sensor may have, by one of its patterns or by the first."""
        pattern = pattern or self.files[0]
        band = pattern.bands[0] if pattern.bands else self.band_names[0]
        return pattern.file_name(self.dates[0] if self.dates else EXAMPLE_DATE, band)

    def reflectance(self, has_offset: bool) -> Linear | None:
        """Return how raw numbers become reflectance; ``None`` where the description does not say."""
        if self.sky_reflectance is not None or self.conversion.name != "reflectance":
            return self.sky_reflectance
        scale = 1 / self.conversion.scale
        return Linear(scale=scale, offset=self.conversion.offset * scale if has_offset else 0.0)

    @cached_property
    def _expressions(self) -> tuple[tuple[re.Pattern[str], FilePattern], ...]:
        names = tuple(self.bands)
        return tuple(
            (
                re.compile(pattern.regular_expression(names) + RASTER_ENDINGS, re.IGNORECASE | re.ASCII),
                pattern,
            )
            for pattern in self.files
        )

    def read_name(self, file_name: str) -> "tuple[RasterName, ...] | None":
        """Read the rasters of a file off its name: one, or one a band of a file that holds several.

        Returns:
            ``None`` where it is no file of this sensor.
        """
        for expression, pattern in self._expressions:
            match = expression.fullmatch(file_name)
            if match is None:
                continue
            try:
                acquired = datetime.strptime(match["date"], pattern.date_format).date()
            except ValueError:
                continue
            if pattern.bands:
                return tuple(RasterName(self.name, acquired, band) for band in pattern.bands)
            if "{band}" not in pattern.name:
                return (RasterName(self.name, acquired, next(iter(self.bands))),)
            spelled = {band.upper(): band for band in self.bands}
            return (RasterName(self.name, acquired, spelled[match["band"].upper()]),)
        return None


def _check_names(names: Iterable[str], what: str) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{what} cannot be called '{name}'; use letters and digits, a letter first")


def _with_names(value: object) -> object:
    """Give each entry of a mapping its key as its name."""
    if not isinstance(value, dict):
        return value
    return {
        key: {**entry, "name": key} if isinstance(entry, dict) else {"name": key} if entry is None else entry
        for key, entry in value.items()
    }


class SensorTable(Section):
    """A description of sensors: the content of ``dfc2021.yml`` or of a file of one's own."""

    title: str = ""
    """Wording for people."""
    sensors: Annotated[dict[str, Sensor], Field(min_length=1)]
    """By name, in the order of their channels."""

    @field_validator("sensors", mode="before")
    @classmethod
    def _name_sensors(cls, value: object) -> object:
        return _with_names(value)

    @field_validator("sensors")
    @classmethod
    def _sensors_can_be_named(cls, sensors: Mapping[str, Sensor]) -> Mapping[str, Sensor]:
        _check_names(sensors, "a sensor")
        return sensors

    @property
    def all(self) -> tuple[Sensor, ...]:
        """The sensors in the order of their channels."""
        return tuple(self.sensors.values())

    @property
    def names(self) -> tuple[str, ...]:
        """Their names in that order."""
        return tuple(self.sensors)

    @property
    def example_name(self) -> str:
        """A name that a raster of the last sensor may have."""
        return self.all[-1].example_name()

    def sensor(self, name: str) -> Sensor:
        """Return the sensor called ``name``; raises ``KeyError`` if there is none."""
        return self.sensors[name]

    def read_file_name(self, file_name: str) -> tuple[RasterName, ...]:
        """Read sensor, date and bands off a raster's file name.

        Args:
            file_name: Name without folder, such as ``LC08_L1TP_2020-08-30_B9.tif``. Upper and lower case are
                one, and ``.tiff`` is as good as ``.tif``.

        Returns:
            What the name says, one entry a band; empty where it is not a raster of a known sensor.
        """
        for sensor in self.sensors.values():
            names = sensor.read_name(file_name)
            if names is not None:
                return names
        return ()


@lru_cache(maxsize=1)
def contest_sensors() -> SensorTable:
    """Return the description of the contest's sensors."""
    # libyaml's loader of plain values, where there is one, takes a fifth of the time.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(CONTEST_FILE.read_bytes())
    return SensorTable.model_validate(loader.get_single_data())
