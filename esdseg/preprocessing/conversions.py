"""From raw numbers to what the store holds: physical values of each sensor, rounded to half precision.

The description of a sensor names its conversion: the contest's store Sentinel-1 in decibels, Sentinel-2 as
reflectance, Landsat-8 as scaled digital numbers, and VIIRS night light as log radiance, after glitches are
taken out and nights are projected. The layers of a rectangle of the ground, of any size, are converted one by
one.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from esdseg.config.preprocessing import Recipe, ReflectanceOffset
from esdseg.preprocessing.recipe import apply_scaling, scaling_limits, smooth
from esdseg.sensors.acquisitions import Acquisition
from esdseg.sensors.channels import Layer
from esdseg.sensors.sensors import ConversionName, Projection, RasterName, Sensor, SensorTable
from esdseg.store.statistics import ChannelStatistics, CodeCounts, HalfArray, count_codes, count_missing
from esdseg.tiles.clouds import estimate_sky, list_acquisitions, sample_reflectance, sky_bands
from esdseg.tiles.values import missing_offset, subtracts_offset

FloatImage = npt.NDArray[np.float32]

LARGEST_NUMBER = 65_535
"""Of 16 bits; the contest's Landsat files hold such numbers as float32."""

GLITCH_MARGIN = 20.0
"""Numbers by which a glitch stands above what stray moonlight and clouds do between dates."""

GLITCH_RATIO = 4.0
"""How many times brighter than on any other date a pixel must be to count as a glitch, not as a town."""

MIN_DATES_FOR_GLITCHES = 3
"""Dates with data that a pixel needs; with fewer, no date can be told to be the odd one."""

Rectangle = tuple[slice, slice]
"""Rows and columns of an image, in pixels."""

WHOLE: Rectangle = (slice(None), slice(None))

_ALL_NUMBERS = np.arange(1 << 16, dtype=np.uint16)


def to_decibels(power: npt.NDArray[np.floating]) -> FloatImage:
    """Convert linear radar backscatter to decibels.

    Args:
        power: Backscatter as linear power, any shape. NaN is no data.

    Returns:
        ``10 * log10(power)`` in dB, float32, same shape; NaN where ``power`` is NaN, infinite or <= 0.
    """
    valid = np.isfinite(power) & (power > 0)
    decibels = np.full(power.shape, np.nan, np.float32)
    # In double precision, since the last digit of a single logarithm differs between processors.
    decibels[valid] = 10 * np.log10(power[valid].astype(np.float64))
    return decibels


def to_reflectance(
    numbers: npt.NDArray[Any], scale: float, offset: float, fill_value: int | None
) -> FloatImage:
    """Convert digital numbers of an optical sensor to reflectance.

    Args:
        numbers: Digital numbers, any shape.
        scale: Number of a reflectance of 1, such as 10 000 for Sentinel-2.
        offset: Added to the numbers first, such as -1000 for Sentinel-2 since processing baseline 04.00.
        fill_value: Number of a pixel that was not imaged.

    Returns:
        Reflectance, float32, same shape, mostly 0 to 1 (clouds and glint go higher, and without the offset
        dark ground may go below); NaN for no data.
    """
    reflectance = (numbers.astype(np.float32) + np.float32(offset)) / np.float32(scale)
    reflectance[numbers == fill_value] = np.nan
    return reflectance


def to_scaled_numbers(numbers: npt.NDArray[Any], scale: float) -> FloatImage:
    """Scale 16-bit digital numbers to the range where half precision is fine.

    Args:
        numbers: Digital numbers, any shape; 0 and NaN are no data.
        scale: What they are divided by.

    Returns:
        ``numbers / scale``, float32, same shape; NaN for no data and for what cannot be a 16-bit number.
    """
    valid = (numbers > 0) & (numbers <= LARGEST_NUMBER)
    scaled = np.full(numbers.shape, np.nan, np.float32)
    return np.divide(numbers, np.float32(scale), out=scaled, where=valid, casting="same_kind")


def to_floats(raw: npt.NDArray[Any], fill_value: int | None) -> FloatImage:
    """Return raw values of any shape as float32, with NaN for the fill value."""
    values = raw.astype(np.float32)
    if fill_value is not None:
        values[raw == fill_value] = np.nan
    return values


