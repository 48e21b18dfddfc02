"""The layers of a rectangle of the ground: rasters of any size, converted one by one to half precision."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from esdseg.config.preprocessing import Recipe, ReflectanceOffset
from esdseg.preprocessing import conversions
from esdseg.preprocessing.conversions import WHOLE, Conversion, FloatImage, Rectangle, convert_to_half
from esdseg.preprocessing.recipe import apply_scaling, scaling_limits, smooth
from esdseg.sensors.acquisitions import Acquisition
from esdseg.sensors.channels import Layer
from esdseg.sensors.sensors import Projection, RasterName, Sensor, SensorTable
from esdseg.store.statistics import ChannelStatistics, CodeCounts, HalfArray, count_codes, count_missing
from esdseg.tiles.clouds import estimate_sky, list_acquisitions, sample_reflectance, sky_bands
from esdseg.tiles.values import missing_offset, subtracts_offset

PROJECTIONS: Mapping[Projection, Callable[[FloatImage], FloatImage]] = {
    "max": conversions.project_max,
    "median": conversions.project_median,
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
        numbers = np.stack([conversions.to_floats(self._read(name), sensor.fill_value) for name in names])
        cleaned = conversions.remove_glitches(numbers, self._core)
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
            median = ChannelStatistics(counts[np.newaxis]).quantile(0.5)[0]
            self._light[key] = round(2 * float(np.expm1(median))) / 2


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
