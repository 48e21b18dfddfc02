"""Guessing from raw values on which optical dates a tile lies under clouds, in their shadows, or in haze.

A cloud is told by its change: over land, blue light hardly varies within a month, and a cloud is much
brighter. A pixel counts as cloud where its blue reflectance exceeds the second lowest of the tile's dates
by :data:`CLOUD_EXCESS` (the lowest may be a cloud's shadow; with two dates it is all there is). A shadow is
told by near infrared, which no haze brightens: a pixel counts as shadow where it falls below
:data:`SHADOW_RATIO` times its median over the dates on which it is no cloud. High, thin haze is told by the
cirrus band at 1.38 um, which water vapour keeps dark over ground at low altitude.

On the contest's Tile1 this finds 11 % and 17 % of the area under cloud on Sentinel-2's 0826 and 0831, 3 %
and 6 % on Landsat-8's 07-29 and 08-30, haze on 08-14, and none on Sentinel-2's 0811 and 0816.

It cannot tell: a pixel that is under cloud on all dates but one; a cloud on a sensor's only date; thin
haze on Sentinel-2 (its cirrus band, B10, is not delivered). Snow, and fields flooded or whitened between two
dates, look like clouds; fields flooded or burnt look like shadows.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date

import numpy as np
import numpy.typing as npt

from esdseg.sensors.acquisitions import Acquisition
from esdseg.sensors.sensors import RasterName, Role, Sensor, SensorTable

FloatArray = npt.NDArray[np.float32]

CLOUD_EXCESS = 0.08
"""Excess of blue reflectance that makes a pixel a cloud; clear dates of Tile1 differ by less than 0.05."""

SHADOW_RATIO = 0.5
"""Share of a pixel's usual near infrared below which it lies in shadow; full shadow leaves about a fifth."""

SAMPLING_STEP_PX = 4
"""Every fourth pixel in both directions is looked at: 40 m, finer than clouds that matter."""

SKY_ROLES: tuple[Role, ...] = ("blue", "near_infrared", "cirrus")
"""Roles of the bands that tell the sky."""


def sky_bands(sensor: Sensor) -> tuple[str, ...]:
    """Return the bands of a sensor that :func:`estimate_sky` looks at; none where it cannot tell."""
    tells = sensor.sky_reflectance is not None or sensor.conversion.name == "reflectance"
    if sensor.kind != "optical" or not tells or sensor.band_with("blue") is None:
        return ()
    return tuple(band for role in SKY_ROLES if (band := sensor.band_with(role)) is not None)


def sample_reflectance(values: npt.NDArray[np.generic], sensor: Sensor, has_offset: bool) -> FloatArray:
    """Return the reflectance of every fourth pixel, (200, 200); NaN where nothing was measured.

    Nothing was measured where the raw value is 0, the sensor's fill value or no number.

    Args:
        values: Raw values (800, 800).
        sensor: An optical sensor whose description says how its numbers become reflectance.
        has_offset: Whether the values carry the offset of newer products.
    """
    line = sensor.reflectance(has_offset)
    assert line is not None
    start = SAMPLING_STEP_PX // 2
    raw = values[start::SAMPLING_STEP_PX, start::SAMPLING_STEP_PX].astype(np.float32)
    measured = np.isfinite(raw) & (raw != 0)
    if sensor.fill_value is not None:
        measured &= raw != sensor.fill_value
    return np.where(measured, raw * line.scale + line.offset, np.nan).astype(np.float32)


def estimate_sky(samples: Mapping[RasterName, FloatArray], sensors: SensorTable) -> tuple[Acquisition, ...]:
    """Judge every date of the optical sensors of one tile.

    Args:
        samples: Reflectance of the rasters of :func:`sky_bands`, all of one shape.
        sensors: The sensors.

    Returns:
        One acquisition a sensor and date that has a blue band, in order, with the shares under cloud and in
        shadow and without a measurement of blue light, and the haze.
    """
    judged = []
    for sensor in sensors.all:
        by_role = {role: _of_band(samples, sensor, role) for role in SKY_ROLES}
        blue = by_role["blue"]
        clouds = _clouds(blue)
        shadows = _shadow_shares(by_role["near_infrared"], clouds)
        for acquired in sorted(blue):
            cirrus = by_role["cirrus"].get(acquired)
            judged.append(
                Acquisition(
                    sensor=sensor.name,
                    acquired=acquired,
                    is_optical=True,
                    cloud_share=_share(clouds.get(acquired)),
                    shadow_share=shadows.get(acquired),
                    missing_share=float(np.isnan(blue[acquired]).mean()),
                    cirrus_reflectance=None if cirrus is None else _median(cirrus),
                )
            )
    return tuple(judged)


