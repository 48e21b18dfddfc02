"""On a full disk a command names what lacks room, leaves what was there, and completes once there is some."""

import re
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from esdseg.config.evaluation import EvalConfig
from esdseg.config.preprocessing import PreprocessConfig
from esdseg.errors import MissingResourceError
from esdseg.prediction.maps import write_probabilities
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.preprocessing.preprocess import preprocess
from esdseg.sample.writing import write_sample_tiles
from esdseg.scoring.evaluate import evaluate
from esdseg.system.files import write_text
from esdseg.training.callbacks import EpochReport
from esdseg.training.fit import fit
from tests.faults.comparing import assert_same_files, assert_same_run, files_of
from tests.faults.small_disk import filled, small_disk
from tests.preprocessing.raw_tiles import config_for
from tests.training.conftest import tiny_config

SIZE_BYTES = 40_000_000
NO_SPACE = r"no space left to write .*{place}.*No space left on device; [\d.]+ MB are free there{needed}"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", SIZE_BYTES) as folder:
        yield folder


def refusal(place: str, needed: str = "") -> re.Pattern[str]:
    return re.compile(NO_SPACE.format(place=re.escape(place), needed=needed))


@pytest.mark.parametrize("workers", [1, 2])
def test_preprocessing_keeps_finished_tiles(written: Path, disk: Path, workers: int) -> None:
    config = config_for(written, processed_dir=disk / "processed", workers=workers)
    store = disk / "processed/4x4"
    finished = files_of(written / "processed/4x4")
    tile = sum(map(len, finished.values())) // 3
    # Fewer channels than the estimate takes for granted fit, and then do not.
    with filled(disk, round(2.2 * tile)), pytest.raises(MissingResourceError, match=refusal("4x4")):
        preprocess(config)
    assert not (store / "manifest.json").exists()
    assert {path.name for path in store.iterdir()} <= {"Train", "Val"}
    kept = {path.stem for path in store.glob("*/*.zarr")}
    result = preprocess(config)
    assert set(result.reused) == kept
    assert len(kept) in (1, 2)
    assert_same_files(files_of(store), finished)


def test_preprocessing_does_not_begin_what_cannot_fit(written: Path, disk: Path) -> None:
    config = PreprocessConfig(raw_dir=written / "raw", processed_dir=disk / "processed", workers=1)
    with (
        filled(disk, 1_000_000),
        pytest.raises(
            MissingResourceError, match=r"4x4 will take about 1\d MB of disk, and [\d.]+ MB are free"
        ),
    ):
        preprocess(config)
    assert not list((disk / "processed/4x4").iterdir())


def test_training_keeps_the_epochs_before(processed: Path, disk: Path, tmp_path: Path) -> None:
    config = tiny_config(processed / "processed", trainer={"max_epochs": 3})
    calm = fit(config, checkpoints_dir=tmp_path, name="run").run_dir
    ballast = filled(disk, 10_000)

    def fill_up(report: EpochReport) -> None:
        if report.epoch == 1:
            ballast.__enter__()

    full = refusal("run/", r", about [\d.]+ MB are needed")
    with pytest.raises(MissingResourceError, match=full) as stopped:
        fit(config, checkpoints_dir=disk, name="run", on_epoch=fill_up)
    assert "Finished epochs are kept; go on with `esdseg train" in str(stopped.value)
    ballast.__exit__(None, None, None)
    assert {path.name for path in (disk / "run").iterdir()} >= {"best.ckpt", "last.ckpt", "metrics.csv"}
    assert not list((disk / "run").glob(".*"))
    fit(config, checkpoints_dir=disk, name="run", resume=True)
    assert_same_run(disk / "run", calm)


def test_an_evaluation_leaves_the_one_before(trained: Path, disk: Path) -> None:
    config = EvalConfig(
        checkpoint="run",
        checkpoints_dir=trained / "checkpoints",
        processed_dir=trained / "processed",
        predictions_dir=disk / "predictions",
        name="out",
        simple_baselines=False,
        bootstrap_resamples=100,
    )
    folder = evaluate(config).output_dir
    before = files_of(folder)
    for left in (2_000, 60_000, 200_000):
        with filled(disk, left), pytest.raises(MissingResourceError, match="no space left to write"):
            evaluate(config)
        assert_same_files(files_of(folder), before)
    assert evaluate(config).card.cells == 256


def test_sample_tiles_are_whole_or_not_there(disk: Path) -> None:
    raw = disk / "raw"
    with pytest.raises(MissingResourceError, match=refusal("Tile1", ", about 170 MB are needed")):
        write_sample_tiles(raw, tiles=1, seed=0, crs=False, workers=1)
    assert {path.name for path in raw.iterdir()} == {"sample.json"}
    shutil.rmtree(raw)


def test_a_limit_on_the_size_of_files_is_told_as_one(tmp_path: Path) -> None:
    write_text(tmp_path / "text", "old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(MissingResourceError, match=r"no space left to write .*text .File too large"):
            write_text(tmp_path / "text", "x" * 20_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files_of(tmp_path) == {"text": b"old"}


@pytest.mark.parametrize("left_bytes", [1, 4096])
def test_a_map_is_whole_or_refused(disk: Path, left_bytes: int) -> None:
    probabilities = np.random.default_rng(0).random((4, 16, 16), np.float32)
    prediction = TilePrediction("Tile1", np.zeros((16, 16), np.uint8), probabilities)
    with filled(disk, left_bytes), pytest.raises(MissingResourceError, match=refusal("probabilities.tif")):
        write_probabilities(disk, prediction, None)
    assert files_of(disk) == {}
