"""Clouds over the optical dates, and the shadows they throw."""

from dataclasses import dataclass

import numpy as np

from esdseg.sample.fields import FloatArray, level_of, smooth_noise, smooth_step
from esdseg.sensors.grid import TILE_SIZE_PX

CLOUD_SCALES_PX = (170.0, 80.0, 36.0, 16.0, 7.0, 3.0)
CLOUD_DEVIATIONS = (0.9, 0.65, 0.3, 0.2, 0.12, 0.07)


@dataclass(frozen=True)
class Clouds:
    """Clouds of one date; fields are ``(800, 800)``.

    Attributes:
        opacity: Share of the light that comes from the cloud, 0 to 1.
        shadow: Share of the direct light that a cloud keeps off the ground, 0 to 1.
        brightness: Brightness of the cloud's top against a middling one.
    """

    opacity: FloatArray
    shadow: FloatArray
    brightness: FloatArray


def draw_clouds(cover: float, rng: np.random.Generator) -> Clouds:
    """Draw clouds over about ``cover`` (0 to 1) of a tile.

    Shadows fall to the south-west and west: the sun stands in the north-east on a southern winter morning.
    """
    margin = 96
    size = TILE_SIZE_PX + margin
    noise = np.zeros((size, size), np.float32)
    for scale_px, deviation in zip(CLOUD_SCALES_PX, CLOUD_DEVIATIONS, strict=True):
        noise += np.float32(deviation) * smooth_noise(rng, scale_px, size)
    level = level_of(noise, float(np.clip(cover, 0.001, 0.6)))
    opacity = smooth_step(noise, level - 0.25, level + 0.35)
    down, left = int(rng.integers(10, 60)), int(rng.integers(30, 90))
    here = (slice(margin, None), slice(0, TILE_SIZE_PX))
    sunward = (slice(margin - down, size - down), slice(left, left + TILE_SIZE_PX))
    brightness = 0.75 + 0.35 * smooth_step(noise, level, level + 1.3) + 0.08 * smooth_noise(rng, 5.0, size)
    return Clouds(opacity[here], opacity[sunward], brightness[here])