@dataclass(frozen=True)
class Conversion:
    """The conversion of one sensor's rasters on one date; equal ones share their tables.

    Attributes:
        name: The kind of conversion.
        scale: See :class:`esdseg.sensors.sensors.Conversion`.
        offset: What is added to the numbers on that date.
        fill_value: What the product writes where nothing was measured.
    """

    name: ConversionName
    scale: float = 1.0
    offset: float = 0.0
    fill_value: int | None = None

    @classmethod
    def of(
        cls, sensor: Sensor, acquired: date | None, reflectance_offset: ReflectanceOffset = "by_date"
    ) -> "Conversion":
        """Return the conversion of a sensor's rasters; of projections, which have no date, without offset."""
        settings = sensor.conversion
        acts = acquired is not None and subtracts_offset(sensor, acquired, reflectance_offset)
        return cls(settings.name, settings.scale, settings.offset if acts else 0.0, sensor.fill_value)

    def __call__(self, raw: npt.NDArray[Any]) -> FloatImage:
        """Map raw values of any shape to physical ones, float32; NaN is no data."""
        match self.name:
            case "decibel":
                return to_decibels(raw if self.fill_value is None else to_floats(raw, self.fill_value))
            case "reflectance":
                return to_reflectance(raw, self.scale, self.offset, self.fill_value)
            case "digital_number":
                return to_scaled_numbers(raw, self.scale)
            case "log1p":
                return to_log_radiance(to_floats(raw, self.fill_value))
            case "none":
                return to_floats(raw, self.fill_value)


def to_numbers(values: FloatImage, sensor: Sensor) -> FloatImage:
    """Return the numbers of night light that stored values of any shape stand for; NaN is no data."""
    match sensor.conversion.name:
        case "log1p":
            return np.expm1(values)
        case "digital_number":
            return values * np.float32(sensor.conversion.scale)
        case _:
            return values


def find_glitches(numbers: FloatImage, core: Rectangle = WHOLE) -> npt.NDArray[np.bool_]:
    """Find the pixels of night light that flash up on a single date.

    A glitch fills a whole native cell, so neighbours cannot tell it from a village; other dates can. From
    each date its median over the core is taken away, so that a moonlit night does not count as light. A
    pixel's brightest date is a glitch where it then exceeds ``GLITCH_MARGIN + GLITCH_RATIO * s``, with ``s``
    the second-brightest date's value there (at least 0). A town that is lit on two dates or more is never
    one.

    Args:
        numbers: Numbers (dates, height, width) of one place; NaN is no data.
        core: The part whose medians say how bright a night usually is; all of it unless given.

    Returns:
        Mask of the same shape; at most one date a pixel is true.
    """
    glitches = np.zeros(numbers.shape, np.bool_)
    if len(numbers) < MIN_DATES_FOR_GLITCHES:
        return glitches
    # Medians are not negative, so only where a number exceeds the margin there may be a glitch.
    bright = (numbers > GLITCH_MARGIN).any(axis=0)
    if not bright.any():
        return glitches
    above = numbers[:, bright]
    missing = np.isnan(above)
    above -= np.array([_median(image[core]) for image in numbers], numbers.dtype)[:, np.newaxis]
    above[missing] = -np.inf
    brightest = above.argmax(axis=0)[np.newaxis]
    peak = np.take_along_axis(above, brightest, axis=0)
    np.put_along_axis(above, brightest, -np.inf, axis=0)
    second = np.maximum(above.max(axis=0, keepdims=True), 0)
    enough_dates = len(numbers) - missing.sum(axis=0) >= MIN_DATES_FOR_GLITCHES
    is_glitch = np.zeros(above.shape, np.bool_)
    np.put_along_axis(
        is_glitch, brightest, enough_dates & (peak > GLITCH_MARGIN + GLITCH_RATIO * second), axis=0
    )
    glitches[:, bright] = is_glitch
    return glitches


def _median(image: FloatImage) -> float:
    """Return the median of the pixels with data; 0 where there are none."""
    missing = np.isnan(image)
    valid = image[~missing] if missing.any() else image
    return float(np.median(valid)) if valid.size else 0.0


def remove_glitches(numbers: FloatImage, core: Rectangle = WHOLE) -> FloatImage:
    """Return numbers (dates, height, width) with the glitches of :func:`find_glitches` as NaN."""
    return np.where(find_glitches(numbers, core), np.float32(np.nan), numbers)


def project_max(numbers: FloatImage) -> FloatImage:
    """Return the brightest number of each pixel over the dates that have data, (height, width)."""
    return np.fmax.reduce(numbers, axis=0)


