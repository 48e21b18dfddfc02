"""The temperature and the threshold of a run's checkpoints come from the tiles that chose the epoch."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.metrics import f1_score

from esdseg.baselines.checkpoint import open_checkpoint
from esdseg.config.training import ESDConfig
from esdseg.errors import UsageError
from esdseg.models.checkpoint import CheckpointMetadata, load_checkpoint
from esdseg.store.manifest import SplitName
from esdseg.store.store import Store
from esdseg.training.callbacks import EpochReport
from esdseg.training.fit import fit
from esdseg.training.folds import fit_folds
from esdseg.training.run_folder import FitResult
from tests.datasets.make_store import CHANNELS, make_store
from tests.training.conftest import tiny_config
from tests.training.test_fit import read_checkpoint


@pytest.fixture(scope="module")
def calibrated(processed_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    config = tiny_config(processed_dir, trainer={"calibrate": True, "max_epochs": 3, "patience": None})
    return fit(config, checkpoints_dir=tmp_path_factory.mktemp("runs"), name="calibrated")


def described(path: Path) -> CheckpointMetadata:
    return open_checkpoint(path).metadata


def test_each_checkpoint_has_its_own_from_the_choosing_tiles(calibrated: FitResult, store: Store) -> None:
    for path in (calibrated.best_checkpoint, calibrated.last_checkpoint):
        loaded = load_checkpoint(path)
        (tile,) = loaded.metadata.val_tiles
        assert tile == "Tile10"
        # Subtile by subtile, as maps are made: what lies beyond its edge is not seen.
        places = [(row, column) for row in range(4) for column in range(4)]
        images = np.stack([store.read_subtile(tile, *place) for place in places])
        with torch.inference_mode():
            scores = loaded.model(torch.from_numpy(images)).movedim(1, -1).reshape(-1, 4).double().numpy()
        cells = [store.labels(tile)[4 * row :, 4 * column :][:4, :4].ravel() for row, column in places]
        labels, logits = np.concatenate(cells), scores
        found = minimize_scalar(loss, args=(labels, logits), bounds=(0.05, 20), options={"xatol": 1e-7})
        assert loaded.metadata.is_calibrated
        temperature = loaded.metadata.temperature
        assert temperature == pytest.approx(found.x, rel=1e-3)
        share = softmax(logits / temperature, axis=1)[:, 0]
        best = max(f1_score(labels == 0, share >= threshold) for threshold in np.unique(share))
        threshold = loaded.metadata.contest_threshold
        assert threshold is not None
        assert f1_score(labels == 0, share >= threshold) == pytest.approx(best)


def loss(temperature: float, labels: npt.NDArray[np.uint8], logits: npt.NDArray[np.float64]) -> float:
    """The mean negative log-likelihood, by SciPy."""
    return float(-log_softmax(logits / temperature, axis=1)[np.arange(len(labels)), labels].mean())


def test_only_the_description_changes(calibrated: FitResult, processed_dir: Path, tmp_path: Path) -> None:
    config = tiny_config(processed_dir, trainer={"max_epochs": 3, "patience": None})
    plain = fit(config, checkpoints_dir=tmp_path, name="plain")
    assert described(plain.best_checkpoint).temperature == 1
    assert not described(plain.best_checkpoint).is_calibrated
    for mine, theirs in (
        (calibrated.best_checkpoint, plain.best_checkpoint),
        (calibrated.last_checkpoint, plain.last_checkpoint),
    ):
        first, second = read_checkpoint(mine), read_checkpoint(theirs)
        assert first.keys() == second.keys()
        for name, value in first["state_dict"].items():
            assert torch.equal(value, second["state_dict"][name])
    assert sorted(path.name for path in calibrated.run_dir.iterdir()) == sorted(
        path.name for path in plain.run_dir.iterdir()
    )


def test_a_checkpoint_without_the_fields_is_read_as_before(calibrated: FitResult, tmp_path: Path) -> None:
    content = read_checkpoint(calibrated.best_checkpoint)
    for name in ("temperature", "contest_threshold", "is_calibrated"):
        del content["esdseg"][name]
    del content["esdseg"]["config"]["trainer"]["calibrate"]
    torch.save(content, tmp_path / "old.ckpt")
    metadata = described(tmp_path / "old.ckpt")
    assert (metadata.temperature, metadata.contest_threshold, metadata.is_calibrated) == (1, None, False)


def test_a_calibrated_run_can_be_resumed_and_is_calibrated_again(processed_dir: Path, tmp_path: Path) -> None:
    config = tiny_config(processed_dir, trainer={"calibrate": True, "max_epochs": 1})
    fit(config, checkpoints_dir=tmp_path, name="again")
    longer = tiny_config(processed_dir, trainer={"calibrate": True, "max_epochs": 2})
    result = fit(longer, checkpoints_dir=tmp_path, name="again", resume=True)
    assert result.epochs == 2
    assert described(result.best_checkpoint).is_calibrated
    assert described(result.last_checkpoint).is_calibrated


class StopError(Exception):
    """Stands for whatever kills a run."""


def stop_after_the_last_epoch(report: EpochReport) -> None:
    if report.epoch == report.max_epochs:
        raise StopError


def test_a_run_stopped_before_its_calibration_is_calibrated_by_resuming(
    calibrated: FitResult, processed_dir: Path, tmp_path: Path
) -> None:
    config = tiny_config(processed_dir, trainer={"calibrate": True, "max_epochs": 3, "patience": None})
    with pytest.raises(StopError):
        fit(config, checkpoints_dir=tmp_path, name="run", on_epoch=stop_after_the_last_epoch)
    assert not described(tmp_path / "run/last.ckpt").is_calibrated

    result = fit(ESDConfig(), checkpoints_dir=tmp_path, name="run", resume=True)

    assert (result.epochs, result.best_epoch) == (calibrated.epochs, calibrated.best_epoch)
    assert result.best_metrics == calibrated.best_metrics
    for name in ("best.ckpt", "last.ckpt"):
        mine, theirs = described(tmp_path / "run" / name), described(calibrated.run_dir / name)
        assert mine.is_calibrated
        assert (mine.temperature, mine.contest_threshold) == (theirs.temperature, theirs.contest_threshold)
    with pytest.raises(UsageError, match="is finished: it has trained 3 epochs"):
        fit(ESDConfig(), checkpoints_dir=tmp_path, name="run", resume=True)


@pytest.mark.parametrize("model", ["segmentation_cnn", "cell_logistic"])
def test_a_finished_run_can_be_calibrated_later(model: str, processed_dir: Path, tmp_path: Path) -> None:
    sections = {} if model == "segmentation_cnn" else {"model": {"name": model}}
    config = tiny_config(processed_dir, trainer={"max_epochs": 1}, **sections)
    fit(config, checkpoints_dir=tmp_path, name="run")
    later = ESDConfig.model_validate({"trainer": {"calibrate": True}})
    result = fit(later, checkpoints_dir=tmp_path, name="run", resume=True)
    assert described(result.best_checkpoint).is_calibrated
    assert described(result.last_checkpoint).is_calibrated
    assert "calibrate: true" in (result.run_dir / "config.yml").read_text()
    with pytest.raises(UsageError, match="is finished"):
        fit(later, checkpoints_dir=tmp_path, name="run", resume=True)


def test_folds_stopped_before_a_calibration_are_calibrated_by_resuming(tmp_path: Path) -> None:
    split: dict[str, SplitName] = {f"Tile{number}": "train" for number in range(1, 7)}
    make_store(tmp_path / "store", split=split, channels=CHANNELS[1:3])
    trainer = {"calibrate": True, "max_epochs": 1}
    config = tiny_config(tmp_path / "store", folds={"fold": "1/2"}, trainer=trainer)
    told: list[int] = []

    def stop_in_fold_2(report: EpochReport) -> None:
        if told == [1, 2]:
            raise StopError

    def fold_told(number: int, _count: int, _path: Path) -> None:
        told.append(number)

    runs = tmp_path / "runs"
    with pytest.raises(StopError):
        fit_folds(config, checkpoints_dir=runs, name="all", on_fold=fold_told, on_epoch=stop_in_fold_2)
    first, second = (runs / f"all-fold{number}of2" for number in (1, 2))
    assert described(first / "last.ckpt").is_calibrated
    assert not described(second / "last.ckpt").is_calibrated
    kept, history = (first / "last.ckpt").stat().st_mtime_ns, (second / "metrics.csv").read_bytes()

    asked = ESDConfig.model_validate({"folds": {"fold": "1/2"}})
    result = fit_folds(asked, checkpoints_dir=runs, name="all", resume=True, on_fold=fold_told)

    assert told == [1, 2, 2]
    assert [run.epochs for run in result.runs] == [1, 1]
    assert all(described(second / name).is_calibrated for name in ("best.ckpt", "last.ckpt"))
    assert (second / "metrics.csv").read_bytes() == history
    assert (first / "last.ckpt").stat().st_mtime_ns == kept


def test_a_fitted_model_is_calibrated_too(processed_dir: Path, tmp_path: Path) -> None:
    config = tiny_config(processed_dir, model={"name": "cell_logistic"}, trainer={"calibrate": True})
    result = fit(config, checkpoints_dir=tmp_path, name="fitted")
    assert described(result.best_checkpoint).temperature != 1
    assert result.best_checkpoint.read_bytes() == result.last_checkpoint.read_bytes()


def test_a_held_out_tile_moves_neither(tmp_path: Path) -> None:
    """The same fold on stores whose held-out tile differs in every label and in its image."""
    split: dict[str, SplitName] = {f"Tile{number}": "train" for number in range(1, 7)}
    first = make_store(tmp_path / "first", split=split, channels=CHANNELS[1:3])
    runs: list[FitResult] = []
    for name, processed in (("a", tmp_path / "first"), ("b", tmp_path / "second")):
        if name == "b":
            (held_out, *_) = described(runs[0].best_checkpoint).held_out_tiles
            turned = first.labels(held_out)[::-1, ::-1].copy()
            second = make_store(processed, split=split, channels=CHANNELS[1:3], labels={held_out: turned})
            assert (second.labels(held_out) != first.labels(held_out)).any()
            assert (second.read_tile(held_out) != first.read_tile(held_out)).any()
        config = tiny_config(processed, folds={"fold": "1/3"}, trainer={"calibrate": True, "max_epochs": 1})
        runs.append(fit(config, checkpoints_dir=tmp_path / "runs", name=name))
    mine, other = (described(run.best_checkpoint) for run in runs)
    assert mine.held_out_tiles == other.held_out_tiles
    assert mine.is_calibrated
    assert (mine.temperature, mine.contest_threshold) == (other.temperature, other.contest_threshold)
