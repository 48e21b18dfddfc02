"""What was written in today's formats stays readable: a store, checkpoints, and scores, with what they gave.

``tests/fixtures/format3`` is never written anew: once a format changes, a folder with the new one is put
beside it, and what is left of this one shows what becomes of old files, as ``format1`` and ``format2`` do.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from esdseg.baselines.checkpoint import open_checkpoint
from esdseg.config.loading import load_config
from esdseg.config.training import ESDConfig
from esdseg.errors import InputDataError
from esdseg.metrics.scorecard import read_scorecard
from esdseg.prediction.windows import choose_device, predict_tiles
from esdseg.store.store import open_store
from esdseg.store.verification import verify_store
from esdseg.training.fit import fit

FORMAT3 = Path(__file__).parent / "fixtures/format3"
EXPECTED = json.loads((FORMAT3 / "expected.json").read_text())
CHECKPOINTS = ("logistic/best.ckpt", "cnn/best.ckpt", "cnn/last.ckpt")


def test_the_store_is_read_whole() -> None:
    assert verify_store(FORMAT3 / "processed/16x16", workers=1).ok
    store = open_store(FORMAT3 / "processed")
    image = store.read_tile("Tile2").astype(np.float64)
    assert np.nanmean(image, axis=(1, 2)) == pytest.approx(EXPECTED["means"], rel=1e-6)
    assert int(np.isnan(image).sum()) == EXPECTED["no_data"] == 3 * 800
    assert store.labels("Tile2")[:2, :8].tolist() == EXPECTED["labels"]
    assert store.manifest.tiles["Tile1"].georeference is not None


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_predicts_what_it_did(name: str) -> None:
    loaded = open_checkpoint(FORMAT3 / "checkpoints" / name)
    store, device = open_store(FORMAT3 / "processed"), choose_device("cpu", "32-true")
    (tile,) = predict_tiles([loaded], store, ["Tile2"], device)
    assert tile.probabilities[:, ::5, ::5] == pytest.approx(np.array(EXPECTED[name]), abs=1e-4)


def test_a_run_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(FORMAT3, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    result = fit(load_config(ESDConfig, assignments=["trainer.max_epochs=3"]), name="cnn", resume=True)
    assert result.epochs == 3


def test_scores_are_read() -> None:
    card = read_scorecard(FORMAT3 / "predictions/logistic/metrics.json")
    assert (card.tiles, card.cells) == (("Tile2",), 255)
    assert card.contest_f1 == pytest.approx(EXPECTED["contest_f1"])


@pytest.mark.parametrize("version", [0, 1, 3, "2", None, True])
def test_checkpoints_of_other_versions_are_refused_by_name(version: object, tmp_path: Path) -> None:
    content = torch.load(FORMAT3 / "checkpoints/logistic/best.ckpt", weights_only=True)
    content["esdseg"]["format_version"] = version
    torch.save(content, tmp_path / "best.ckpt")
    with pytest.raises(InputDataError, match=f"format {version!r}, this esdseg reads format 2; read it with"):
        open_checkpoint(tmp_path / "best.ckpt")


@pytest.mark.parametrize("version", [0, 2, 4, "3", None, True])
def test_stores_of_other_versions_are_refused_by_name(version: object, tmp_path: Path) -> None:
    shutil.copytree(FORMAT3 / "processed", tmp_path / "processed")
    path = tmp_path / "processed/16x16/manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": version}))
    with pytest.raises(InputDataError, match=r"format version .* reads 3; write the store anew with `esdseg"):
        open_store(tmp_path / "processed")


@pytest.mark.parametrize("version", [1, 2])
def test_an_old_store_is_refused_with_the_command_that_makes_it_anew(version: int) -> None:
    """Format 1 kept means and extremes of the channels; format 2 knew no description of sensors."""
    folder = FORMAT3.with_name(f"format{version}") / "processed"
    with pytest.raises(InputDataError, match=rf"format version {version}, .*--subtile-size 16 --overwrite`"):
        open_store(folder)
    (problem,) = verify_store(folder / "16x16").problems
    assert f"format version {version}, this esdseg reads 3" in problem.message
    assert "--subtile-size 16 --overwrite`" in problem.fix


def test_an_old_checkpoint_is_refused_with_the_remedy() -> None:
    path = FORMAT3.with_name("format2") / "checkpoints/logistic/best.ckpt"
    with pytest.raises(InputDataError, match=r"has checkpoint format 1, .* reads format 2; .*train again"):
        open_checkpoint(path)