def list_acquisitions(
    dates: Mapping[str, Iterable[date]],
    skies: Iterable[Acquisition],
    missing: Mapping[tuple[str, date], float],
    light: Mapping[tuple[str, date], float],
) -> tuple[Acquisition, ...]:
    """Put together what is known of a tile's acquisitions.

    Args:
        dates: The tile's dates of each sensor, sensors in the order of the description.
        skies: What :func:`estimate_sky` found.
        missing: Share of the tile without a measurement, by sensor and date, where the sky does not say it.
        light: Median number of nights, by sensor and date.

    Returns:
        One acquisition a sensor and date, in order.
    """
    known = {(sky.sensor, sky.acquired): sky for sky in skies}
    return tuple(
        known.get((sensor, day))
        or Acquisition(
            sensor=sensor,
            acquired=day,
            missing_share=missing.get((sensor, day)),
            light=light.get((sensor, day)),
        )
        for sensor, days in dates.items()
        for day in sorted(days)
    )


def _of_band(samples: Mapping[RasterName, FloatArray], sensor: Sensor, role: Role) -> dict[date, FloatArray]:
    chosen = (sensor.name, sensor.band_with(role))
    return {name.acquired: samples[name] for name in samples if (name.sensor, name.band) == chosen}


def _clouds(blue: Mapping[date, FloatArray]) -> dict[date, FloatArray]:
    """Return where each date is under cloud: 1, else 0, and NaN where it cannot be compared."""
    if len(blue) < 2:
        return {}
    lowest, second = _two_lowest(list(blue.values()))
    reference = lowest if len(blue) == 2 else second
    # A pixel with one measurement has no reference and counts for nothing.
    is_compared = np.isfinite(second)
    return {
        acquired: np.where(
            is_compared & np.isfinite(values), values - reference > CLOUD_EXCESS, np.nan
        ).astype(np.float32)
        for acquired, values in blue.items()
    }


def _two_lowest(dates: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Return the lowest and the second lowest value (h, w) over the dates; infinity where there is none."""
    lowest = np.full(dates[0].shape, np.inf, np.float32)
    second = lowest.copy()
    for date_values in dates:
        values = np.where(np.isfinite(date_values), date_values, np.float32(np.inf))
        np.minimum(second, np.maximum(lowest, values), out=second)
        np.minimum(lowest, values, out=lowest)
    return lowest, second


def _shadow_shares(
    infrared: Mapping[date, FloatArray], clouds: Mapping[date, FloatArray]
) -> dict[date, float | None]:
    days = [day for day in infrared if day in clouds]
    if len(days) < 2:
        return {}
    under_cloud = np.stack([clouds[day] == 1 for day in days])
    ground = np.where(under_cloud, np.float32(np.nan), np.stack([infrared[day] for day in days]))
    usual = _median_over_dates(ground)
    shares: dict[date, float | None] = {}
    for day, values, is_cloud in zip(days, ground, under_cloud, strict=True):
        judged = is_cloud | (np.isfinite(values) & np.isfinite(usual))
        is_shadow = values < SHADOW_RATIO * usual
        shares[day] = float(is_shadow[judged].mean()) if judged.any() else None
    return shares


def _median_over_dates(values: FloatArray) -> FloatArray:
    """Return the median (h, w) over the dates (dates, h, w) that have a value; NaN where none has."""
    # numpy.nanmedian does the same a pixel at a time; sorting puts NaN last.
    ordered = np.sort(values, axis=0)
    count = np.isfinite(ordered).sum(axis=0)[np.newaxis]
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=0)[0]
    high = np.take_along_axis(ordered, np.minimum(count // 2, len(ordered) - 1), axis=0)[0]
    median: FloatArray = (low + high) / np.float32(2)
    return median


def _share(mask: FloatArray | None) -> float | None:
    known = None if mask is None else mask[np.isfinite(mask)]
    return float(known.mean()) if known is not None and known.size else None


def _median(values: FloatArray) -> float | None:
    measured = values[np.isfinite(values)]
    return float(np.median(measured)) if measured.size else None
