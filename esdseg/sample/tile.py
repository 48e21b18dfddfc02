"""One sample tile in memory: all rasters, the labels, and the scene they were made from."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from esdseg.sample.dates import TileDates, contest_dates
from esdseg.sample.land import build_land, fertility_field
from esdseg.sample.night_lights import render_viirs
from esdseg.sample.optical import render_landsat8, render_sentinel2
from esdseg.sample.parameters import TileParameters, draw_parameters
from esdseg.sample.radar import render_sentinel1
from esdseg.sample.regions import SAVANNA, Region
from esdseg.sample.settlements import Settlements, build_settlements, label_grid
from esdseg.sample.terrain import build_terrain

RasterKey = tuple[str, date, str]
Rasters = Iterator[tuple[tuple[date, str], npt.NDArray[Any]]]
"""Date, band and raster, one after the other."""


@dataclass(frozen=True)
class SampleTile:
    """A tile as the contest delivers it, and what it was made from.

    Attributes:
        rasters: Arrays ``(800, 800)`` in the sensor's own type, by sensor, date and band name.
        labels: Class codes 1 to 4, ``(16, 16)`` uint16.
        settlements: The buildings and lamps that the labels follow from.
        parameters: The tile's settings.
    """

    rasters: dict[RasterKey, npt.NDArray[Any]]
    labels: npt.NDArray[np.uint16]
    settlements: Settlements
    parameters: TileParameters


def generate_tile(
    seed: int, number: int, dates: TileDates | None = None, region: Region = SAVANNA
) -> SampleTile:
    """Generate tile ``number`` of the set named by ``seed``.

    The same two numbers and the same region always give the same tile, whatever else is generated.

    Args:
        seed: Name of the set, 0 or more.
        number: The tile's number, 1 or more, as in ``Tile1``.
        dates: The dates of each sensor; the contest's unless given. The ground is the same on all dates.
        region: What kind of land it is.
    """
    dates = contest_dates() if dates is None else dates
    parameters = draw_parameters(seed, number, region)
    children = np.random.SeedSequence(seed, spawn_key=(number, 1, *region.spawn_key)).spawn(8)
    terrain_rng, fertility_rng, people_rng, land_rng, viirs_rng, radar_rng, sentinel2_rng, landsat_rng = (
        np.random.default_rng(child) for child in children
    )
    terrain = build_terrain(parameters, terrain_rng)
    fertility = fertility_field(parameters, terrain, fertility_rng)
    settlements = build_settlements(parameters, terrain, fertility, people_rng)
    by_sensor: dict[str, Rasters] = {"viirs": render_viirs(settlements.lamps, dates["viirs"], viirs_rng)}
    # Labels and nights need no land.
    if any(drawn for sensor, drawn in dates.items() if sensor != "viirs"):
        land = build_land(parameters, terrain, fertility, settlements, land_rng)
        by_sensor |= {
            "sentinel1": render_sentinel1(
                terrain,
                land,
                settlements.buildings,
                dates["sentinel1"],
                radar_rng,
                ground_factor=region.radar_ground,
            ),
            "sentinel2": render_sentinel2(parameters, land, dates["sentinel2"], sentinel2_rng),
            "landsat8": render_landsat8(parameters, terrain, land, dates["landsat8"], landsat_rng),
        }
    rasters = {
        (sensor, acquired, band): raster
        for sensor, of_sensor in by_sensor.items()
        for (acquired, band), raster in of_sensor
    }
    return SampleTile(
        rasters=rasters,
        labels=label_grid(settlements.buildings, settlements.lamps),
        settlements=settlements,
        parameters=parameters,
    )
