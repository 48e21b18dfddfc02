"""A bundle says what the run says: in its files, without esdseg, and wherever a checkpoint is named."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pystac
import pytest
import rasterio
import torch
import yaml
from pystac.extensions.mlm import MLMExtension
from pystac.validation.stac_validator import JsonSchemaSTACValidator

import esdseg
from esdseg.config.models import SegmentationCNNConfig
from esdseg.errors import InputDataError, MissingResourceError, UsageError
from esdseg.metrics.scorecard import read_scorecard
from esdseg.prediction.maps import read_probabilities
from esdseg.sharing import export as exporting
from esdseg.sharing import request
from esdseg.sharing.export import export
from esdseg.sharing.formats import largest_difference
from esdseg.store.store import open_store
from tests.cli.conftest import run_here
from tests.scoring.checkpoints import write_checkpoint
from tests.sharing.conftest import CPU, Shared

FORMAT3 = Path(__file__).parents[1] / "fixtures/format3"
FILES = [
    *("README.md", "model.onnx", "model.pt2", "predict.py", "inputs.json", "mlm.json", "bundle.json"),
    "checkpoint.ckpt",
]
WITHOUT_ESDSEG = """
import runpy, sys
for name in ("esdseg", "torch", "pydantic", "scipy", "zarr", "yaml"):
    sys.modules[name] = None  # Importing it is an error.
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_zip_holds_all_files_and_they_differ_by_rounding_alone(shared: Shared) -> None:
    with zipfile.ZipFile(shared.zip) as archive:
        assert archive.namelist() == FILES == list(shared.printed["files"])
        assert archive.testzip() is None
    assert set(shared.printed["differences"]) == {"model.onnx", "model.pt2"}
    assert all(0 <= difference < 1e-5 for difference in shared.printed["differences"].values())
    assert shared.printed["checked_on"] == "the run's 1 validation tile"
    assert shared.printed["notes"] == []
    assert [path.name for path in shared.folder.iterdir() if path.name.startswith(".first")] == []


