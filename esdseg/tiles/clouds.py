"""Guessing from raw values on which optical dates a tile lies under clouds or haze.

A cloud is told by its change: over land, blue light hardly varies within a month, and a cloud is much
brighter. A pixel counts as cloud where its blue reflectance exceeds the second lowest of the tile's dates
by :data:`CLOUD_EXCESS` (the lowest may be a cloud's shadow; with two dates it is all there is). High, thin
haze is told by the cirrus band at 1.38 um, which water vapour keeps dark over ground at low altitude.

On the contest's Tile1 this finds 11 % and 17 % of the area under cloud on Sentinel-2's 0826 and 0831, 3 %
and 6 % on Landsat-8's 07-29 and 08-30, haze on 08-14, and none on Sentinel-2's 0811 and 0816.

It cannot tell: a pixel that is under cloud on all dates but one; a cloud on a sensor's only date; thin
haze on Sentinel-2 (its cirrus band, B10, is not delivered); cloud shadows. Snow, and fields flooded or
whitened between two dates, look like clouds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import numpy.typing as npt

from esdseg.sensors.sensors import RasterName, Sensor, SensorTable

Sky = Literal["clear", "cloudy", "hazy", "unknown"]
FloatArray = npt.NDArray[np.float32]

CLOUD_EXCESS = 0.08
"""Excess of blue reflectance that makes a pixel a cloud; clear dates of Tile1 differ by less than 0.05."""

CLOUDY_SHARE = 0.01
"""Share of a tile under cloud from which its date is called cloudy."""

HAZY_CIRRUS = 0.004
"""Median reflectance in the cirrus band from which a date is called hazy; Tile1: 0.001 clear, 0.009 hazy."""

SAMPLING_STEP_PX = 4
"""Every fourth pixel in both directions is looked at: 40 m, finer than clouds that matter."""


@dataclass(frozen=True)
class SkyEstimate:
    """What the sky over one tile was on one date of one optical sensor.

    Attributes:
        sensor: The sensor.
        acquired: The date.
        sky: The verdict; ``unknown`` where there is no second date to compare with.
        cloud_share: Share of the measured area under cloud, 0 to 1; ``None`` if unknown.
        cirrus_reflectance: Median of the cirrus band; ``None`` for sensors without it.
    """

    sensor: str
    acquired: date
    sky: Sky
    cloud_share: float | None
    cirrus_reflectance: float | None


def tells_sky(sensor: Sensor, band: str) -> bool:
    """Return whether :func:`estimate_sky` looks at rasters of this band."""
    is_described = sensor.kind == "optical" and sensor.reflectance is not None
    return is_described and band in (sensor.band_with("blue"), sensor.band_with("cirrus"))


def sample_reflectance(values: npt.NDArray[np.generic], sensor: Sensor, acquired: date) -> FloatArray:
    """Return the reflectance of every fourth pixel, (200, 200); NaN where the raw value is 0 or no number.

    Args:
        values: Raw values (800, 800).
        sensor: An optical sensor whose description says how its numbers become reflectance.
        acquired: The date, which says whether the values have an offset.
    """
    line = sensor.reflectance
    assert line is not None
    offset = line.offset
    if sensor.sky_reflectance is None and sensor.has_offset(acquired):
        offset -= sensor.offset * line.scale
    start = SAMPLING_STEP_PX // 2
    raw = values[start::SAMPLING_STEP_PX, start::SAMPLING_STEP_PX].astype(np.float32)
    return np.where(np.isfinite(raw) & (raw != 0), raw * line.scale + offset, np.nan).astype(np.float32)


def estimate_sky(samples: Mapping[RasterName, FloatArray], sensors: SensorTable) -> tuple[SkyEstimate, ...]:
    """Judge every date of the optical sensors of one tile.

    Args:
        samples: Reflectance of the rasters for which :func:`tells_sky` holds, all of one shape.
        sensors: The sensors.

    Returns:
        One estimate a sensor and date that has a blue band, in order.
    """
    estimates = []
    for sensor in sensors.all:
        chosen = (sensor.name, sensor.band_with("blue"))
        blue = {name.acquired: samples[name] for name in samples if (name.sensor, name.band) == chosen}
        shares = _cloud_shares(blue)
        for acquired in sorted(blue):
            cirrus_name = RasterName(sensor.name, acquired, sensor.band_with("cirrus") or "")
            cirrus = _median(samples[cirrus_name]) if cirrus_name in samples else None
            share = shares[acquired]
            estimates.append(SkyEstimate(sensor.name, acquired, _verdict(share, cirrus), share, cirrus))
    return tuple(estimates)


def _cloud_shares(blue: Mapping[date, FloatArray]) -> dict[date, float | None]:
    if len(blue) < 2:
        return dict.fromkeys(blue)
    ranked = np.sort(np.stack(list(blue.values())), axis=0)
    # NaN is sorted last: a pixel with one measurement has no reference and counts for nothing.
    reference = ranked[0] if len(blue) == 2 else ranked[1]
    compared = np.isfinite(ranked[1])
    shares: dict[date, float | None] = {}
    for acquired, values in blue.items():
        valid = compared & np.isfinite(values)
        excess = values[valid] - reference[valid]
        shares[acquired] = float((excess > CLOUD_EXCESS).mean()) if excess.size else None
    return shares


def _median(values: FloatArray) -> float | None:
    measured = values[np.isfinite(values)]
    return float(np.median(measured)) if measured.size else None


def _verdict(cloud_share: float | None, cirrus: float | None) -> Sky:
    if cloud_share is not None and cloud_share >= CLOUDY_SHARE:
        return "cloudy"
    if cirrus is not None and cirrus >= HAZY_CIRRUS:
        return "hazy"
    return "unknown" if cloud_share is None else "clear"
