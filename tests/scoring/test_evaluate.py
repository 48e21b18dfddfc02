import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from esdseg.config.evaluation import EvalConfig
from esdseg.config.preprocessing import PreprocessConfig
from esdseg.errors import InputDataError, UsageError
from esdseg.metrics.scorecard import read_scorecard
from esdseg.preprocessing.preprocess import preprocess
from esdseg.scoring.evaluate import evaluate
from esdseg.scoring.restitch import restitch
from esdseg.scoring.results import EvaluationResult
from esdseg.sensors.classes import UNKNOWN_LABEL
from esdseg.store.store import Store, open_store
from tests.datasets.make_store import make_store
from tests.scoring.checkpoints import write_checkpoint
from tests.scoring.conftest import CHANNELS, GEOREFERENCED_TILE, UNKNOWN_CELLS, for_restitch

TRUTH_FILES = {"truth.tif", "truth.tif.aux.xml"}
TILE_FILES = TRUTH_FILES | {
    "prediction.tif",
    "prediction.tif.aux.xml",
    "probabilities.tif",
    "comparison.png",
    "satellite.jpg",
}
DESIGNED_KEYS = {
    "model", "checkpoint", "split", "tiles", "cells", "accuracy", "balanced_accuracy", "contest_f1",
    "jaccard", "iou", "f1", "precision", "recall", "auc", "confusion_matrix", "baselines", "intervals",
}  # fmt: skip


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_evaluate_writes_scores_report_pictures_and_maps(evaluated: EvaluationResult) -> None:
    folder = evaluated.output_dir

    assert names(folder) == {
        "metrics.json", "report.html", "confusion_matrix.png", "reliability.png", "coverage_risk.png",
        "roc.png", "precision_recall.png", "errors.png", "config.yml", "Tile3", "Tile10",
    }  # fmt: skip
    assert names(folder / "Tile3") == names(folder / "Tile10") == TILE_FILES
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics == evaluated.card.model_dump(mode="json")
    assert set(metrics) >= DESIGNED_KEYS
    assert set(metrics["intervals"]) == {
        "accuracy", "jaccard_macro", "f1_macro", "auc_macro", "contest_f1",
    }  # fmt: skip
    assert metrics["cells"] == 2 * 256 - UNKNOWN_CELLS
    assert yaml.safe_load((folder / "config.yml").read_text())["bootstrap_resamples"] == 200


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_scores_are_those_of_the_written_maps(evaluated: EvaluationResult, store: Store) -> None:
    truth, prediction, probabilities = [], [], []
    for tile in ("Tile3", "Tile10"):
        known = store.labels(tile) != UNKNOWN_LABEL
        truth.append(store.labels(tile)[known])
        with rasterio.open(evaluated.output_dir / tile / "prediction.tif") as file:
            prediction.append(file.read(1)[known] - 1)
        with rasterio.open(evaluated.output_dir / tile / "probabilities.tif") as file:
            probabilities.append(file.read()[:, known].T)
    labels, classes = np.concatenate(truth), np.concatenate(prediction)
    metrics = json.loads(evaluated.metrics_path.read_text())

    assert metrics["accuracy"] == pytest.approx(accuracy_score(labels, classes))
    assert metrics["contest_f1"] == pytest.approx(f1_score(labels == 0, classes == 0))
    assert metrics["auc"]["macro"] == pytest.approx(
        roc_auc_score(np.eye(4)[labels], np.concatenate(probabilities), average="macro")
    )


def test_tiles_are_told_as_they_are_finished(eval_config: EvalConfig) -> None:
    told: list[tuple[str, int, int]] = []

    config = for_restitch(eval_config, name="told", tiles=("Tile4", "Tile1"))
    result = restitch(config, on_tile=lambda *finished: told.append(finished))

    assert told == [("Tile4", 1, 2), ("Tile1", 2, 2)]
    assert names(result.output_dir) == {"Tile4", "Tile1", "restitch.yml"}
    assert names(result.output_dir / "Tile1") == TILE_FILES
    assert names(result.output_dir / "Tile4") == TILE_FILES - TRUTH_FILES
    assert set(result.to_json()) == {"checkpoint", "output_dir", "maps", "places", "submission"}


def test_maps_lie_where_the_tile_lies(evaluated: EvaluationResult) -> None:
    with rasterio.open(evaluated.output_dir / GEOREFERENCED_TILE / "prediction.tif") as file:
        assert file.crs.to_epsg() == 32630
        assert file.res == (500, 500)


def test_the_scores_say_when_they_were_made_and_where_the_tiles_lie(evaluated: EvaluationResult) -> None:
    card = read_scorecard(evaluated.metrics_path)

    assert card.evaluated_at is not None
    assert card.evaluated_at.utcoffset() == timedelta(0)
    assert set(card.coordinates) == {GEOREFERENCED_TILE} & set(card.tiles)
    for longitude, latitude in card.coordinates.values():
        assert (longitude, latitude) == pytest.approx((-3 + 4 / 109, 10.82), abs=0.01)


def test_a_split_without_ground_truth_is_for_restitch(eval_config: EvalConfig) -> None:
    with pytest.raises(InputDataError, match=r"no ground truth to score against; .*esdseg restitch"):
        evaluate(eval_config.model_copy(update={"split": "test", "name": "unlabelled"}))
    assert not (eval_config.predictions_dir / "unlabelled").exists()


def test_validation_tiles_are_not_said_to_be_trained_on(evaluated: EvaluationResult) -> None:
    assert not any("trained on" in note for note in evaluated.card.notes)


