"""From scenes, tiles and a store to the map of an area."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import torch
import yaml
from rasterio import crs, transform

from esdseg.config.evaluation import RestitchConfig
from esdseg.config.preprocessing import PreprocessConfig, Recipe
from esdseg.errors import InputDataError, UsageError
from esdseg.mapping import lattice
from esdseg.mapping.area_input import Ground as BlockGround
from esdseg.mapping.area_input import covered_cells
from esdseg.mapping.input_folder import open_area
from esdseg.mapping.map_result import MapResult
from esdseg.mapping.output_folder import blocks_folder
from esdseg.mapping.predict import predict
from esdseg.models.checkpoint import NetworkCheckpoint, load_checkpoint
from esdseg.prediction.calibration import fit_calibration, temper
from esdseg.prediction.maps import read_probabilities
from esdseg.prediction.windows import Passes, choose_device, predict_tiles
from esdseg.preprocessing.preprocess import preprocess
from esdseg.scoring.restitch import restitch
from esdseg.sensors.classes import CELL_SIZE_PX, GRID_SIZE
from esdseg.sensors.sensors import CONTEST_FILE, RasterName
from esdseg.store.manifest import write_manifest
from esdseg.store.store import open_store
from esdseg.tiles.area import CellGrid
from tests.make_tiles import write_raster
from tests.mapping.conftest import BANDS, COLUMNS, CRS, DAY, LEFT_M, NIGHT, TOP_M, Ground, write_scene
from tests.scoring.checkpoints import write_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")

Probabilities = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def of_scene(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> MapResult:
    return predict(ground.config(), ground.folder / "scene", tmp_path_factory.mktemp("maps") / "scene")


@pytest.fixture
def checkpoint(ground: Ground) -> NetworkCheckpoint:
    return load_checkpoint(ground.folder / "checkpoints/tiny/best.ckpt")


def stored_image(ground: Ground, checkpoint: NetworkCheckpoint) -> torch.Tensor:
    """The channels (C, 800, 1600) as preprocessing stored them, tile beside tile."""
    store = ground.store
    tiles = [store.read_tile(tile, store.positions(tile, checkpoint.channels)) for tile in ("Tile1", "Tile2")]
    return torch.from_numpy(np.concatenate(tiles, axis=2)).float()


def blend_by_hand(checkpoint: NetworkCheckpoint, image: torch.Tensor, overlap: int) -> Probabilities:
    """Run each window alone through the network, and blend by distance from the edges."""
    size = checkpoint.window_size
    near = np.minimum(np.arange(1, size + 1), np.arange(size, 0, -1))
    weights = np.outer(near, near) if overlap else np.ones((size, size))
    total, weight = np.zeros((4, GRID_SIZE, COLUMNS)), np.zeros((GRID_SIZE, COLUMNS))
    starts = [
        sorted({*range(0, cells - size, size - overlap), cells - size}) for cells in (GRID_SIZE, COLUMNS)
    ]
    for row in starts[0]:
        for column in starts[1]:
            pixels = image[
                None,
                :,
                row * CELL_SIZE_PX : (row + size) * CELL_SIZE_PX,
                column * CELL_SIZE_PX : (column + size) * CELL_SIZE_PX,
            ]
            with torch.inference_mode():
                says = torch.softmax(checkpoint.model(pixels), dim=1)[0].double().numpy()
            total[:, row : row + size, column : column + size] += weights * says
            weight[row : row + size, column : column + size] += weights
    return (total / weight).astype(np.float32)


@pytest.mark.parametrize("overlap", [0, 2])
def test_blocks_show_no_seam_beside_windows_over_the_whole_area(
    overlap: int, ground: Ground, checkpoint: NetworkCheckpoint, tmp_path: Path
) -> None:
    result = predict(ground.config(overlap=overlap), ground.folder / "scene", tmp_path / "map")

    expected = blend_by_hand(checkpoint, stored_image(ground, checkpoint), overlap)
    np.testing.assert_allclose(result.area.probabilities, expected, atol=2e-6)


@pytest.mark.parametrize("form", ["tiles", "processed"])
def test_tiles_and_a_store_give_the_map_of_the_scene_that_they_were_cut_from(
    form: str, ground: Ground, of_scene: MapResult, tmp_path: Path
) -> None:
    result = predict(ground.config(), ground.folder / form, tmp_path / "map")

    assert result.area.grid == of_scene.area.grid
    np.testing.assert_array_equal(result.area.probabilities, of_scene.area.probabilities)
    np.testing.assert_array_equal(result.area.picture, of_scene.area.picture)
    np.testing.assert_array_equal(result.area.light, of_scene.area.light)
    assert result.area.dates == of_scene.area.dates


def test_other_blocks_give_the_same_map(
    ground: Ground, of_scene: MapResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lattice, "BLOCK_CELLS", COLUMNS)

    whole = predict(ground.config(), ground.folder / "scene", tmp_path / "map")

    np.testing.assert_allclose(whole.area.probabilities, of_scene.area.probabilities, atol=2e-6)


@pytest.mark.parametrize("form", ["scene", "tiles"])
def test_a_block_that_is_a_tile_holds_what_preprocessing_stores(
    form: str, ground: Ground, checkpoint: NetworkCheckpoint
) -> None:
    area = open_area(ground.folder / form, ground.config(), (checkpoint,))
    store = ground.store

    for tile, block in zip(("Tile1", "Tile2"), area.blocks, strict=True):
        with area.open(block, block.core, store.manifest.bands) as opened:
            assert isinstance(opened, BlockGround)
            layers = store.layers(tile)
            assert opened.layers == layers
            assert opened.acquisitions == store.acquisitions(tile)
            assert opened.read(layers).tobytes() == store.read_tile(tile).tobytes()


@pytest.mark.parametrize("form", ["scene", "tiles", "processed"])
def test_dates_and_nights_are_judged_by_the_block_alone(
    form: str, ground: Ground, checkpoint: NetworkCheckpoint
) -> None:
    area = open_area(ground.folder / form, ground.config(), (checkpoint,))
    store = ground.store
    for tile, block in zip(("Tile1", "Tile2"), area.blocks, strict=True):
        with area.open(block, lattice.Cells.of(area.grid), store.manifest.bands) as opened:
            assert opened.acquisitions == store.acquisitions(tile)
            image = opened.read(store.layers(tile))
            assert image.shape[1:] == (GRID_SIZE * CELL_SIZE_PX, COLUMNS * CELL_SIZE_PX)
            rows, columns = block.core.pixels_within(lattice.Cells.of(area.grid))
            assert image[:, rows, columns].tobytes() == store.read_tile(tile).tobytes()


def test_the_map_says_where_it_lies_and_what_was_seen(ground: Ground, of_scene: MapResult) -> None:
    area = of_scene.area
    assert (area.grid.left_m, area.grid.top_m) == (LEFT_M, TOP_M)
    assert (area.grid.rows, area.grid.columns) == (GRID_SIZE, COLUMNS)
    assert area.dates["sentinel2"] == (DAY,)
    assert (area.channel_share == 1).all()
    nights = ground.rasters[RasterName("viirs", NIGHT, "DNB")].astype(np.float32)
    cells = nights.reshape(GRID_SIZE, CELL_SIZE_PX, COLUMNS, CELL_SIZE_PX).max(axis=(1, 3))
    np.testing.assert_allclose(area.light, cells, rtol=2e-3)
    assert area.picture.shape == (GRID_SIZE * CELL_SIZE_PX, COLUMNS * CELL_SIZE_PX, 3)
    red = ground.rasters[RasterName("sentinel2", DAY, "B04")].astype(np.float32)
    assert np.corrcoef(red.ravel(), area.picture[..., 0].ravel())[0, 1] > 0.9
    with rasterio.open(of_scene.output_dir / "probabilities.tif") as file:
        assert (file.crs, file.transform.c, file.transform.f) == (CRS, LEFT_M, TOP_M)
        np.testing.assert_array_equal(file.read(), area.probabilities)
    described = yaml.safe_load((of_scene.output_dir / "predict.yml").read_text())
    assert described["area"] == {
        "crs": CRS,
        "bounds_m": list(area.grid.bounds),
        "rows": GRID_SIZE,
        "columns": COLUMNS,
    }
    assert described["dates"]["sentinel2"]["dates"] == {str(DAY): 2}
    assert sorted(path.name for path in of_scene.output_dir.iterdir()) == described["files"]
    assert json.dumps(of_scene.to_json())


def test_a_part_of_the_scenes_is_mapped_as_asked(ground: Ground, of_scene: MapResult, tmp_path: Path) -> None:
    west, north = LEFT_M + 4 * 500, TOP_M - 2 * 500
    bounds = f"{west},{north - 10 * 500},{west + 12 * 500},{north}"
    config = ground.config(area=bounds, crs=CRS, overlap=0, window_size=2)

    result = predict(config, ground.folder / "scene", tmp_path / "map")

    grid = result.area.grid
    assert (grid.left_m, grid.top_m, grid.rows, grid.columns) == (west, north, 10, 12)
    np.testing.assert_array_equal(result.area.light, of_scene.area.light[2:12, 4:16])


def test_tiles_that_lie_nowhere_get_a_contact_sheet_and_are_mapped_each_for_itself(
    ground: Ground, tmp_path: Path
) -> None:
    shared = {"checkpoint": ground.config().checkpoint, "accelerator": "cpu", "precision": "32-true"}
    restitch(
        RestitchConfig.model_validate(
            {
                **shared,
                "processed_dir": ground.folder / "processed",
                "predictions_dir": tmp_path,
                "name": "stored",
                "overlap": 2,
            }
        )
    )

    result = predict(ground.config(), ground.folder / "contest", tmp_path / "map")

    assert "do not say where they lie" in result.notes[0]
    assert result.settlements is None
    assert sorted(path.name for path in (tmp_path / "map").iterdir()) == [
        "Tile1",
        "Tile2",
        "contact_sheet.png",
        "predict.yml",
    ]
    for tile in ("Tile1", "Tile2"):
        np.testing.assert_allclose(
            read_probabilities(tmp_path / "map" / tile / "probabilities.tif"),
            read_probabilities(tmp_path / "stored" / tile / "probabilities.tif"),
            atol=2e-6,
        )


@pytest.mark.parametrize("left_m", [200_000.0, 700_000.0])
@pytest.mark.parametrize("bounds", [(-180, -90, 180, 90), (-180, -65, 180, 75), (20, -40, 60, 10)])
def test_a_raster_of_the_globe_covers_an_area_on_either_side_of_the_central_meridian(
    bounds: tuple[int, int, int, int], left_m: float, tmp_path: Path
) -> None:
    path = tmp_path / "globe.tif"
    shape, place = (72, 144), transform.from_bounds(*bounds, 144, 72)
    write_raster(path, np.ones(shape, np.uint16), "EPSG:4326", place)
    grid = CellGrid(crs.CRS.from_string(CRS).to_wkt(), left_m, TOP_M, 20, 30)

    area = lattice.Cells.of(grid)

    assert covered_cells(path, grid).overlap(area) == area


def test_light_of_tiles_that_are_scaled_by_themselves_is_unknown(ground: Ground, tmp_path: Path) -> None:
    recipe = Recipe(scale_by="tile", rescale="min_max")
    stored = PreprocessConfig(
        raw_dir=ground.folder / "tiles",
        processed_dir=tmp_path / "p",
        val_fraction=0.5,
        workers=1,
        recipe=recipe,
    )
    preprocess(stored)
    checkpoint = tmp_path / "checkpoints/scaled/best.ckpt"
    write_checkpoint(checkpoint, open_store(tmp_path / "p"), run_name="scaled")

    result = predict(ground.config(checkpoint=str(checkpoint)), ground.folder / "scene", tmp_path / "map")

    assert result.area.is_mapped.all()
    assert np.isnan(result.area.light).all()


def test_tiles_of_two_utm_zones_say_why_they_are_no_map(ground: Ground, tmp_path: Path) -> None:
    shutil.copytree(ground.folder / "processed", tmp_path / "processed")
    store = open_store(tmp_path / "processed")
    entry = store.manifest.tiles["Tile2"]
    assert entry.georeference is not None
    elsewhere = replace(entry.georeference, crs_wkt=crs.CRS.from_epsg(32637).to_wkt())
    tiles = {**store.manifest.tiles, "Tile2": entry.model_copy(update={"georeference": elsewhere})}
    write_manifest(store.path, store.manifest.model_copy(update={"tiles": tiles}))

    result = predict(ground.config(), tmp_path / "processed", tmp_path / "map")

    assert "do not lie on one lattice of label cells in one reference system" in result.notes[0]
    assert (tmp_path / "map/contact_sheet.png").is_file()


def test_cells_of_too_few_channels_are_no_data_in_every_product(ground: Ground, tmp_path: Path) -> None:
    optical = {name: raster for name, raster in ground.rasters.items() if name.sensor == "sentinel2"}
    others = {name: raster for name, raster in ground.rasters.items() if name not in optical}
    half = {name: raster[:, : 20 * CELL_SIZE_PX] for name, raster in optical.items()}
    write_scene(tmp_path / "scene/optical", half)
    write_scene(
        tmp_path / "scene/others", {name: others[name] for name in others if name.sensor == "sentinel1"}
    )

    result = predict(ground.config(), tmp_path / "scene", tmp_path / "map")

    unseen = np.arange(COLUMNS) >= 20
    assert (result.area.is_mapped == ~unseen).all()
    assert "160 cells" not in result.notes[0]
    assert f"{12 * GRID_SIZE} cells have less than 30 %" in result.notes[0]
    with rasterio.open(tmp_path / "map/map.tif") as file:
        assert ((file.read(1) == 0) == unseen).all()
    with rasterio.open(tmp_path / "map/probabilities.tif") as file:
        assert (np.isnan(file.read()) == unseen).all()
    assert (result.area.channel_share[:, :20] == result.area.channel_share[0, 0]).all()


def test_several_checkpoints_predict_by_their_mean(
    ground: Ground, of_scene: MapResult, tmp_path: Path
) -> None:
    paths = [str(ground.folder / f"checkpoints/{name}/best.ckpt") for name in ("tiny", "other")]

    other = predict(ground.config(checkpoint=paths[1]), ground.folder / "scene", tmp_path / "other")
    both = predict(ground.config(checkpoint=paths), ground.folder / "scene", tmp_path / "both")

    mean = (of_scene.area.probabilities + other.area.probabilities) / 2
    np.testing.assert_allclose(both.area.probabilities, mean, atol=1e-6)
    assert any("the mean itself was not calibrated" in note for note in both.notes)


def test_a_temperature_is_fitted_to_the_map_where_asked(
    ground: Ground, checkpoint: NetworkCheckpoint, of_scene: MapResult, tmp_path: Path
) -> None:
    config = ground.config(calibrate=True, processed_dir=ground.folder / "processed")

    result = predict(config, ground.folder / "scene", tmp_path / "map")

    store = ground.store
    device = choose_device("cpu", "32-true")
    chosen = predict_tiles(
        [checkpoint], store, store.tile_names("val"), device, passes=Passes(overlap=config.overlap)
    )
    temperature = fit_calibration(list(chosen)).temperature
    expected = temper(of_scene.area.probabilities, temperature)
    np.testing.assert_allclose(result.area.probabilities, expected, atol=1e-6)
    assert any(f"A temperature of {temperature:.2f}" in note for note in result.notes)


def test_a_run_that_was_ended_goes_on_where_it_was(
    ground: Ground, of_scene: MapResult, tmp_path: Path
) -> None:
    out, told = tmp_path / "map", []

    def end(block: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(ground.config(), ground.folder / "scene", out, end)
    assert not out.exists()
    (kept,) = blocks_folder(out).glob("*.npz")
    written = kept.stat().st_mtime_ns
    with pytest.raises(KeyboardInterrupt):
        predict(ground.config(tta="flips"), ground.folder / "scene", out, end)
    assert kept.stat().st_mtime_ns != written, "blocks of other settings were taken"
    with pytest.raises(KeyboardInterrupt):
        predict(ground.config(), ground.folder / "scene", out, end)
    written = kept.stat().st_mtime_ns
    described = yaml.safe_load(CONTEST_FILE.read_text())
    described["sensors"]["sentinel1"]["title"] = "Radar"
    (tmp_path / "own.yml").write_text(yaml.safe_dump(described, sort_keys=False))
    with pytest.raises(KeyboardInterrupt):
        predict(ground.config(sensors=tmp_path / "own.yml"), ground.folder / "scene", out, end)
    assert kept.stat().st_mtime_ns != written, "blocks of another description were taken"
    (tmp_path / "own.yml").unlink()
    with pytest.raises(KeyboardInterrupt):
        predict(ground.config(), ground.folder / "scene", out, end)

    result = predict(
        ground.config(), ground.folder / "scene", out, lambda block, done, total: told.append((done, total))
    )

    assert told == [(2, 2)]
    np.testing.assert_array_equal(result.area.probabilities, of_scene.area.probabilities)
    assert [path.name for path in tmp_path.iterdir()] == ["map"]


def test_an_earlier_map_is_replaced_whole_and_foreign_files_are_left_alone(
    ground: Ground, of_scene: MapResult, tmp_path: Path
) -> None:
    out = tmp_path / "map"
    shutil.copytree(of_scene.output_dir, out)
    (out / "map.tif.aux.xml").touch()
    before = (out / "predict.yml").read_text()
    with pytest.raises(InputDataError, match="holds none of the bands"):
        predict(ground.config(), _lights_alone(ground, tmp_path / "lights"), out)
    assert (out / "predict.yml").read_text() == before

    predict(ground.config(overlap=0), ground.folder / "contest", out)
    assert {path.name for path in out.iterdir()} == {"Tile1", "Tile2", "contact_sheet.png", "predict.yml"}

    def put_a_file_there(block: str, done: int, total: int) -> None:
        (out / "notes.txt").write_text("mine")

    refused = pytest.raises(UsageError, match=r"'notes.txt' in it is none of the files of a map")
    with refused:
        predict(ground.config(), ground.folder / "scene", out, put_a_file_there)
    with refused:
        predict(ground.config(), ground.folder / "scene", out)
    assert (out / "notes.txt").read_text() == "mine"


def _lights_alone(ground: Ground, folder: Path) -> Path:
    """A scene of a band that the network does not take."""
    radar = {name: raster for name, raster in ground.rasters.items() if name.band == "VH"}
    write_scene(folder, radar)
    return folder


def test_a_dask_cluster_gives_the_same_map(
    ground: Ground, of_scene: MapResult, tmp_path: Path, dask_address: str
) -> None:
    result = predict(ground.config(dask=dask_address), ground.folder / "scene", tmp_path / "map")

    np.testing.assert_allclose(result.area.probabilities, of_scene.area.probabilities, atol=2e-6)


@pytest.mark.parametrize(
    ("changes", "form", "error", "words"),
    [
        ({"overlap": 4}, "scene", UsageError, r"--overlap 4: the windows are of 4 x 4 cells.*use 0 to 3"),
        ({"crs": CRS}, "processed", UsageError, r"--crs is for rasters, and .* is a store"),
        ({"area": "1,2,3,4"}, "contest", UsageError, "do not say where they lie, so --area and --crs"),
        ({}, "nowhere", InputDataError, "nowhere does not exist; give a folder of scenes"),
        ({}, "checkpoints", InputDataError, "holds no rasters of the sensors"),
        ({"calibrate": True, "processed_dir": "none"}, "scene", InputDataError, "none"),
    ],
)
def test_what_cannot_be_mapped_is_refused_and_nothing_is_written(
    changes: dict[str, Any], form: str, error: type[Exception], words: str, ground: Ground, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        predict(ground.config(**changes), ground.folder / form, tmp_path / "map")
    assert list(tmp_path.iterdir()) == []


def test_tiles_with_and_without_a_place_are_not_mixed(ground: Ground, tmp_path: Path) -> None:
    shutil.copytree(ground.folder / "tiles/Tile1", tmp_path / "mixed/Tile1")
    shutil.copytree(ground.folder / "contest/Tile2", tmp_path / "mixed/Tile2")

    with pytest.raises(InputDataError, match="mixes tiles that say where they lie, such as Tile1"):
        predict(ground.config(), tmp_path / "mixed", tmp_path / "map")


def test_no_map_is_written_where_no_cell_was_seen(ground: Ground, tmp_path: Path) -> None:
    radar = {name: raster for name, raster in ground.rasters.items() if name.band == "VV"}
    write_scene(tmp_path / "scene", radar)

    with pytest.raises(InputDataError, match=r"No cell of .*scene was mapped: .* 17 % or less"):
        predict(ground.config(), tmp_path / "scene", tmp_path / "map")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scene"]
    assert set(BANDS) == {"B02", "B03", "B04", "B08"}
