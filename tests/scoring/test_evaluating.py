import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from esdseg.config.evaluation import EvalConfig
from esdseg.config.preprocessing import PreprocessConfig
from esdseg.errors import InputDataError
from esdseg.preprocessing.preprocess import preprocess
from esdseg.scoring.evaluate import evaluate
from esdseg.scoring.restitch import restitch
from esdseg.scoring.results import EvaluationResult
from esdseg.sensors.classes import UNKNOWN_LABEL
from esdseg.store.store import Store, open_store
from tests.scoring.checkpoints import write_checkpoint
from tests.scoring.conftest import GEOREFERENCED_TILE, UNKNOWN_CELLS, for_restitch

TILE_FILES = {"prediction.tif", "probabilities.tif", "truth.tif", "comparison.png", "satellite.jpg"}
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
        "errors.png", "config.yml", "Tile3", "Tile10",
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
    assert names(result.output_dir / "Tile4") == TILE_FILES - {"truth.tif"}
    assert set(result.to_json()) == {"checkpoint", "output_dir", "maps"}


def test_maps_lie_where_the_tile_lies(evaluated: EvaluationResult) -> None:
    with rasterio.open(evaluated.output_dir / GEOREFERENCED_TILE / "prediction.tif") as file:
        assert file.crs.to_epsg() == 32630
        assert file.res == (500, 500)


def test_a_split_without_ground_truth_is_for_restitch(eval_config: EvalConfig) -> None:
    with pytest.raises(InputDataError, match=r"no ground truth to score against; .*esdseg restitch"):
        evaluate(eval_config.model_copy(update={"split": "test", "name": "unlabelled"}))
    assert not (eval_config.predictions_dir / "unlabelled").exists()


def test_scoring_training_tiles_is_said(eval_config: EvalConfig) -> None:
    result = evaluate(eval_config.model_copy(update={"split": "train", "name": "train"}))

    assert any("trained on" in note and "Tile1, Tile2" in note for note in result.card.notes)


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
    assert result.card.model_dump()["intervals"] == dict.fromkeys(
        ["accuracy", "jaccard_macro", "f1_macro", "auc_macro", "contest_f1"]
    )