def test_nothing_is_written_outside_the_output_folder(
    eval_config: EvalConfig, workspace: Path, tmp_path: Path
) -> None:
    def snapshot() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in workspace.rglob("*") if path.is_file()}

    before = snapshot()
    restitch(for_restitch(eval_config, predictions_dir=tmp_path / "out", tiles=("Tile1",)))

    assert snapshot() == before
    assert names(tmp_path) == {"out"}
    assert names(tmp_path / "out") == {"unet"}


def test_a_folder_that_cannot_be_made_is_named(eval_config: EvalConfig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(InputDataError, match="cannot be made"):
        restitch(for_restitch(eval_config, predictions_dir=tmp_path / "file"))


def test_the_real_tile_is_mapped(real_tile: Path, tmp_path: Path) -> None:
    bands = {"viirs": ("DNB_max",), "sentinel1": ("VV",), "sentinel2": ("B02", "B03", "B04", "B08")}
    preprocess(
        PreprocessConfig.model_validate(
            {
                "raw_dir": real_tile,
                "processed_dir": tmp_path / "processed",
                "val_fraction": 1,
                "workers": 1,
                "selected_bands": bands,
            }
        )
    )
    checkpoint = write_checkpoint(tmp_path / "run/best.ckpt", open_store(tmp_path / "processed"))

    result = evaluate(
        EvalConfig(
            checkpoint=str(checkpoint),
            processed_dir=tmp_path / "processed",
            predictions_dir=tmp_path / "predictions",
            simple_baselines=False,
        )
    )

    assert [row.support for row in result.score_table.classes] == [211, 45, 0, 0]
    assert names(result.output_dir / "Tile1") == TILE_FILES
    assert result.card.intervals == dict.fromkeys(
        ["accuracy", "jaccard_macro", "f1_macro", "auc_macro", "contest_f1"]
    )


def test_labelled_test_tiles_are_scored_and_the_others_left_out(tmp_path: Path) -> None:
    store = make_store(
        tmp_path / "processed",
        split={"Tile1": "train", "Tile2": "val", "Tile3": "test", "Tile4": "test"},
        channels=CHANNELS,
        labels={"Tile4": np.full((16, 16), UNKNOWN_LABEL, np.uint8)},
    )
    write_checkpoint(tmp_path / "runs/tiny/best.ckpt", store)

    result = evaluate(
        EvalConfig(
            checkpoint="tiny",
            checkpoints_dir=tmp_path / "runs",
            processed_dir=tmp_path / "processed",
            predictions_dir=tmp_path / "predictions",
            split="test",
            accelerator="cpu",
            bootstrap_resamples=100,
            simple_baselines=False,
        )
    )

    assert result.card.tiles == ("Tile3",)
    assert result.card.split == "test"
    assert result.card.cells == 256


def test_results_are_replaced_as_a_whole_or_not_at_all(
    eval_config: EvalConfig, store: Store, tmp_path: Path
) -> None:
    config = eval_config.model_copy(update={"predictions_dir": tmp_path, "name": "same"})
    first = evaluate(config.model_copy(update={"split": "train"}))
    assert any("trained on" in note and "Tile1, Tile2" in note for note in first.card.notes)
    restitch(for_restitch(config, tiles=("Tile4",)))
    assert {"Tile1", "Tile2", "Tile4", "restitch.yml"} < names(first.output_dir)
    (tmp_path / "same/Tile1/probabilities.tif.aux.xml").write_text("statistics of a viewer")

    second = evaluate(config)

    tiles = {name for name in names(second.output_dir) if name.startswith("Tile")}
    assert tiles == set(second.card.tiles) == {"Tile3", "Tile10"}
    assert not (second.output_dir / "restitch.yml").exists()
    assert names(tmp_path) == {"same"}, "nothing is left beside them"
    assert ".lock" not in names(second.output_dir)

    users_own = tmp_path / "same/map.qgz"
    users_own.write_text("a user's own")
    with pytest.raises(UsageError, match=r"same is replaced as a whole, and 'map.qgz' in it is none"):
        evaluate(config)
    assert users_own.exists()

    users_own.unlink()
    diverged = write_checkpoint(tmp_path / "diverged.ckpt", store, weight_scale=float("nan"))
    with pytest.raises(InputDataError, match="not finite"):
        evaluate(config.model_copy(update={"checkpoint": str(diverged)}))
    assert read_scorecard(tmp_path / "same/metrics.json") == second.card
    assert names(tmp_path) == {"same", "diverged.ckpt"}


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_two_networks_are_not_ranked_against_each_other(
    store: Store, workspace: Path, tmp_path: Path
) -> None:
    held_out = [("Tile1",), ("Tile2",)]
    for number, tiles in enumerate(held_out, start=1):
        write_checkpoint(
            tmp_path / f"crossed-fold{number}of2/best.ckpt",
            store,
            train_tiles=("Tile10",),
            val_tiles=("Tile3",),
            held_out_tiles=tiles,
            fold=f"{number}/2",
            seed=number,
            weight_scale=2,
        )
    config = EvalConfig(
        checkpoint="crossed",
        checkpoints_dir=tmp_path,
        processed_dir=workspace / "processed",
        predictions_dir=tmp_path / "predictions",
        simple_baselines=False,
        bootstrap_resamples=100,
    )
    together = evaluate(config)
    aucs, pairs = [], []
    for tile in ("Tile1", "Tile2"):
        is_dark = store.labels(tile) == 0
        with rasterio.open(together.output_dir / tile / "probabilities.tif") as file:
            aucs.append(roc_auc_score(is_dark.ravel(), file.read(1).ravel()))
        pairs.append(is_dark.sum() * (~is_dark).sum())
    found = together.card.auc.per_class["settlement_dark"]
    assert found == pytest.approx(np.average(aucs, weights=pairs))
