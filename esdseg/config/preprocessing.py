"""Settings of ``esdseg preprocess``: what is read, what is written, and the recipe of its steps."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from esdseg.config.section import (
    Fraction,
    SchedulerAddress,
    Section,
    Seed,
    SelectedBands,
    SubtileSize,
)

ReflectanceOffset = Literal["by_date", "subtract", "keep"]


class SensorSteps(Section):
    """Steps for one sensor's bands, applied in this order to the physical values."""

    smoothing_sigma_px: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Standard deviation of a Gaussian smoothing in pixels; 0 is off."""
    clip_fraction: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Values are clipped to the quantiles at this fraction and at one minus it; 0 is off (but ``min_max``
    still clips to the smallest and largest value)."""
    gamma: Annotated[float, Field(gt=0, le=5)] = 1.0
    """Exponent on the values once they are scaled to 0-1; 1 is off. Needs ``rescale: min_max``."""


class Recipe(Section):
    """How physical values become network input.

    Smoothing is done when a tile is written. Clipping, gamma and rescaling need a scale: with ``scale_by:
    training_tiles`` they are done by the first layer of the network, with limits from the training tiles
    alone; with ``scale_by: tile`` they are done when a tile is written, with the tile's own limits.
    """

    scale_by: Literal["training_tiles", "tile"] = "training_tiles"
    """What clipping limits and scales are taken from: the training tiles, or each tile by itself."""
    rescale: Literal["standardize", "min_max"] = "standardize"
    """To mean 0 and standard deviation 1, or to the range 0-1 (between the clipping limits)."""
    __pydantic_extra__: dict[str, SensorSteps]
    """The steps of sensors, by name; a sensor that is not named has none."""

    model_config = ConfigDict(extra="allow")

    @property
    def sensors(self) -> dict[str, SensorSteps]:
        """The steps of the sensors that have any, by name."""
        return self.__pydantic_extra__

    @model_validator(mode="after")
    def _gamma_has_a_range(self) -> Self:
        for sensor, steps in self.sensors.items():
            if steps.gamma != 1 and self.rescale != "min_max":
                raise ValueError(
                    f"{sensor}.gamma is an exponent on values of 0 to 1; set rescale to min_max or gamma to 1"
                )
        return self

    def steps(self, sensor: str) -> SensorSteps:
        """Return the steps of one sensor's bands."""
        return self.sensors.get(sensor, SensorSteps())


PHYSICAL_RECIPE = Recipe()
"""The default: physical values, standardised by the training tiles."""

COURSE_RECIPE = Recipe.model_validate(
    {
        "rescale": "min_max",
        "viirs": SensorSteps(clip_fraction=0.05),
        "sentinel1": SensorSteps(clip_fraction=0.01, smoothing_sigma_px=1.0),
        "sentinel2": SensorSteps(clip_fraction=0.05, gamma=1 / 2.2),
        "landsat8": SensorSteps(clip_fraction=0.01, gamma=1 / 2.2),
    }
)
"""The steps of the course this project grew from, scaled by the training tiles."""

RECIPES = {"physical": PHYSICAL_RECIPE, "course": COURSE_RECIPE}


def _read_recipe(value: object) -> object:
    """Turn the name of a ready-made recipe into it."""
    if not isinstance(value, str):
        return value
    if value not in RECIPES:
        raise ValueError(f"unknown recipe '{value}'; use {' or '.join(RECIPES)}, or a section of steps")
    return RECIPES[value]


class PreprocessConfig(Section):
    """All settings of ``esdseg preprocess``."""

    raw_dir: Path = Path("data/raw/Train")
    """Folder that holds the tiles' folders."""
    processed_dir: Path = Path("data/processed")
    """Folder that holds the processed data, with 4x4/ in it."""
    labels: Path | None = None
    """Folder of label grids that lie apart from the tiles: 1.tif or Tile1.tif for Tile1, and so on. They
    stand in for the tiles' own."""
    sensors: Path | None = None
    """FILE.yml that describes the sensors, or s2-s1, which comes with esdseg; the contest's unless given."""
    subtile_size: SubtileSize = 4
    """Side of a subtile in label cells: 1, 2, 4, 8 or 16."""
    val_fraction: Fraction = 0.2
    """Share of the labelled tiles kept for validation, of those that are not for testing."""
    test_fraction: Fraction = 0.0
    """Share of the labelled tiles set aside in Test/ before all else; nothing is ever chosen by them."""
    seed: Seed = 12378921
    """Seed of the split."""
    workers: Annotated[int, Field(ge=1)] | None = None
    """Processes that write tiles; one a core unless given."""
    dask: SchedulerAddress | None = None
    """Address of a Dask scheduler whose workers write the tiles, such as tcp://10.0.0.1:8786; they must see
    the same folders."""
    strict: bool = False
    """Refuse tiles in which `esdseg check` finds any problem, such as a missing date or band, which is
    otherwise filled with no data."""
    skip_bad: bool = False
    """Leave out tiles that cannot be read or do not fit, and list them."""
    reflectance_offset: ReflectanceOffset = "by_date"
    """The offset that newer products of a sensor have added to their values, such as 1000 for Sentinel-2 from
    25 January 2022 on: subtracted from those dates (by_date), from all dates, or kept."""
    selected_bands: SelectedBands | None = None
    """Bands to keep of each sensor; all unless given."""
    recipe: Annotated[Recipe, BeforeValidator(_read_recipe)] = PHYSICAL_RECIPE
    """Steps from raw to network values: physical, the course's (course), or a section of one's own."""
