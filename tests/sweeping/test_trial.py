"""Trials that really train."""

import csv
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import wandb

from esdseg.sweeping.distributions import Choices
from esdseg.sweeping.parameters import long_name
from esdseg.sweeping.results import write_results
from esdseg.sweeping.search_space import EarlyTermination
from esdseg.sweeping.study import SweepStudy
from esdseg.sweeping.sweep import SweepResult
from esdseg.sweeping.trial import UserNeededError, reason_of, train_trial
from tests.sweeping.conftest import TINY, make_sweep, open_study
from tests.training.read_wandb import read_records
from tests.wandb_server.server import Server


def train_all(study: SweepStudy) -> None:
    study.run_trials(partial(train_trial, study, study.folder))


def tiny(processed_dir: Path, **settings: Any) -> dict[str, Any]:
    fixed = {long_name(name): value for name, value in TINY.items()}
    return {**fixed, "data.processed_dir": str(processed_dir), **settings}


@pytest.fixture(scope="module")
def pruned(processed_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> SweepStudy:
    """A good trial, one that learns nothing, and one that cannot be trained."""
    folder = tmp_path_factory.mktemp("pruned")
    fixed = tiny(processed_dir, **{"trainer.max_epochs": 4, "optimizer.warmup_epochs": 0})
    parameters = {
        "data.selected_bands": Choices(({"sentinel2": ["B04"]}, {"landsat8": ["B4"]})),
        "optimizer.learning_rate": Choices((0.03, 1e-9)),
    }
    sweep = make_sweep(
        parameters, "grid", trials=3, fixed=fixed, termination=EarlyTermination(min_epochs=2, eta=2)
    )
    study = open_study(sweep, folder)
    train_all(study)
    write_results(study)
    return study


def test_pruning_stops_a_bad_trial_and_keeps_its_history_alone(pruned: SweepStudy) -> None:
    good, bad, _ = pruned.records()
    assert (good.state, good.epochs) == ("finished", 4)
    assert (bad.state, bad.epochs) == ("pruned", 2)
    with (pruned.folder / bad.run / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    assert (pruned.folder / good.run / "best.ckpt").is_file()
    assert not list((pruned.folder / bad.run).glob("*.ckpt"))


def test_a_trial_is_as_good_as_its_best_epoch(pruned: SweepStudy) -> None:
    good = pruned.records()[0]
    with (pruned.folder / good.run / "metrics.csv").open() as file:
        values = [float(row["val_f1_macro"]) for row in csv.DictReader(file)]
    assert good.value == pytest.approx(max(values), abs=1e-9)
    assert good.best_epoch == values.index(max(values)) + 1


def test_a_failed_trial_is_recorded_with_its_reason(pruned: SweepStudy) -> None:
    failed = pruned.records()[2]
    assert failed.state == "failed"
    assert failed.reason is not None
    assert "landsat8" in failed.reason


def test_the_table_holds_every_trial(pruned: SweepStudy) -> None:
    with (pruned.folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["finished", "pruned", "failed"]
    assert [row["optimizer.learning_rate"] for row in rows] == ["0.03", "1e-09", "0.03"]
    assert [row["epochs"] + " of " + row["max_epochs"] for row in rows] == ["4 of 4", "2 of 4", "0 of 4"]
    assert rows[1]["reason"] == "stopped after 2 of 4 epochs, worse than others by then"
    assert rows[0]["run"] == "trial-000"
    assert float(rows[0]["val_f1_macro"]) == pruned.records()[0].value


def test_a_diverging_loss_is_recorded_and_the_sweep_goes_on(processed_dir: Path, tmp_path: Path) -> None:
    fixed = tiny(
        processed_dir,
        **{"optimizer.name": "sgd", "trainer.gradient_clip_norm": None, "optimizer.weight_decay": 1e30},
    )
    sweep = make_sweep({"optimizer.learning_rate": Choices((10.0, 1e-33))}, "grid", trials=2, fixed=fixed)
    study = open_study(sweep, tmp_path)
    train_all(study)
    failed, finished = study.records()
    assert (failed.state, finished.state) == ("failed", "finished")
    assert failed.reason is not None
    assert "loss" in failed.reason


def test_reasons_are_one_line() -> None:
    assert reason_of(
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 4 bytes\nat x")
    ) == ("out of memory: [enforce fail] DefaultCPUAllocator: can't allocate memory: 4 bytes")
    assert reason_of(MemoryError()) == "out of memory"
    assert reason_of(ValueError("no\nyes")) == "ValueError: no"


def test_a_trial_is_a_run_of_the_sweeps_group_at_wandb(
    processed_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    fixed = tiny(processed_dir, **{"tracking.wandb": "offline", "trainer.max_epochs": 1})
    sweep = make_sweep({"optimizer.learning_rate": Choices((0.01,))}, "grid", name="mine", fixed=fixed)
    study = open_study(sweep, tmp_path)
    train_all(study)
    wandb.teardown()
    (logged,) = (tmp_path / "trial-000" / "wandb").glob("offline-run-*/*.wandb")
    (run,) = (one.run for one in read_records(logged) if one.WhichOneof("record_type") == "run")
    assert (run.run_group, run.display_name) == ("mine", "trial-000")
    result = SweepResult(sweep, tmp_path, ())
    assert result.sync_command == f"wandb sync {tmp_path}/*/wandb/offline-run-*"
    assert study.records()[0].state == "finished"


def test_a_trial_without_network_names_the_network_as_the_reason(
    wandb_server: Server, processed_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esdseg.training.wandb_connection.START_SECONDS", 1)
    wandb_server.is_away = True
    fixed = tiny(processed_dir, **{"tracking.wandb": "online"})
    sweep = make_sweep({"optimizer.learning_rate": Choices((0.01,))}, "grid", name="mine", fixed=fixed)
    with pytest.raises(UserNeededError, match=r"gives no answer.*--wandb offline"):
        train_all(open_study(sweep, tmp_path))
