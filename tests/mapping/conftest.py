"""The same ground as a scene, as tiles that say where they lie, as tiles that do not, and as a store."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from affine import Affine

from esdseg.config.evaluation import MapConfig
from esdseg.config.preprocessing import PreprocessConfig
from esdseg.preprocessing.preprocess import preprocess
from esdseg.sensors.classes import CELL_SIZE_PX, GRID_SIZE, TILE_SIZE_PX
from esdseg.sensors.sensors import RasterName
from esdseg.store.store import Store, open_store
from tests.contest import CONTEST
from tests.make_tiles import write_raster
from tests.scoring.checkpoints import write_checkpoint

CRS = "EPSG:32736"
LEFT_M, TOP_M = 560_000.0, 8_560_000.0
COLUMNS = 2 * GRID_SIZE
NIGHT, MOONLIT_NIGHT = date(2020, 8, 8), date(2020, 8, 22)
DAY, RADAR_DAY = date(2020, 8, 16), date(2020, 8, 4)
BRIGHTER = 6
"""Numbers by which the eastern tile's night is brighter."""

BANDS = ("B02", "B03", "B04", "B08")


@dataclass(frozen=True)
class Ground:
    """The same 16 x 32 cells in four forms, and a network.

    Attributes:
        folder: Holds ``scene``, ``tiles``, ``contest`` (tiles that lie nowhere), ``processed`` and
            ``checkpoints``.
        rasters: The raw values (800, 1600) of each raster.
    """

    folder: Path
    rasters: Mapping[RasterName, npt.NDArray[np.generic]]

    @property
    def store(self) -> Store:
        return open_store(self.folder / "processed")

    def config(self, **changes: object) -> MapConfig:
        settings = {
            "checkpoint": str(self.folder / "checkpoints/tiny/best.ckpt"),
            "accelerator": "cpu",
            "precision": "32-true",
            "workers": 1,
            **changes,
        }
        return MapConfig.model_validate(settings)


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """One date of each sensor, and a moonlit night: no order depends on where sky and nights are judged."""
    folder = tmp_path_factory.mktemp("ground")
    rasters = draw_rasters(np.random.default_rng(0))
    write_scene(folder / "scene", rasters)
    for tile in range(2):
        columns = slice(tile * TILE_SIZE_PX, (tile + 1) * TILE_SIZE_PX)
        parts = {name: raster[:, columns] for name, raster in rasters.items()}
        write_scene(folder / f"tiles/Tile{tile + 1}", parts, tile * GRID_SIZE)
        write_scene(folder / f"contest/Tile{tile + 1}", parts, None)
    codes = np.arange(GRID_SIZE**2, dtype=np.uint16).reshape(GRID_SIZE, GRID_SIZE) % 4 + 1
    for tile in range(2):
        write_raster(folder / f"tiles/Tile{tile + 1}/groundTruth.tif", codes)
    preprocess(
        PreprocessConfig(
            raw_dir=folder / "tiles", processed_dir=folder / "processed", val_fraction=0.5, workers=1
        )
    )
    store = open_store(folder / "processed")
    for seed, name in enumerate(("tiny", "other")):
        write_checkpoint(folder / f"checkpoints/{name}/best.ckpt", store, run_name=name, seed=seed)
    return Ground(folder, rasters)


def draw_rasters(rng: np.random.Generator) -> dict[RasterName, npt.NDArray[np.generic]]:
    """Draw noise with a level a cell, in each sensor's raw numbers."""
    levels = {
        RasterName("viirs", NIGHT, "DNB"): (8.0, 4.0),
        RasterName("viirs", MOONLIT_NIGHT, "DNB"): (60.0, 4.0),
        **{RasterName("sentinel1", RADAR_DAY, band): (0.08, 0.02) for band in ("VH", "VV")},
        **{RasterName("sentinel2", DAY, band): (1200.0, 300.0) for band in BANDS},
    }
    rasters: dict[RasterName, npt.NDArray[np.generic]] = {}
    for name, (level, spread) in levels.items():
        cells = rng.normal(level, spread, (GRID_SIZE, 1, COLUMNS, 1))
        pixels = rng.normal(0, spread / 2, (GRID_SIZE, CELL_SIZE_PX, COLUMNS, CELL_SIZE_PX))
        values = np.maximum(cells + pixels, level / 20).reshape(GRID_SIZE * CELL_SIZE_PX, -1)
        if name.acquired == NIGHT:
            values[:, TILE_SIZE_PX:] += BRIGHTER
        kind = CONTEST.sensor(name.sensor).dtypes[0]
        rasters[name] = (values if name.sensor == "sentinel1" else np.rint(values)).astype(kind)
    return rasters


def write_scene(
    folder: Path, rasters: Mapping[RasterName, npt.NDArray[np.generic]], column: int | None = 0
) -> None:
    """Write rasters as files, ``column`` cells east of the area's corner; without a place where ``None``."""
    folder.mkdir(parents=True)
    for name, values in rasters.items():
        path = folder / CONTEST.sensor(name.sensor).file_name(name.acquired, name.band)
        if column is None:
            write_raster(path, values)
        else:
            left = LEFT_M + column * CELL_SIZE_PX * 10.0
            write_raster(path, values, CRS, Affine(10, 0, left, 0, -10, TOP_M))
