"""The command: killed, resumed, repeated, and misused."""

import csv
import json
import os
import signal
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from esdseg.config.loading import load_config
from esdseg.config.training import ESDConfig
from esdseg.training.fit import fit
from tests.cli.conftest import assert_fits, run_esdseg, run_here, run_in_terminal
from tests.faults.processes import Preloaded
from tests.sweeping.conftest import write_sweep

STORE = ("--processed-dir", "STORE")
"""Stands for the store in arguments."""

RATE = {"distribution": "log_uniform_values", "min": 1e-3, "max": 3e-2}


@dataclass
class Resumed:
    """A sweep of four trials that was killed during its second."""

    folder: Path
    finished_before: Path
    written_before: int
    result: dict[str, Any]


def states(database: Path) -> list[str]:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30) as connection:
        return [row[0] for row in connection.execute("SELECT state FROM trials ORDER BY number")]


def begun_trials(database: Path) -> int:
    """Count the trials that have said which process they are."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30) as connection:
        return connection.execute(
            "SELECT COUNT(*) FROM trial_user_attributes WHERE key = 'begun'"
        ).fetchone()[0]


def wait_for_second_trial(database: Path) -> None:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        try:
            if states(database) == ["COMPLETE", "RUNNING"] and begun_trials(database) == 2:
                return
        except sqlite3.OperationalError:
            pass  # The file or its tables are not there yet.
        time.sleep(0.05)
    raise AssertionError("no second trial began")


@pytest.fixture(scope="module")
def resumed(processed_dir: Path, preloaded: Preloaded, tmp_path_factory: pytest.TempPathFactory) -> Resumed:
    folder = tmp_path_factory.mktemp("command")
    fixed = {"data.processed_dir": str(processed_dir), "trainer.max_epochs": 3}
    write_sweep(folder, {"learning_rate": RATE}, fixed, run_cap=4)
    running = preloaded.start(folder, "sweep", "tiny.yml")
    sweep_folder = folder / "checkpoints/sweeps/tiny"
    wait_for_second_trial(sweep_folder / "study.db")
    os.kill(running.pid, signal.SIGKILL)
    assert running.wait().code == -signal.SIGKILL
    first = sweep_folder / "trial-000/best.ckpt"
    written = first.stat().st_mtime_ns
    done = preloaded.run(folder, "sweep", "tiny.yml", "--workers", 2, "--repeat-best", 2, "--json")
    return Resumed(folder, first, written, json.loads(done.output))


def test_a_killed_sweep_goes_on_where_it_stopped(resumed: Resumed) -> None:
    assert resumed.result["finished"] == 4
    assert resumed.result["failed"] == resumed.result["pruned"] == 0
    assert resumed.finished_before.stat().st_mtime_ns == resumed.written_before
    database = resumed.folder / "checkpoints/sweeps/tiny/study.db"
    # Two processes that see one waiting trial make another one, which fails.
    assert set(states(database)) == {"COMPLETE", "FAIL"}
    assert states(database).count("COMPLETE") == 6, "four trials and two repetitions"
    numbers = [trial["trial"] for trial in resumed.result["trials"]]
    assert len(numbers) == 4
    assert 1 not in numbers, "the killed trial was run again under another number"
    assert not (resumed.folder / "checkpoints/sweeps/tiny/trial-001").exists()


def test_the_sweeps_folder_holds_table_settings_and_pictures(resumed: Resumed) -> None:
    folder = resumed.folder / "checkpoints/sweeps/tiny"
    with (folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["state"] for row in rows} == {"finished"}
    best = max(rows, key=lambda row: float(row["val_f1_macro"]))
    assert int(best["trial"]) == resumed.result["best"]["trial"]
    config = yaml.safe_load((folder / "best.yml").read_text())
    assert config["optimizer"]["learning_rate"] == float(best["optimizer.learning_rate"])
    for name in ("history", "importance", "parallel"):
        with Image.open(folder / f"{name}.png") as picture:
            assert picture.width > 600
    assert set(resumed.result["files"]) == {
        f"checkpoints/sweeps/tiny/{name}"
        for name in ("trials.csv", "best.yml", "history.png", "importance.png", "parallel.png")
    }


def test_the_best_settings_train_to_the_same_score(resumed: Resumed) -> None:
    config = load_config(ESDConfig, resumed.folder / "checkpoints/sweeps/tiny/best.yml")
    trained = fit(config, checkpoints_dir=resumed.folder / "checkpoints", name="again")
    assert trained.best_metrics["val_f1_macro"] == pytest.approx(resumed.result["best"]["value"], abs=1e-4)


def test_the_best_trial_is_repeated_with_other_seeds(resumed: Resumed) -> None:
    repeats = resumed.result["repeats"]
    assert repeats["trial"] == resumed.result["best"]["trial"]
    assert len(repeats["values"]) == 2
    assert repeats["mean"] == pytest.approx(sum(repeats["values"]) / 2)
    assert repeats["standard_deviation"] == pytest.approx(
        abs(repeats["values"][0] - repeats["values"][1]) / 2**0.5
    )
    seeds = set()
    for run in repeats["runs"]:
        config = yaml.safe_load((resumed.folder / repeats["folder"] / run["run"] / "config.yml").read_text())
        seeds.add(config["trainer"]["seed"])
    assert seeds == {1, 2}


def test_a_finished_sweep_does_nothing_but_print(resumed: Resumed) -> None:
    written = (resumed.folder / "checkpoints/sweeps/tiny/history.png").stat().st_mtime_ns
    code, terminal = run_in_terminal(resumed.folder, "sweep", "tiny.yml")
    shown = " ".join(" ".join(terminal.screen()).split())
    assert code == 0, shown
    assert_fits(terminal)
    assert "4 finished, 0 pruned, 0 failed" in shown
    assert "Next: esdseg train --config checkpoints/sweeps/tiny/best.yml" in shown
    assert "4 of 4 trials are done" in "\n".join(terminal.lines())
    assert "Trial " not in "\n".join(terminal.lines())
    assert (resumed.folder / "checkpoints/sweeps/tiny/history.png").stat().st_mtime_ns == written


def test_a_changed_file_is_refused_with_the_change(resumed: Resumed) -> None:
    text = (resumed.folder / "tiny.yml").read_text().replace("max: 0.03", "max: 0.3")
    (resumed.folder / "changed.yml").write_text(text)
    done = run_here(resumed.folder, "sweep", "changed.yml", "--name", "tiny")
    assert done.returncode == 2
    assert "parameters.optimizer.learning_rate was 0.001 to 0.03" in done.stderr
    assert "another --name" in done.stderr


def test_trials_start_from_a_run_that_is_named(processed_dir: Path, tmp_path: Path) -> None:
    first = write_sweep(tmp_path, {"learning_rate": {"values": [0.01]}}, run_cap=1)
    options = ("--processed-dir", processed_dir, "--json")
    assert run_here(tmp_path, "sweep", first, "--name", "first", *options).returncode == 0
    (run,) = (tmp_path / "checkpoints/sweeps/first").glob("*/best.ckpt")
    run.parent.rename(tmp_path / "checkpoints/begun")
    named = {"model.weights": "begun"}
    second = write_sweep(tmp_path, {"learning_rate": {"values": [0.01]}}, named, run_cap=1)

    measured = run_here(tmp_path, "sweep", second, "--name", "second", "--dry-run", *options)
    done = run_here(tmp_path, "sweep", second, "--name", "second", "--repeat-best", 1, *options)

    assert (measured.returncode, done.returncode) == (0, 0), done.stderr
    assert json.loads(measured.stdout)["step_seconds"].keys() == {"segmentation_cnn"}
    assert json.loads(done.stdout)["finished"] == 1
    assert len(json.loads(done.stdout)["repeats"]["values"]) == 1


def test_a_dry_run_counts_trainings_and_writes_nothing(processed_dir: Path, tmp_path: Path) -> None:
    parameters = {
        "model": {"values": ["cell_logistic", "segmentation_cnn"]},
        "max_epochs": {"values": [100, 300]},
        "model.C": {"values": [0.1, 1.0]},
        "num_workers": {"values": [0, 1]},
    }
    write_sweep(tmp_path, parameters, {"raw_dir": "data/raw"})
    dry = ("sweep", "tiny.yml", "--dry-run", "--json", "--processed-dir", processed_dir)
    done = run_here(tmp_path, *dry)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert (content["points"], content["trainings"], content["trials"]) == (16, 4, 4)
    first, second, *measured = done.stderr.splitlines()
    assert first == "tiny.yml: left out, since they mean nothing to a sweep: raw_dir."
    assert second == "Counting trainings, and training a few steps of each model to see how long they take."
    assert {line.partition(" (")[0] for line in measured} == {
        "measure: loading PyTorch", "measure: cell_logistic", "measure: segmentation_cnn",
    }  # fmt: skip
    assert content["parameters"]["model.C"] == "one of 0.1, 1.0"
    fitted, step = (content["step_seconds"][name] for name in ("cell_logistic", "segmentation_cnn"))
    steps = 4  # 32 subtiles in batches of 8.
    # Half as much again for validation; the model without epochs takes its one fit.
    networks = step * steps * 1.5 * (100 + 300)
    assert content["seconds"] == pytest.approx(networks + 2 * fitted)
    assert content["seconds"] == pytest.approx(4 * content["trial_seconds"])
    assert not (tmp_path / "checkpoints").exists()


def test_a_sweep_without_a_finished_trial_ends_with_exit_code_1(processed_dir: Path, tmp_path: Path) -> None:
    bands = {"value": {"landsat8": ["B4"]}}
    write_sweep(tmp_path, {"learning_rate": {"values": [0.01]}, "selected_bands": bands}, run_cap=2)
    done = run_esdseg(tmp_path, "sweep", "tiny.yml", "--processed-dir", processed_dir)
    assert done.returncode == 1, done.stderr
    assert "no trial finished (0 finished, 0 pruned, 1 failed)" in done.stdout
    assert "landsat8" in done.stdout
    assert "Traceback" not in done.stderr


def test_what_only_the_user_can_supply_ends_the_sweep_and_its_trial_is_kept(
    preloaded: Preloaded, processed_dir: Path, tmp_path: Path
) -> None:
    write_sweep(tmp_path, {"learning_rate": {"values": [0.01]}}, {"tracking.wandb": "online"}, run_cap=2)
    home = {"HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc")}
    sweep = ("sweep", "tiny.yml", "--processed-dir", processed_dir)
    ended = preloaded.start(tmp_path, *sweep, environment=home).wait()
    assert ended.code == 4, ended.log
    assert "wandb login" in ended.log
    assert states(tmp_path / "checkpoints/sweeps/tiny/study.db") == ["FAIL", "WAITING"]


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("none.yml",), 2, "none.yml: there is no such file"),
        (("bad.yml",), 2, "bad.yml:3:3: unknown parameter 'layers'"),
        (("endless.yml",), 2, "run_cap in the file or --count N"),
        (("finite.yml", "--processed-dir", "nowhere"), 3, "esdseg preprocess"),
        (("good.yml", "--processed-dir", "nowhere"), 3, "esdseg preprocess"),
        (("good.yml", "--name", "a/b"), 2, "--name"),
        (("good.yml", "--set", "model.weights=none-such", *STORE), 3, "There is no checkpoint 'none-such'"),
        (("good.yml", "--set", "data.pseudo_labels=none-such", *STORE), 3, "no checkpoint 'none-such'"),
        (("good.yml", "--storage", "nonsense", *STORE), 2, "is no database URL"),
        (("good.yml", "--storage", "postgresql://u@127.0.0.1:1/x", *STORE), 4, "refused"),
        (("good.yml", "--set", "data.batch_size=3"), 2, "the sweep searches data.batch_size"),
        (("good.yml", "--backend", "wandb"), 4, "wandb login"),
        (("good.yml", "--backend", "wandb", "--repeat-best", 2), 2, "--repeat-best"),
        (("good.yml", "--backend", "optuna"), 2, "--backend"),
    ],
)
def test_mistakes_end_with_their_code_and_the_fix(
    processed_dir: Path, tmp_path: Path, arguments: tuple[object, ...], code: int, expected: str
) -> None:
    arguments = tuple(processed_dir if one == "STORE" else one for one in arguments)
    (tmp_path / "bad.yml").write_text("method: random\nparameters:\n  layers: {values: [3]}\n")
    (tmp_path / "endless.yml").write_text("method: random\nparameters:\n  lr: {min: 0.01, max: 0.1}\n")
    (tmp_path / "finite.yml").write_text("method: random\nparameters:\n  batch_size: {values: [4, 8]}\n")
    (tmp_path / "good.yml").write_text("method: grid\nparameters:\n  batch_size: {values: [4, 8]}\n")
    done = run_here(tmp_path, "sweep", *arguments)
    assert done.returncode == code, done.stderr
    assert expected in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "checkpoints").exists()