def test_the_script_maps_a_raw_tile_without_esdseg_and_torch_as_restitch_does(shared: Shared) -> None:
    maps = esdseg.restitch(
        shared.zip,
        processed_dir=shared.folder / "data/processed",
        predictions_dir=shared.folder / "predictions",
        name="from-zip",
        tiles=("Tile2",),
        **CPU,
    )
    out = shared.folder / "without"
    command = [sys.executable, "-I", "-c", WITHOUT_ESDSEG, str(shared.unpacked / "predict.py")]
    done = subprocess.run(
        [*command, str(shared.folder / "raw/Tile2"), str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "viirs, darkest: 2021-07-03, 2021-07-05\n" in done.stdout, "the moonlit night is left out"
    assert "landsat8, clearest: 2021-07-22, 2021-07-06" in done.stdout
    (restitched,) = maps.maps
    with rasterio.open(out / "probabilities.tif") as found:
        # The store holds half precision, in which the median of two dates is rounded.
        np.testing.assert_allclose(found.read(), read_probabilities(restitched.probabilities), atol=2e-4)
    with (
        rasterio.open(out / "prediction.tif") as found,
        rasterio.open(restitched.prediction) as expected,
    ):
        assert (found.crs, found.transform) == (expected.crs, expected.transform)
        np.testing.assert_array_equal(found.read(1), expected.read(1))
        assert found.colormap(1)[3] == expected.colormap(1)[3]


def test_a_cell_of_too_few_channels_is_no_data_in_every_format(shared: Shared) -> None:
    model = esdseg.load(shared.zip)
    image = np.random.default_rng(0).normal(size=(len(model.channels), 800, 800)).astype(np.float32)
    image[: int(0.75 * len(image)), 50:100, 150:200] = np.nan
    expected = model.predict(image)
    assert np.isnan(expected[:, 1, 3]).all()
    windows = (
        torch.from_numpy(image).unfold(1, 400, 400).unfold(2, 400, 400).permute(1, 2, 0, 3, 4).flatten(0, 1)
    )
    program = torch.export.load(shared.unpacked / "model.pt2").module()
    with torch.inference_mode():
        cells = program(windows).reshape(2, 2, 4, 8, 8).permute(2, 0, 3, 1, 4).reshape(4, 16, 16)
    np.testing.assert_allclose(cells.numpy(), expected, atol=1e-5)


def test_onnx_says_its_shapes_opset_and_channels(shared: Shared) -> None:
    model = onnx.load(shared.unpacked / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    (opset,) = {entry.version for entry in model.opset_import if entry.domain == ""}
    assert opset == 18
    shapes = [
        [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    ]
    channels = open_store(shared.folder / "data/processed").channels
    assert shapes == [["windows", len(channels), 400, 400], ["windows", 4, 8, 8]]
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert told["channels"].split(",") == [channel.name for channel in channels]


def test_evaluate_and_load_take_the_zip_as_they_take_the_run(shared: Shared) -> None:
    card = esdseg.evaluate(
        shared.zip,
        processed_dir=shared.folder / "data/processed",
        predictions_dir=shared.folder / "predictions",
        name="zip-scores",
        simple_baselines=False,
        **CPU,
    )
    of_run = read_scorecard(shared.folder / "predictions/first/metrics.json")
    assert card.confusion_matrix == of_run.confusion_matrix
    assert (card.run, card.selection_bias, card.history) == ("first", True, ())
    assert card.checkpoint == f"{shared.zip}/checkpoint.ckpt"
    raw = shared.folder / "raw/Tile2"
    best = shared.folder / "checkpoints/first/best.ckpt"
    np.testing.assert_array_equal(esdseg.load(shared.zip).predict(raw), esdseg.load(best).predict(raw))


def test_the_card_tells_scores_channels_and_split_from_the_run(shared: Shared) -> None:
    text = (shared.unpacked / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    card = read_scorecard(shared.folder / "predictions/first/metrics.json")
    told = yaml.safe_load(front)
    assert told["license"] == "cc-by-4.0"
    (result,) = told["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == pytest.approx(card.contest_f1, abs=1e-4)
    assert result["dataset"]["split"] == "val"
    store = open_store(shared.folder / "data/processed")
    (trained,), (validated,) = store.tile_names("train"), store.tile_names("val")
    assert f"Trained on 1 tile ({trained})." in body
    assert f"Validated on 1 tile ({validated})." in body
    assert store.manifest_hash in body
    assert "These tiles chose the checkpoint" in body
    assert "temperature 1.300" in body
    assert "| 3 Settlement with electricity | " in body
    assert "was not measured (`esdseg ablate`)" in body
    assert "decibels" in body
    assert "the clearest date first | B02, B08 |" in body
    counts = store.class_counts([trained])
    assert f"| 1 Settlement without electricity | {counts[0]} |" in body


def test_the_item_is_valid_and_read_by_pystac(shared: Shared) -> None:
    content = json.loads((shared.unpacked / "mlm.json").read_text())
    JsonSchemaSTACValidator().validate_core(content, pystac.STACObjectType.ITEM, "1.1.0")
    item = pystac.Item.from_dict(content)
    model = MLMExtension.ext(item)
    store = open_store(shared.folder / "data/processed")
    (inputs,), (outputs,) = model.input, model.output
    names = [channel.name for channel in store.channels]
    assert inputs.bands == names
    for name in ("model.onnx", "model.pt2"):
        assert [band["name"] for band in item.assets[name].extra_fields["raster:bands"]] == names
    assert (inputs.input.shape, inputs.input.dim_order[1]) == ([-1, len(names), 400, 400], "bands")
    assert outputs.result.shape == [-1, 4, 8, 8]
    assert [one.value for one in outputs.classes or ()] == [1, 2, 3, 4]
    assert (model.architecture, model.pretrained, model.pretrained_source) == ("sensor_branches", False, None)
    models = {name for name, asset in item.assets.items() if "mlm:model" in (asset.roles or ())}
    assert models == {
        name for name, asset in item.assets.items() if "mlm:artifact_type" in asset.extra_fields
    }
    assert models == {"model.onnx", "model.pt2"}
    assert set(item.assets) == set(FILES) - {"mlm.json"}
    assert item.properties["start_datetime"] == "2021-07-01T00:00:00Z"
    assert item.bbox is not None
    west, south, east, north = item.bbox
    assert (east - west, north - south) == pytest.approx((0.075, 0.075), abs=0.01), "8 km"


def test_folds_are_a_bundle_and_each_tile_is_mapped_by_the_fold_that_held_it_out(
    shared: Shared, tmp_path: Path
) -> None:
    """Without a store at hand the files are compared on noise, and that is said."""
    store = open_store(shared.folder / "data/processed")
    tiles = tuple(store.manifest.tiles)
    for number, held_out in enumerate(tiles, 1):
        write_checkpoint(
            tmp_path / f"checkpoints/crossed-fold{number}of2/best.ckpt",
            store,
            run_name=f"crossed-fold{number}of2",
            train_tiles=tuple(tile for tile in tiles if tile != held_out),
            val_tiles=(),
            held_out_tiles=(held_out,),
            fold=f"{number}/2",
            seed=number,
            channels=store.channels[:6],
            network=SegmentationCNNConfig(depth=1, embedding_size=2),
        )
    result = export(["crossed"], tmp_path / "crossed.zip", checkpoints_dir=tmp_path / "checkpoints")
    assert "noise" in result.checked_on
    assert "data/processed cannot be used" in result.checked_on
    assert max(result.differences.values()) < 1e-5
    assert list(result.sizes)[-2:] == ["1/checkpoint.ckpt", "2/checkpoint.ckpt"]
    places = {
        "checkpoints_dir": tmp_path / "checkpoints",
        "processed_dir": shared.folder / "data/processed",
        "predictions_dir": tmp_path / "predictions",
        **CPU,
    }
    esdseg.restitch("crossed", name="run", **places)
    esdseg.restitch(tmp_path / "crossed.zip", name="zip", **places)
    maps = [
        [read_probabilities(tmp_path / f"predictions/{name}/{tile}/probabilities.tif") for tile in tiles]
        for name in ("run", "zip")
    ]
    np.testing.assert_array_equal(maps[0], maps[1])
    model = esdseg.load(tmp_path / "crossed.zip")
    raw = shared.folder / "raw/Tile1"
    members = [
        esdseg.load(tmp_path / f"crossed.zip/{number}/checkpoint.ckpt").predict(raw) for number in (1, 2)
    ]
    np.testing.assert_allclose(model.predict(raw), np.mean(members, axis=0), atol=1e-6)
    np.testing.assert_allclose(model.predict("Tile1", store=store.path.parent), model.predict(raw), atol=1e-6)
    with pytest.raises(UsageError, match=r"2 networks, .* no logits together"):
        model(torch.zeros(1, len(model.channels), 200, 200))


def test_a_file_that_says_something_else_is_not_written(
    shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Probabilities differ, or no data lies elsewhere; the bundle that was there stays."""
    checkpoint = str(FORMAT3 / "checkpoints/cnn/best.ckpt")
    out = Path(shutil.copy(shared.zip, tmp_path))
    monkeypatch.setattr(exporting, "MOST_DIFFERENCE", -1.0)
    with pytest.raises(InputDataError, match=r"model\.onnx differs from the checkpoint by .*not written"):
        export([checkpoint], out, processed_dir=FORMAT3 / "processed")
    assert out.read_bytes() == shared.zip.read_bytes()
    assert list(tmp_path.iterdir()) == [out]
    expected = np.zeros((4, 2, 2), np.float32)
    found = expected + np.float32(2e-3)
    assert largest_difference(found, expected) == pytest.approx(2e-3)
    found[:, 0, 0] = np.nan
    assert largest_difference(found, expected) == np.inf


def test_what_cannot_be_exported_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(FORMAT3, tmp_path, dirs_exist_ok=True)
    (tmp_path / "mine.zip").write_bytes(b"PK something else")
    for arguments, code, message in (
        (("logistic", "out.zip"), 2, "cell_logistic cannot be exported. It is no network"),
        (("cnn", "out"), 2, "as one zip; call it out.zip"),
        (("cnn", "mine.zip"), 2, "mine.zip is there and is no bundle"),
        (("cnn", "out.zip", "--license", "CC BY"), 2, "no identifier of a licence"),
        (("cnn", "out.zip", "--scores", "logistic"), 3, "not of checkpoints/cnn/best.ckpt"),
        (("cnn", "out.zip", "--processed-dir", "nowhere"), 3, "nowhere"),
        (("none", "out.zip"), 3, "There is no checkpoint 'none'"),
    ):
        done = run_here(tmp_path, "export", *arguments)
        assert (done.returncode, message in " ".join(done.stderr.split())) == (code, True), done.stderr
    monkeypatch.setattr(request, "PACKAGES", ("onnx", "onnxnone"))
    with pytest.raises(MissingResourceError, match=r"onnxnone.*pip install -c .*\[export\]"):
        request.check_request(tmp_path / "out.zip", "mit")
    assert not (tmp_path / "out.zip").exists()
    assert list(tmp_path.glob(".out*")) == []


def test_a_network_that_cannot_be_traced_says_why(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    from esdseg.models.sensor_branches import SensorBranches

    def forward(self: SensorBranches, *grids: torch.Tensor) -> torch.Tensor:
        return grids[0] if grids[0].sum() > 0 else grids[1]

    monkeypatch.setattr(SensorBranches, "classify", forward)
    with pytest.raises(UsageError, match=r"The network cannot be exported: .*data-dependent"):
        export([str(shared.zip)], shared.folder / "other.zip", processed_dir=shared.folder / "data/processed")
    assert not (shared.folder / "other.zip").exists()
