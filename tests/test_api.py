"""The Python interface, used as scripts and notebooks use it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import esdseg
from esdseg.errors import ConfigError, InputDataError, UsageError
from esdseg.models.checkpoint import load_checkpoint
from esdseg.prediction.maps import read_probabilities
from esdseg.store.store import open_store

SCRIPT = """
import esdseg

print(len(esdseg.write_sample_tiles("raw", tiles=2, crs=True, workers=2, dates="dates.yml")))
checked = esdseg.check("raw", workers=2)
bands = {"sentinel2": ["B02", "B04", "B08"], "sentinel1": "VV", "viirs": "DNB_max"}
store = esdseg.preprocess("raw", "processed", val_fraction=0.5, workers=2, selected_bands=bands)
model = {"name": "segmentation_cnn", "embedding_size": 2, "depth": 1}
run = esdseg.train(store, model=model, name="first", max_epochs=1, wandb="disabled",
                   data={"num_workers": 1}, accelerator="cpu", precision="32-true")
card = esdseg.evaluate(run, simple_baselines=False, accelerator="cpu", precision="32-true", name="scores")
maps = esdseg.restitch(run, accelerator="cpu", precision="32-true", name="maps",
                       submission="classroom", any_tiles=True)
print(checked.ok, run.epochs, card.split, len(card.tiles), len(maps.maps), maps.submission.path)
"""

DATES = """
viirs: [2020-08-08, 2020-08-11]
sentinel1: [2020-07-23]
sentinel2: [2020-08-11]
landsat8: [2020-08-09]
"""


def run_python(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a plain script, without a guard, made tiles, a store, a run, scores and maps."""
    folder = tmp_path_factory.mktemp("python")
    (folder / "dates.yml").write_text(DATES)
    (folder / "script.py").write_text(SCRIPT)
    printed = run_python(folder, "script.py").split()
    assert printed == ["2", "True", "1", "val", "1", "2", "predictions/maps/results.csv"]
    return folder


def test_a_plain_script_goes_from_tiles_to_scores(folder: Path) -> None:
    metrics = json.loads((folder / "predictions/scores/metrics.json").read_text())
    assert metrics["split"] == "val"
    assert (folder / "processed/4x4/manifest.json").is_file()
    assert (folder / "predictions/maps/Tile1/prediction.tif").is_file()
    assert len((folder / "predictions/maps/results.csv").read_text().splitlines()) == 1 + 2 * 256


