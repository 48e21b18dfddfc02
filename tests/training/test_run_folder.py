import csv
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

import pytest

from esdseg.config.loading import load_config
from esdseg.config.training import ESDConfig
from esdseg.errors import InputDataError, UsageError
from esdseg.models.checkpoint import load_checkpoint
from esdseg.system.files import part_path
from esdseg.system.locks import LOCK_NAME
from esdseg.training import run_folder
from esdseg.training.callbacks import EpochReport
from esdseg.training.fit import fit
from esdseg.training.run_folder import FitResult, RunFolder, open_run
from tests.training.conftest import tiny_config

Finished = tuple[FitResult, list[EpochReport]]


class FixedTime(datetime):
    @classmethod
    def now(cls, tz: object = None) -> "FixedTime":
        return cls(2026, 11, 23, 5, 12, 7)


@pytest.fixture
def one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "datetime", FixedTime)


def new(runs_dir: Path, name: str | None = None, **config: object) -> AbstractContextManager[RunFolder]:
    return open_run(ESDConfig.model_validate(config), runs_dir, name, resume=False)


def resumed(runs_dir: Path, name: str | None, **config: object) -> AbstractContextManager[RunFolder]:
    return open_run(ESDConfig.model_validate(config), runs_dir, name, resume=True)


@pytest.mark.usefixtures("one_second")
def test_a_run_is_named_after_model_date_and_time(tmp_path: Path) -> None:
    with new(tmp_path) as run:
        assert run.path == tmp_path / "sensor_branches-20261123-051207"
    with new(tmp_path, folds={"fold": "2/5"}) as run:
        assert run.path == tmp_path / "sensor_branches-20261123-051207-fold2of5"


@pytest.mark.usefixtures("one_second")
def test_an_automatic_name_is_never_that_of_another_folder(tmp_path: Path) -> None:
    # Two folders of that second, of which the later one has a number that a count of them would give.
    taken = {tmp_path / f"sensor_branches-20261123-051207{end}" for end in ("", "-3")}
    for path in taken:
        path.mkdir()
    with new(tmp_path) as first, new(tmp_path) as second:
        assert first.path != second.path
        assert not {first.path, second.path} & taken


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "sweeps", "-x", "a b"])
def test_names_that_cannot_be_a_runs_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="--name"), new(tmp_path, name):
        pass


def test_a_finished_run_is_not_written_over(finished: Finished) -> None:
    run_dir = finished[0].run_dir
    with (
        pytest.raises(UsageError, match=r"finished exists.*--resume.*--name"),
        new(run_dir.parent, "finished"),
    ):
        pass


def test_a_refused_run_leaves_no_folder(processed_dir: Path, tmp_path: Path) -> None:
    config = tiny_config(processed_dir, trainer={"devices": 17})
    for name in ("mine", None):
        with pytest.raises(UsageError, match="17 processes"):
            fit(config, checkpoints_dir=tmp_path / "a" / "runs", name=name)
        assert list(tmp_path.iterdir()) == []


def test_a_new_run_starts_clean_in_the_folder_of_one_that_was_killed(
    processed_dir: Path, tmp_path: Path
) -> None:
    left = tmp_path / "mine"
    left.mkdir()
    for name in ("wandb-run-id.txt", "fold.json", "config.yml", "metrics.csv"):
        (left / name).write_text("of another run")
    fit(tiny_config(processed_dir, trainer={"max_epochs": 1}), checkpoints_dir=tmp_path, name="mine")
    names = {path.name for path in left.iterdir()}
    assert names == {"best.ckpt", "last.ckpt", "config.yml", "metrics.csv", "curves.png"}
    with (left / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1"]


def test_resuming_keeps_the_runs_settings(finished: Finished) -> None:
    run_dir = finished[0].run_dir
    for name in (run_dir.name, None):
        asked = {"trainer": {"max_epochs": 6}, "optimizer": {"learning_rate": 0.01}}
        with resumed(run_dir.parent, name, **asked) as run:
            assert run.path == run_dir
            assert run.progress is not None
            assert run.progress.epochs == 4
            assert not run.is_trained
            assert run.config.trainer.max_epochs == 6
            assert run.config.model.name == "segmentation_cnn"
            assert run.config.optimizer.schedule == "plateau"


def test_what_a_killed_process_left_of_a_finished_run_is_removed(finished: Finished) -> None:
    run_dir = finished[0].run_dir
    leftovers = [run_dir / LOCK_NAME, part_path(run_dir / "last.ckpt")]
    for path in leftovers:
        path.write_text("process 1 on elsewhere")
    with pytest.raises(UsageError, match="is finished"), resumed(run_dir.parent, "finished"):
        pass
    assert not any(path.exists() for path in leftovers)


def test_resuming_with_other_settings_is_refused_by_name(finished: Finished) -> None:
    asked = {
        "trainer": {"max_epochs": 6, "seed": 5},
        "data": {"batch_size": 3, "processed_dir": "elsewhere"},
        "model": "segmentation_cnn",
    }
    with pytest.raises(UsageError) as refusal, resumed(finished[0].run_dir.parent, "finished", **asked):
        pass
    assert "trainer.seed is 0, not 5" in str(refusal.value)
    assert "data.batch_size is 8, not 3" in str(refusal.value)
    assert "not elsewhere" in str(refusal.value)
    assert "max_epochs" not in str(refusal.value)


def test_resuming_may_change_where_and_how_a_run_is_trained(processed_dir: Path, tmp_path: Path) -> None:
    begun = tiny_config(processed_dir, trainer={"max_epochs": 1, "accelerator": "auto"})
    fit(begun, checkpoints_dir=tmp_path, name="mine")
    asked = {
        "data": {"cache": "disk", "num_workers": 1},
        "trainer": {"max_epochs": 2, "accelerator": "cpu"},
        "tracking": {"wandb": "offline", "project": "other", "image_every_epochs": 1, "image_tiles": 1},
    }
    result = fit(ESDConfig.model_validate(asked), checkpoints_dir=tmp_path, name="mine", resume=True)

    assert result.epochs == 2
    assert result.sync_command is not None, "the run is logged offline now"
    written = load_config(ESDConfig, result.run_dir / "config.yml")
    for config in (written, load_checkpoint(result.last_checkpoint).config):
        for section, values in asked.items():
            assert getattr(config, section).model_dump().items() >= values.items()
        assert config.optimizer == load_checkpoint(result.best_checkpoint).config.optimizer


def test_resuming_a_finished_run_says_how_to_go_on(finished: Finished) -> None:
    message = r"has trained 4 epochs.*--max-epochs above 4"
    with pytest.raises(UsageError, match=message), resumed(finished[0].run_dir.parent, "finished"):
        pass


@pytest.mark.parametrize("name", [None, "nothing"])
def test_without_a_run_there_is_nothing_to_resume(tmp_path: Path, name: str | None) -> None:
    with pytest.raises(InputDataError, match="no run"), resumed(tmp_path / "runs", name):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_newest_run_of_another_model_is_passed_over(finished: Finished) -> None:
    with (
        pytest.raises(InputDataError, match="no run of unet"),
        resumed(finished[0].run_dir.parent, None, model="unet"),
    ):
        pass
