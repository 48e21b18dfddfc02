"""The whole chain, of which the installed command samples, checks, preprocesses, trains and evaluates."""

import csv
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import rasterio
import yaml
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score

from esdseg.config.training import MONITORED_METRICS
from esdseg.sensors.classes import CLASSES
from tests.cli.conftest import run_here, succeed, succeed_here

METRICS_KEYS = {
    "model", "checkpoint", "split", "tiles", "cells", "accuracy", "balanced_accuracy", "contest_f1",
    "jaccard", "iou", "f1", "precision", "recall", "auc", "confusion_matrix", "baselines", "intervals",
}  # fmt: skip


def test_check_finds_no_problem_in_sample_tiles(raw_workspace: Path) -> None:
    report = json.loads(succeed(raw_workspace, "check", "data/raw/Train", "--json").stdout)
    assert report["ok"] is True
    assert [tile["rasters"] for tile in report["tiles"]] == [98] * 4
    table = run_here(raw_workspace, "check", "data/raw/Train", "--workers", 1).stdout
    assert "no problems" in table
    assert "sentinel2 B8A" in table


def test_preprocess_says_what_it_would_do_and_then_does_nothing_twice(workspace: Path) -> None:
    with (workspace / "data/processed/4x4/manifest.json").open() as file:
        manifest = json.load(file)
    assert {entry["split"] for entry in manifest["tiles"].values()} == {"train", "val"}
    bands = json.dumps(manifest["config"]["selected_bands"])
    again = ("preprocess", "--val-fraction", 0.5, "--set", f"selected_bands={bands}", "--json")
    assert json.loads(succeed_here(workspace, *again).stdout)["written"] == []
    planned = json.loads(run_here(workspace, *again, "--dry-run").stdout)
    assert {tile["action"] for tile in planned["tiles"]} == {"keep"}


def test_train_writes_all_files_of_a_run(workspace: Path) -> None:
    run = workspace / "checkpoints" / "first"
    assert {"best.ckpt", "last.ckpt", "config.yml", "metrics.csv", "curves.png"} <= {
        path.name for path in run.iterdir()
    }
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert set(MONITORED_METRICS) <= set(rows[0])
    config = yaml.safe_load((run / "config.yml").read_text())
    assert config["model"]["embedding_size"] == 8


def test_evaluate_writes_scores_that_its_own_maps_bear_out(workspace: Path) -> None:
    printed = json.loads(succeed(workspace, "evaluate", "--checkpoint", "first", "--json").stdout)
    output = workspace / "predictions" / "segmentation_cnn"
    metrics = json.loads((output / "metrics.json").read_text())
    assert set(metrics) >= METRICS_KEYS
    assert metrics["iou"] == metrics["jaccard"]
    assert metrics["accuracy"] == printed["accuracy"]
    assert {"report.html", "confusion_matrix.png", "config.yml"} <= {path.name for path in output.iterdir()}
    truth, prediction = [], []
    for tile in metrics["tiles"]:
        with rasterio.open(output / tile / "prediction.tif") as raster:
            assert (raster.width, raster.height, raster.dtypes) == (16, 16, ("uint8",))
            assert raster.crs is not None
            assert raster.transform.a == 500
            prediction.append(raster.read(1))
        with rasterio.open(output / tile / "probabilities.tif") as raster:
            assert raster.descriptions == tuple(label_class.title for label_class in CLASSES)
            probabilities = raster.read()
        np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)
        np.testing.assert_array_equal(probabilities.argmax(axis=0) + 1, prediction[-1])
        with rasterio.open(workspace / "data/raw/Train" / tile / "groundTruth.tif") as raster:
            truth.append(raster.read(1))
        with Image.open(output / tile / "comparison.png") as picture:
            assert picture.width > 800
    codes, guesses = np.ravel(truth), np.ravel(prediction)
    assert metrics["cells"] == codes.size
    assert np.isclose(metrics["accuracy"], accuracy_score(codes, guesses))
    assert np.isclose(metrics["contest_f1"], f1_score(codes == 1, guesses == 1))


def test_compare_puts_two_evaluations_side_by_side(workspace: Path) -> None:
    for name, checkpoint in (("best", "first/best.ckpt"), ("last", "first/last.ckpt")):
        evaluate = ("evaluate", "--checkpoint", checkpoint, "--name", name, "--no-simple-baselines")
        assert run_here(workspace, *evaluate).returncode == 0

    printed = succeed(workspace, "compare", "best", "predictions/last")
    compared = json.loads(run_here(workspace, "compare", "best", "last", "--json").stdout)

    assert "2 runs on the same 2 tiles of the val split" in printed.stdout
    assert "predictions/compare-best-last.png" in printed.stdout
    assert (workspace / "predictions/compare-best-last.png").is_file()
    for run in compared["runs"]:
        metrics = json.loads((workspace / "predictions" / run["label"] / "metrics.json").read_text())
        assert run["scores"]["contest_f1"] == metrics["contest_f1"]
        assert run["parameters"] == metrics["model_parameters"] > 0
        assert run["seconds_per_tile"] == metrics["seconds_per_tile"] > 0


