"""A sensor that no code knows, added by YAML alone, goes the whole way; its dates differ between tiles."""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from esdseg.cli.app import app
from esdseg.models.checkpoint import load_checkpoint
from esdseg.sensors.sensors import CONTEST_FILE
from esdseg.store.store import open_store
from tests.make_tiles import write_raster, write_tile

PLANET = """
planet:
  title: PlanetScope
  kind: optical
  files: [{name: "{date:%Y%m%d}_{version}_SR", bands: [Blue, Red, Infrared]}]
  dtypes: [uint16]
  whole_numbers: true
  fill_value: 0
  conversion: {name: reflectance, scale: 10000}
  bands:
    Blue: {native_size_m: 10, role: blue}
    Red: {native_size_m: 10, role: red}
    Infrared: {native_size_m: 10, role: near_infrared}
"""
RADAR_DAY = date(2020, 7, 23)
FIRST_DAY = date(2023, 3, 1)


def run(*arguments: str | Path | int) -> dict[str, object]:
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a description, four tiles of one to three PlanetScope dates, a store and a run."""
    folder = tmp_path_factory.mktemp("own")
    described = yaml.safe_load(CONTEST_FILE.read_text())
    described["sensors"] |= yaml.safe_load(PLANET)
    (folder / "own.yml").write_text(yaml.safe_dump(described, sort_keys=False))
    rng = np.random.default_rng(0)
    for number in range(1, 5):
        tile = write_tile(folder / f"raw/Tile{number}", dates={"sentinel1": [RADAR_DAY]}, seed=number)
        ground = rng.integers(500, 900, (3, 800, 800), np.uint16)
        for place in range(1 + number % 3):
            clouds = np.uint16(5000 if place == 0 and number % 3 else 0)
            image = ground.copy()
            image[:, :400] += clouds
            write_raster(tile / f"{FIRST_DAY + timedelta(days=number + 5 * place):%Y%m%d}_1_SR.tif", image)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("preprocess", "--raw-dir", "raw", "--processed-dir", "processed", "--sensors", "own.yml")
        run(
            *("train", "--processed-dir", "processed", "--name", "net", "--max-epochs", 1),
            *("--set", "model={name: segmentation_cnn, depth: 1, embedding_size: 2}", "--wandb", "disabled"),
            *("--set", "data.acquisitions.planet=3", "--accelerator", "cpu", "--precision", "32-true"),
        )
        yield folder


def test_its_files_are_known_and_its_dates_told(folder: Path) -> None:
    report = run("check", "raw", "--sensors", "own.yml")
    assert report["ok"] is True
    sensors = report["sensors"]
    assert isinstance(sensors, dict)
    assert list(sensors) == ["sentinel1", "planet"]
    assert sensors["planet"]["title"] == "PlanetScope"
    unknown = CliRunner().invoke(app, ["check", "raw", "--json"])
    assert "planet" not in json.loads(unknown.stdout)["sensors"]


def test_it_reaches_the_network_and_its_scale(folder: Path) -> None:
    store = open_store(folder / "processed")
    places = max(len(store.acquisitions(tile)) - 1 for tile in store.tile_names("train"))
    checkpoint = load_checkpoint(folder / "checkpoints/net/best.ckpt")
    names = [channel.name for channel in checkpoint.channels]
    assert names[:2] == ["sentinel1_1_VV", "sentinel1_1_VH"]
    assert names[2:5] == ["planet_1_Blue", "planet_1_Red", "planet_1_Infrared"]
    assert len(names) == 2 + 3 * places
    shift = checkpoint.model.normalization.shift.flatten().tolist()
    assert shift[2] == pytest.approx(0.07, abs=0.002), "the clearest date comes first"
    assert checkpoint.metadata.sensors.sensor("planet").title == "PlanetScope"
    assert "planet" in json.loads((folder / "processed/4x4/manifest.json").read_text())["sensors"]["sensors"]


def test_the_clearest_date_of_each_tile_fills_the_first_place(folder: Path) -> None:
    places = run("check", "processed", "--checkpoint", "net")["places"]
    assert isinstance(places, dict)
    first = {tile: filled["planet"][0] for tile, filled in places.items()}
    # The first date is under clouds where there is a second one.
    assert first == {
        "Tile1": "2023-03-07",
        "Tile2": "2023-03-08",
        "Tile3": "2023-03-04",
        "Tile4": "2023-03-10",
    }
    assert places["Tile3"]["planet"][1:] == [None] * (len(places["Tile3"]["planet"]) - 1)
    raw = run("check", "raw", "--checkpoint", "net")
    assert raw["places"] == places
    missing = raw["missing"]
    assert isinstance(missing, list)
    assert any("lack acquisitions of planet" in note for note in missing)


def test_it_reaches_ablation_and_report(folder: Path) -> None:
    where = ("--processed-dir", "processed", "--accelerator", "cpu")
    ablated = run("ablate", "net", "--by", "sensor,place", *where)
    rows = ablated["rows"]
    assert isinstance(rows, list)
    labels = {row["label"] for row in rows}
    assert {"planet", "planet alone", "sentinel1", "sentinel1 alone", "planet 1"} <= labels
    scored = run("evaluate", "--checkpoint", "net", "--name", "scores", "--no-simple-baselines", *where)
    places = scored["places"]
    assert isinstance(places, dict)
    assert all("planet" in filled for filled in places.values())
    page = (folder / "predictions/scores/report.html").read_text()
    assert "PlanetScope" in page
    assert all(day in page for filled in places.values() for day in filled["planet"] if day)


def test_the_description_that_acts_is_shown(folder: Path) -> None:
    shown = run("config", "show", "--sensors", "--set", "data.processed_dir=processed")
    sensors = shown["sensors"]
    assert isinstance(sensors, dict)
    assert sensors["planet"]["files"][0]["bands"] == ["Blue", "Red", "Infrared"]