def test_a_model_predicts_what_restitch_wrote(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = esdseg.load("first", checkpoints_dir=folder / "checkpoints")
    written = read_probabilities(folder / "predictions/maps/Tile2/probabilities.tif")

    raw = model.predict(folder / "raw/Tile2")
    named = model.predict("Tile2", store=folder / "processed")
    stored_tile = next((folder / "processed/4x4").glob("*/Tile2.zarr"))
    stored = model.predict(stored_tile)
    monkeypatch.chdir(stored_tile.parent)
    beside = model.predict("Tile2.zarr")

    assert raw.shape == (4, 16, 16)
    assert raw.dtype == np.float32
    np.testing.assert_allclose(raw.sum(axis=0), 1, rtol=1e-5)
    for probabilities in (raw, named, stored, beside):
        np.testing.assert_allclose(probabilities, written, atol=1e-6)


def test_raw_tiles_are_read_with_the_offset_of_the_models_own_or_as_asked(
    folder: Path, tmp_path: Path
) -> None:
    content = torch.load(folder / "checkpoints/first/best.ckpt", weights_only=True)
    content["esdseg"]["reflectance_offset"] = "subtract"
    torch.save(content, tmp_path / "subtracts.ckpt")
    model, subtracts = (
        esdseg.load(folder / "checkpoints/first/best.ckpt"),
        esdseg.load(tmp_path / "subtracts.ckpt"),
    )
    store, tile = open_store(folder / "processed"), folder / "raw/Tile2"
    channels = load_checkpoint(folder / "checkpoints/first/best.ckpt").channels
    image = store.read_tile("Tile2", store.positions("Tile2", channels)).astype(np.float32)
    image[[name.startswith("sentinel2") for name in model.channels]] -= 0.1

    expected = model.predict(image)

    assert not np.allclose(model.predict(tile), expected, atol=1e-3)
    np.testing.assert_allclose(subtracts.predict(tile), expected, atol=1e-3)
    np.testing.assert_allclose(model.predict(tile, reflectance_offset="subtract"), expected, atol=1e-3)
    np.testing.assert_array_equal(subtracts.predict(tile, reflectance_offset="by_date"), model.predict(tile))


def test_a_model_predicts_an_array_and_is_a_module(folder: Path) -> None:
    model = esdseg.load(folder / "checkpoints/first/best.ckpt")
    generator = np.random.default_rng(0)
    image = generator.normal(size=(len(model.channels), 800, 800)).astype(np.float32)
    image[0, :100] = np.nan

    probabilities = model.predict(image)

    assert isinstance(model, torch.nn.Module)
    assert not model.training
    np.testing.assert_allclose(model.predict(torch.from_numpy(image)), probabilities)
    windows = torch.from_numpy(image).unfold(1, 200, 200).unfold(2, 200, 200)[:, 1, 2][None]
    with torch.inference_mode():
        logits = model(windows)
    np.testing.assert_allclose(
        torch.softmax(logits, dim=1)[0].numpy(), probabilities[:, 4:8, 8:12], atol=1e-5
    )
    assert not np.allclose(model.predict(image, tta="flips", overlap=1), probabilities)
    turned_round = image[:, ::-1].copy()[:, ::-1]
    for same in (turned_round, image.astype(">f4")):
        np.testing.assert_array_equal(model.predict(same), probabilities)


def test_what_cannot_be_predicted_is_named(folder: Path) -> None:
    model = esdseg.load(folder / "checkpoints/first/best.ckpt")
    with pytest.raises(UsageError, match=r"shape \(3, 800, 800\).*model\.channels"):
        model.predict(np.zeros((3, 800, 800), np.float32))
    image = np.zeros((len(model.channels), 800, 800), np.float32)
    with pytest.raises(UsageError, match="overlap=-1: use 0 or more"):
        model.predict(image, overlap=-1)
    with pytest.raises(UsageError, match="tta='turns': use one of none, flips, d4"):
        model.predict(image, tta="turns")  # type: ignore[arg-type]
    with pytest.raises(InputDataError, match="no tile 'Tile9'"):
        model.predict("Tile9", store=folder / "processed")
    with pytest.raises(InputDataError, match=r"There is no tile .*raw/Tile9"):
        model.predict(folder / "raw/Tile9")
    with pytest.raises(InputDataError, match="holds 2 tiles; name the folder of one"):
        model.predict(folder / "raw")
    with pytest.raises(InputDataError, match="There is no checkpoint 'none'"):
        esdseg.load("none", checkpoints_dir=folder / "checkpoints")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_epoch": 3}, "unknown setting 'max_epoch'; did you mean 'max_epochs'"),
        ({"model": "unett"}, "model: unknown model 'unett'; did you mean 'unet'"),
        ({"max_epochs": 0}, "max_epochs: trainer.max_epochs = 0: should be greater"),
        (
            {"model": "cell_logistic", "max_epochs": 3},
            "max_epochs: trainer.max_epochs does not apply to",
        ),
    ],
)
def test_a_wrong_keyword_is_refused_by_its_name(
    tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        esdseg.train(tmp_path, **settings)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="by keyword or in the ESDConfig, not both"):
        esdseg.train(esdseg.ESDConfig(), **settings)  # type: ignore[arg-type]


def test_importing_the_package_loads_nothing_heavy_and_names_all_it_has() -> None:
    code = (
        "import sys, esdseg\nheavy = {'torch', 'numpy', 'pydantic', 'rasterio', 'zarr'} & set(sys.modules)\n"
        "print(heavy, all(name in dir(esdseg) and getattr(esdseg, name) for name in esdseg.__all__),"
        " 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set() True False\n"
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = esdseg.trian