def test_report_is_made_again_from_what_evaluate_left(workspace: Path) -> None:
    page = workspace / "predictions/segmentation_cnn/report.html"
    before = page.read_bytes()
    page.unlink()

    printed = json.loads(succeed(workspace, "report", "segmentation_cnn", "--json").stdout)

    assert printed == {"report_path": "predictions/segmentation_cnn/report.html"}
    assert page.read_bytes() == before
    metrics = json.loads((page.parent / "metrics.json").read_text())
    assert [len(run["epochs"]) for run in metrics["history"]] == [2]


def test_restitch_maps_the_named_tiles_without_scores(workspace: Path) -> None:
    pair = ("--checkpoint", "first/best.ckpt", "--checkpoint", "first/last.ckpt")
    turned = ("--tta", "flips", "--overlap", 1)
    done = succeed_here(workspace, "restitch", *pair, *turned, "--tiles", "Tile1,Tile3", "--name", "two")
    output = workspace / "predictions" / "two"
    assert {path.name for path in output.iterdir() if path.is_dir()} == {"Tile1", "Tile3"}
    assert not (output / "metrics.json").exists()
    assert "Tile3/comparison.png" in done.stdout
    assert "mapped by the mean of the probabilities of first/best.ckpt, first/last.ckpt" in done.stdout


def test_predict_maps_a_store_and_shows_what_it_wrote(workspace: Path) -> None:
    done = succeed_here(workspace, "predict", "first", "data/processed", "--out", "map", "--overlap", 1)
    assert "without electricity." in done.stdout
    assert "map/map.html" in done.stdout
    assert (workspace / "map/predict.yml").is_file()


def test_a_simple_baseline_is_trained_evaluated_and_mapped_like_any_model(workspace: Path) -> None:
    train = ("train", "--model", "cell_boosting", "--name", "trees", "--set", "model.max_iter=20", "--json")
    trained = json.loads(run_here(workspace, *train, "--wandb", "disabled").stdout)
    names = {path.name for path in (workspace / "checkpoints/trees").iterdir()}
    assert names == {"best.ckpt", "last.ckpt", "config.yml", "metrics.csv", "curves.png"}
    evaluate = ("evaluate", "--checkpoint", "trees", "--no-simple-baselines", "--json")
    evaluated = json.loads(run_here(workspace, *evaluate).stdout)
    assert evaluated["model"] == "cell_boosting"
    assert np.isclose(evaluated["contest_f1"], trained["metrics"]["val_contest_f1"])
    restitch = ("restitch", "--checkpoint", "trees", "--tiles", "Tile1", "--name", "trees-map")
    assert run_here(workspace, *restitch).returncode == 0
    assert (workspace / "predictions/trees-map/Tile1/prediction.tif").is_file()
    mapped = run_here(workspace, "predict", "trees", "data/processed", "--out", "trees-area", "--json")
    assert json.loads(mapped.stdout)["mapped_cells"] > 0
    with (
        rasterio.open(workspace / "predictions/trees-map/Tile1/probabilities.tif") as tile,
        rasterio.open(workspace / "trees-area/probabilities.tif") as area,
    ):
        np.testing.assert_array_equal(tile.read(), area.read(window=area.window(*tile.bounds)))
    # Out of the way of the tests that look for the newest run.
    (workspace / "checkpoints/trees").rename(workspace / "trees")


def test_a_bare_checkpoint_name_means_the_newest_run_and_is_said(workspace: Path) -> None:
    done = run_here(workspace, "restitch", "--checkpoint", "last.ckpt", "--tiles", "Tile1", "--name", "bare")
    assert "checkpoints/first/last.ckpt" in done.stderr


def test_resume_goes_on_where_the_run_stopped(workspace: Path) -> None:
    model = ("--set", "model.embedding_size=4", "--set", "model.depth=1", "--wandb", "disabled")
    train = ("train", "--model", "segmentation_cnn", "--name", "resumed", *model)
    assert run_here(workspace, *train, "--max-epochs", 1).returncode == 0
    done = run_here(workspace, *train, "--max-epochs", 2, "--resume", "--json")
    assert json.loads(done.stdout)["epochs"] == 2
    with (workspace / "checkpoints/resumed/metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


def test_models_lists_every_model_with_its_size(tmp_path: Path) -> None:
    listed = json.loads(succeed_here(tmp_path, "models", "--json").stdout)["models"]
    assert [row["name"] for row in listed] == [
        "sensor_branches", "segmentation_cnn", "fcn_resnet101", "unet", "olmoearth", "cell_logistic",
        "cell_boosting",
    ]  # fmt: skip
    for row in listed:
        is_network = not row["name"].startswith("cell_")
        if row["name"] == "olmoearth" and find_spec("olmoearth_pretrain_minimal") is None:
            is_network = False
        assert all((row[size] is not None) == is_network for size in ("parameters", "flops")), row


def test_adapt_writes_a_run_that_maps_like_any_other(workspace: Path) -> None:
    done = succeed_here(workspace, "adapt", "first", "data/raw/Train", "--name", "first-there")
    assert "measured over 4 of 4 blocks of 8 x 8 km" in done.stdout
    assert "Next: esdseg predict first-there data/raw/Train --out map" in done.stdout
    restitch = ("restitch", "--checkpoint", "first-there", "--tiles", "Tile1", "--name", "there", "--json")
    assert "first-there/best.ckpt" in json.loads(run_here(workspace, *restitch).stdout)["checkpoint"]
    assert (workspace / "predictions/there/Tile1/prediction.tif").is_file()
