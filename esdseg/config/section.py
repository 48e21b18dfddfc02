"""The base of every configuration section, and value types that several sections share."""

import re
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from esdseg.sensors.grid import GRID_SIZE, SUBTILE_SIZES
from esdseg.sensors.sensors import PROJECTION_BANDS, SensorName, get_sensor


class Section(BaseModel):
    """A frozen group of settings; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


def _check_subtile_size(value: int) -> int:
    if value not in SUBTILE_SIZES:
        sizes = ", ".join(map(str, SUBTILE_SIZES))
        raise ValueError(
            f"a subtile of {value} cells does not divide a tile of {GRID_SIZE}; use one of {sizes}"
        )
    return value


def _read_date(value: object) -> object:
    # YAML reads 20200816 as a whole number; positions are small.
    if isinstance(value, int) and not isinstance(value, bool) and value > 9_999_999:
        value = str(value)
    if isinstance(value, str) and len(value) == 8 and value.isdigit():
        return datetime.strptime(value, "%Y%m%d").date()
    return value


def _expand_bands(value: object) -> object:
    """Turn ``sentinel2: all`` and ``sentinel2: B02`` into lists of band names, and check the names."""
    if not isinstance(value, dict):
        return value
    expanded: dict[object, object] = {}
    for sensor, bands in value.items():
        try:
            known = get_sensor(str(sensor)).band_names + PROJECTION_BANDS.get(str(sensor), ())
        except KeyError:
            expanded[sensor] = bands
            continue
        if bands == "all":
            bands = known
        elif isinstance(bands, str):
            bands = (bands,)
        if isinstance(bands, (list, tuple)):
            for band in bands:
                if band not in known:
                    raise ValueError(f"{sensor} has no band {band}; its bands: {', '.join(known)}")
        expanded[sensor] = bands
    return expanded


def _check_scheduler_address(address: str) -> str:
    if not re.fullmatch(r"([a-z]+://)?[^\s/]+:\d+", address):
        raise ValueError(f"{address!r} is no scheduler's address; it looks like tcp://HOST:8786")
    return address


Probability = Annotated[float, Field(ge=0, le=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
SubtileSize = Annotated[int, AfterValidator(_check_subtile_size)]
AcquisitionDate = Annotated[date | int, BeforeValidator(_read_date)]
SelectedBands = Annotated[dict[SensorName, tuple[str, ...]], BeforeValidator(_expand_bands)]
"""Bands to use a sensor; a sensor that is not named is left out. ``all`` stands for every band."""
SelectedDates = dict[SensorName, tuple[AcquisitionDate, ...]]
"""Dates, or positions in the sorted dates, to use a sensor; a sensor that is not named keeps all."""
SchedulerAddress = Annotated[str, AfterValidator(_check_scheduler_address)]
"""Of a Dask scheduler, such as ``tcp://10.0.0.1:8786``."""
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
Accelerator = Literal["auto", "cpu", "gpu", "mps"]
