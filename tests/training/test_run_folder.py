from datetime import datetime
from pathlib import Path

import pytest

from esdseg.config.training import ESDConfig
from esdseg.errors import InputDataError, UsageError
from esdseg.system.files import part_path
from esdseg.system.locks import LOCK_NAME
from esdseg.training.callbacks import EpochReport
from esdseg.training.run_folder import FitResult, new_run, resumed_run

NOW = datetime(2026, 11, 23, 5, 12, 7)


def test_a_run_is_named_after_model_date_and_time(tmp_path: Path) -> None:
    assert new_run(ESDConfig(), tmp_path, None, NOW).path == tmp_path / "sensor_branches-20261123-051207"


def test_two_runs_of_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    first = new_run(ESDConfig(), tmp_path, None, NOW)
    first.write_config(ESDConfig())
    assert new_run(ESDConfig(), tmp_path, None, NOW).path == tmp_path / "sensor_branches-20261123-051207-2"


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "sweeps", "-x", "a b"])
def test_names_that_cannot_be_a_runs_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="--name"):
        new_run(ESDConfig(), tmp_path, name, NOW)


def test_a_finished_run_is_not_written_over(finished: tuple[FitResult, list[EpochReport]]) -> None:
    run_dir = finished[0].run_dir
    with pytest.raises(UsageError, match=r"finished exists.*--resume.*--name"):
        new_run(ESDConfig(), run_dir.parent, run_dir.name, NOW)


def test_a_folder_of_a_run_that_failed_at_once_can_be_used_again(tmp_path: Path) -> None:
    new_run(ESDConfig(), tmp_path, "mine", NOW).write_config(ESDConfig())
    assert new_run(ESDConfig(), tmp_path, "mine", NOW).path == tmp_path / "mine"


def test_resuming_keeps_the_runs_settings(finished: tuple[FitResult, list[EpochReport]]) -> None:
    run_dir = finished[0].run_dir
    asked = ESDConfig.model_validate({"trainer": {"max_epochs": 6}, "optimizer": {"learning_rate": 0.01}})
    for name in (run_dir.name, None):
        run = resumed_run(asked, run_dir.parent, name)
        assert run.path == run_dir
        assert run.epochs_done == 4
        assert run.config.trainer.max_epochs == 6
        assert run.config.model.name == "segmentation_cnn"
        assert run.config.optimizer.schedule == "plateau"


def test_what_a_killed_process_left_of_a_finished_run_is_removed(
    finished: tuple[FitResult, list[EpochReport]],
) -> None:
    run_dir = finished[0].run_dir
    leftovers = [run_dir / LOCK_NAME, part_path(run_dir / "last.ckpt")]
    for path in leftovers:
        path.write_text("process 1 on elsewhere")
    with pytest.raises(UsageError, match="is finished"):
        resumed_run(ESDConfig(), run_dir.parent, "finished")
    assert not any(path.exists() for path in leftovers)


def test_resuming_with_other_settings_is_refused_by_name(
    finished: tuple[FitResult, list[EpochReport]],
) -> None:
    asked = ESDConfig.model_validate(
        {"trainer": {"max_epochs": 6, "seed": 5}, "data": {"batch_size": 3}, "model": "segmentation_cnn"}
    )
    with pytest.raises(UsageError) as refusal:
        resumed_run(asked, finished[0].run_dir.parent, "finished")
    assert "trainer.seed is 0, not 5" in str(refusal.value)
    assert "data.batch_size is 8, not 3" in str(refusal.value)
    assert "max_epochs" not in str(refusal.value)


def test_resuming_a_finished_run_says_how_to_go_on(finished: tuple[FitResult, list[EpochReport]]) -> None:
    with pytest.raises(UsageError, match=r"has trained 4 epochs.*--max-epochs above 4"):
        resumed_run(ESDConfig(), finished[0].run_dir.parent, "finished")


@pytest.mark.parametrize("name", [None, "nothing"])
def test_without_a_run_there_is_nothing_to_resume(tmp_path: Path, name: str | None) -> None:
    with pytest.raises(InputDataError, match="no run"):
        resumed_run(ESDConfig(), tmp_path, name)


def test_the_newest_run_of_another_model_is_passed_over(
    finished: tuple[FitResult, list[EpochReport]],
) -> None:
    with pytest.raises(InputDataError, match="no run of unet"):
        resumed_run(ESDConfig.model_validate({"model": "unet"}), finished[0].run_dir.parent, None)