def project_median(numbers: FloatImage) -> FloatImage:
    """Return the median number of each pixel over the dates that have data, (height, width).

    With an even number of such dates it is the mean of the two in the middle, and NaN where there is none.
    """
    # A native cell fills hundreds of pixels, whose median is computed once.
    rows, columns = _distinct_lines(numbers, axis=1), _distinct_lines(numbers, axis=2)
    # numpy.nanmedian does the same a pixel at a time; sorting puts NaN last and takes a tenth of the time.
    ordered = np.sort(numbers[:, rows.first][:, :, columns.first], axis=0)
    count = np.count_nonzero(~np.isnan(ordered), axis=0)[np.newaxis]
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=0)[0]
    high = np.take_along_axis(ordered, count // 2, axis=0)[0]
    medians: FloatImage = (low + high) / np.float32(2)
    return medians[rows.number][:, columns.number]


def to_log_radiance(numbers: FloatImage) -> FloatImage:
    """Return ``log(1 + numbers)``, float32, same shape; NaN stays NaN."""
    return np.log1p(numbers)


class _Lines(NamedTuple):
    """Runs of equal rows or columns: the first line of each run, and the run's number of each line."""

    first: npt.NDArray[np.intp]
    number: npt.NDArray[np.intp]


def _distinct_lines(numbers: FloatImage, axis: int) -> _Lines:
    """Find the runs of equal rows (axis 1) or columns (axis 2) of an image (dates, height, width)."""
    lines = np.moveaxis(numbers.view(np.uint32), axis, 0)
    begins = np.ones(len(lines), np.bool_)
    begins[1:] = (lines[1:] != lines[:-1]).any(axis=(1, 2))
    return _Lines(np.flatnonzero(begins), np.cumsum(begins) - 1)


def convert_to_half(raw: npt.NDArray[Any], conversion: Conversion, out: HalfArray) -> None:
    """Convert raw values and round them to half precision.

    Rounding a float takes longer than looking it up, and most rasters hold 16-bit numbers, some of them as
    floats: those are converted by a table of all such numbers. The result is the same, bit by bit.

    Args:
        raw: Raw values, any shape.
        conversion: What maps raw values to physical ones.
        out: Receives the result; same shape as ``raw``.
    """
    numbers = _whole_numbers(raw)
    if numbers is None:
        out[...] = conversion(raw)
    else:
        # Sixteen bits never lie outside the table; "clip" alone writes to `out` without another copy.
        np.take(_table(conversion, raw.dtype), numbers, out=out, mode="clip")


def _whole_numbers(raw: npt.NDArray[Any]) -> npt.NDArray[np.uint16] | None:
    """Return the values as uint16 if all are whole numbers from 0 to 65535, else ``None``."""
    if raw.dtype == np.uint16:
        return raw
    # Any other value comes back from the cast as another number.
    with np.errstate(invalid="ignore"):
        numbers = raw.astype(np.uint16)
    return numbers if np.array_equal(numbers, raw) else None


@lru_cache
def _table(conversion: Conversion, dtype: np.dtype[Any]) -> HalfArray:
    return conversion(_ALL_NUMBERS.astype(dtype)).astype(np.float16)


PROJECTIONS: Mapping[Projection, Callable[[FloatImage], FloatImage]] = {
    "max": project_max,
    "median": project_median,
}
"""From the numbers of several nights to those of one."""


class Rasters(Protocol):
    """The rasters of one rectangle of the ground, all of one shape (height, width)."""

    @property
    def sensors(self) -> SensorTable:
        """The description of the sensors."""

    @property
    def names(self) -> Collection[RasterName]:
        """What there is, in the order of channels."""

    def read(self, name: RasterName) -> npt.NDArray[Any]:
        """Read the raw values (height, width) of one of :attr:`names`."""

    def path(self, name: RasterName) -> Path:
        """Return the file of one of :attr:`names`, for messages."""


class LayerConverter:
    """Converts the layers of a rectangle, and measures what of each acquisition could be seen.

    Args:
        rasters: The rasters.
        recipe: Smoothing is done here; :func:`scale_by_rectangle` does clipping, gamma and rescaling.
        reflectance_offset: From which dates the offset of newer products is subtracted.
        core: The rows and columns by which sky, light and the usual brightness of nights are judged. What
            lies around it is converted in the same way.
    """

    def __init__(
        self,
        rasters: Rasters,
        recipe: Recipe,
        reflectance_offset: ReflectanceOffset = "by_date",
        core: Rectangle = WHOLE,
    ) -> None:
        self._rasters, self._recipe = rasters, recipe
        self._reflectance_offset, self._core = reflectance_offset, core
        self._sky_bands = {sensor.name: sky_bands(sensor) for sensor in rasters.sensors.all}
        self._samples: dict[RasterName, npt.NDArray[np.float32]] = {}
        self._nights: dict[str, dict[date, FloatImage]] = {}
        self._missing: dict[tuple[str, date], float] = {}
        self._light: dict[tuple[str, date], float] = {}

    def convert(self, layer: Layer, values: HalfArray) -> None:
        """Convert one layer.

        Args:
            layer: The layer; one whose raster is not there becomes no data.
            values: Receives the values (height, width); NaN is no data.
        """
        raw = self._raw_layer(layer)
        sigma_px = self._recipe.steps(layer.sensor.name).smoothing_sigma_px
        conversion = Conversion.of(layer.sensor, layer.acquired, self._reflectance_offset)
        if raw is None:
            values[...] = np.nan
        elif sigma_px:
            values[...] = smooth(conversion(raw), sigma_px)
        else:
            convert_to_half(raw, conversion, values)

    def measure(self, layer: Layer, values: HalfArray) -> CodeCounts:
        """Measure a converted layer, for :meth:`acquisitions`.

        Args:
            layer: The layer.
            values: What :meth:`convert` gave of it.

        Returns:
            Counts (65536,) of the half-precision codes in the core.
        """
        core = values[self._core]
        counts = count_codes(core)
        self._keep(layer, counts, core.size)
        return counts

    def acquisitions(self, dates: Mapping[str, Sequence[date]]) -> tuple[Acquisition, ...]:
        """Return what is known of acquisitions: their sky, and what the layers measured so far say.

        Args:
            dates: The dates of each sensor; sensors in the order of the description.
        """
        for name in self._rasters.names:
            tells_sky = name.band in self._sky_bands[name.sensor]
            if tells_sky and name not in self._samples and name.acquired in dates.get(name.sensor, ()):
                self._read(name)
        skies = estimate_sky(self._samples, self._rasters.sensors)
        return list_acquisitions(dates, skies, self._missing, self._light)

    def _read(self, name: RasterName) -> npt.NDArray[Any]:
        sensor = self._rasters.sensors.sensor(name.sensor)
        raster = self._rasters.read(name)
        if self._reflectance_offset == "by_date":
            error = missing_offset(self._rasters.path(name), raster, sensor, name.acquired)
            if error is not None:
                raise error
        if name.band in self._sky_bands[name.sensor]:
            has_offset = subtracts_offset(sensor, name.acquired, self._reflectance_offset)
            self._samples[name] = sample_reflectance(raster[self._core], sensor, has_offset)
        return raster

    def _raw_layer(self, layer: Layer) -> npt.NDArray[Any] | None:
        """Return the numbers to convert; ``None`` where there is no data."""
        if layer.sensor.kind != "night_light":
            assert layer.acquired is not None
            name = RasterName(layer.sensor.name, layer.acquired, layer.band)
            return self._read(name) if name in self._rasters.names else None
        if layer.sensor.name not in self._nights:
            self._nights[layer.sensor.name] = self._clean_nights(layer.sensor)
        nights = self._nights[layer.sensor.name]
        if layer.acquired is not None:
            return nights.get(layer.acquired)
        projection = PROJECTIONS[layer.sensor.projection_of(layer.band)]
        return projection(np.stack(list(nights.values()))) if nights else None

    def _clean_nights(self, sensor: Sensor) -> dict[date, FloatImage]:
        """Return the numbers of all nights, which together tell what is a glitch."""
        names = [name for name in self._rasters.names if name.sensor == sensor.name]
        if not names:
            return {}
        numbers = np.stack([to_floats(self._read(name), sensor.fill_value) for name in names])
        cleaned = remove_glitches(numbers, self._core)
        return dict(zip((name.acquired for name in names), cleaned, strict=True))

    def _keep(self, layer: Layer, counts: CodeCounts, pixels: int) -> None:
        """Keep the greatest share without a measurement, and the median of a night to half a number.

        Rounded so, nights as dark as each other stay equal. Projections are of no single date.
        """
        if layer.acquired is None:
            return
        key = layer.sensor.name, layer.acquired
        missing = count_missing(counts) / pixels
        self._missing[key] = max(self._missing.get(key, 0.0), missing)
        if layer.sensor.kind == "night_light" and missing < 1:
            median = ChannelStatistics(counts[np.newaxis]).quantile(0.5).astype(np.float32)
            self._light[key] = round(2 * float(to_numbers(median, layer.sensor)[0])) / 2


def scale_by_rectangle(
    image: HalfArray, code_counts: CodeCounts, layers: Sequence[Layer], recipe: Recipe
) -> None:
    """Scale layers in place, each band by its own values over all its dates: ``scale_by: tile``.

    Args:
        image: The layers (C, height, width).
        code_counts: Counts (C, 65536) of the codes that set the scale.
        layers: What they are.
        recipe: The steps.
    """
    names = [(layer.sensor.name, layer.band) for layer in layers]
    bands = list(dict.fromkeys(names))
    groups = np.array([bands.index(name) for name in names])
    limits = scaling_limits(ChannelStatistics(code_counts).pooled(groups), layers, recipe)
    for index, layer in enumerate(layers):
        position = np.array([index])
        steps = recipe.steps(layer.sensor.name)
        image[index] = apply_scaling(image[position], limits.only(position), steps, recipe.rescale)[0]
