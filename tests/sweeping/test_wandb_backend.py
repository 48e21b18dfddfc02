"""Sweeps at Weights & Biases, by its real client and agents, against a stand-in server on loopback."""

import csv
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import wandb
import yaml

from esdseg.config.loading import load_config
from esdseg.config.training import ESDConfig
from esdseg.errors import MissingResourceError, UsageError
from esdseg.models.runs import find_sweep
from esdseg.sweeping.sweep_file import WANDB_COMMAND, read_sweep
from esdseg.sweeping.wandb_agents import train_with_agents
from esdseg.sweeping.wandb_backend import Place, open_sweep, run_wandb_sweep, sent_content
from esdseg.sweeping.wandb_run import train_chosen
from tests.cli.conftest import run_here
from tests.conftest import WANDB_KEY
from tests.sweeping.conftest import write_sweep
from tests.wandb_server.listener import serving
from tests.wandb_server.server import Run, Server

RATE = {"distribution": "log_uniform_values", "min": 1e-3, "max": 3e-2}
ENDLESS = 5000
"""Epochs of a run that the server stops."""


@dataclass
class Steered:
    """A sweep of two runs that two agents have trained, one of which the server stopped."""

    server: Server
    folder: Path
    done: subprocess.CompletedProcess[str]

    @property
    def address(self) -> str:
        (identity,) = self.server.sweeps
        return f"loop/mine/{identity}"

    def runs(self, state: str) -> list[Run]:
        return [run for run in self.server.runs.values() if run.state == state]

    def command(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        login = {"WANDB_BASE_URL": self.server.url, "WANDB_API_KEY": WANDB_KEY}
        wandb.teardown()
        done = run_here(self.folder, "sweep", *arguments, login=login)
        wandb.teardown()
        return done


@pytest.fixture(scope="module")
def steered(processed_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steered]:
    folder = tmp_path_factory.mktemp("steered")
    epochs, decay = {"values": [2, ENDLESS]}, {"min": 0, "max": 0.5}
    parameters = {"learning_rate": RATE, "max_epochs": epochs, "weight_decay": decay}
    write_sweep(folder, parameters, {"data.processed_dir": "elsewhere"}, run_cap=2, project="mine")
    with serving(WANDB_KEY) as server:
        good, endless = {"trainer.max_epochs": 2}, {"trainer.max_epochs": ENDLESS}
        server.forced += [endless, good]
        stopping = threading.Thread(target=stop_endless, args=(server, folder / "checkpoints"), daemon=True)
        stopping.start()
        result = Steered(server, folder, subprocess.CompletedProcess([], -1))
        result.done = result.command(
            *("tiny.yml", "--backend", "wandb", "--workers", 2, "--processed-dir", processed_dir, "--json")
        )
        yield result
        assert server.problems == []


def stop_endless(server: Server, checkpoints_dir: Path) -> None:
    """Stop the endless run as hyperband does, once it has a finished epoch and the other run is done."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for run in list(server.runs.values()):
            has_begun = any(checkpoints_dir.glob(f"sweeps/tiny/run-{run.id}/metrics.csv"))
            is_other_done = any(other.state == "finished" for other in list(server.runs.values()))
            if run.point.get(("trainer", "max_epochs")) == ENDLESS and has_begun and is_other_done:
                server.sweeps[str(run.sweep)].stopping.add(run.id)
                return
        time.sleep(0.2)


def test_the_result_is_as_that_of_a_local_sweep(steered: Steered) -> None:
    assert steered.done.returncode == 0, steered.done.stderr
    result = json.loads(steered.done.stdout)
    assert (result["backend"], result["wandb_sweep"]) == ("wandb", steered.address)
    assert [result[state] for state in ("finished", "pruned", "failed")] == [1, 1, 0]
    assert f"Sweep at Weights & Biases: {steered.address}" in steered.done.stderr
    folder = steered.folder / "checkpoints/sweeps/tiny"
    with (folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["state"] for row in rows) == ["finished", "pruned"]
    finished = [row for row in rows if row["state"] == "finished"]
    best = max(finished, key=lambda row: float(row["val_f1_macro"]))
    rate = load_config(ESDConfig, folder / "best.yml").optimizer.learning_rate
    assert rate == float(best["optimizer.learning_rate"])
    assert {path.name for path in folder.glob("*.png")} == {"history.png", "importance.png", "parallel.png"}
    trials = find_sweep("sweeps/tiny", steered.folder / "checkpoints")
    assert trials is not None
    assert trials.best(1)[0].parent.name == best["run"], "an ensemble takes the best ones"
    (sweep,) = steered.server.sweeps.values()
    assert sweep.state == "FINISHED"


def test_a_run_of_a_sweep_is_recorded_as_any_run_and_its_settings_once(steered: Steered) -> None:
    for run in steered.runs("finished"):
        settings = {name: entry["value"] for name, entry in run.config.items() if name != "_wandb"}
        assert settings.keys() == {
            *("data", "folds", "model", "optimizer", "loss", "augmentation", "trainer", "tracking"),
            "manifest_hash",
        }
        assert settings["optimizer"]["learning_rate"] == run.point[("optimizer", "learning_rate")]
        assert "n_encoders" not in settings["model"]
        assert (run.group, run.display_name, run.project) == ("tiny", f"run-{run.id}", "mine")
        assert [row["epoch"] for row in run.rows()] == [1, 2]
        assert run.summary["val_f1_macro"] == max(row["val_f1_macro"] for row in run.rows())
        assert any("truth and prediction" in name for name in run.files)
        folder = steered.folder / "checkpoints/sweeps/tiny" / f"run-{run.id}"
        assert list(folder.glob(f"wandb/run-*-{run.id}"))
    assert not (steered.folder / "wandb").exists()


def test_a_stopped_run_leaves_its_history_alone_and_no_traceback(steered: Steered) -> None:
    (run,) = steered.runs("killed")
    assert run.summary["reason"].endswith(f"of {ENDLESS} epochs")
    folder = steered.folder / "checkpoints/sweeps/tiny"
    assert (folder / f"run-{run.id}" / "metrics.csv").is_file()
    assert not list((folder / f"run-{run.id}").glob("*.ckpt"))
    logs = [path.read_text() for path in sorted(folder.glob("worker-*.log"))]
    assert len(logs) == 2
    assert all("Epoch" in log for log in logs), "both agents have trained"
    (stopped,) = (log for log in logs if "Agent received command: stop" in log)
    end = stopped.partition("Agent received command: stop")[2].partition("Cleaning up")[0]
    assert "Traceback" not in end
    assert "the sweep has stopped this run" in end


def test_the_sweep_is_sent_with_named_distributions_nested_names_and_a_command(steered: Steered) -> None:
    (sweep,) = steered.server.sweeps.values()
    assert sweep.config["command"] == WANDB_COMMAND
    assert sweep.config["run_cap"] == 2
    entries = {".".join(path): entry for path, entry in sweep.entries.items()}
    assert entries["optimizer.weight_decay"] == {"distribution": "uniform", "min": 0.0, "max": 0.5}
    assert entries["model.name"] == {"value": "segmentation_cnn"}
    assert "data.processed_dir" not in entries, "the store may lie elsewhere on other machines"


def test_the_same_command_goes_on_and_another_machine_joins(steered: Steered, processed_dir: Path) -> None:
    again = steered.command("tiny.yml", "--backend", "wandb", "--processed-dir", processed_dir)
    assert again.returncode == 0, again.stderr
    assert "1 finished, 1 pruned, 0 failed" in again.stdout
    assert len(steered.server.runs) == 2
    joined = steered.command(steered.address, "--name", "joined", "--processed-dir", processed_dir)
    assert joined.returncode == 0, joined.stderr
    assert "1 finished, 1 pruned, 0 failed" in joined.stdout
    with (steered.folder / "checkpoints/sweeps/joined/trials.csv").open() as file:
        assert {row["host"] for row in csv.DictReader(file)} == {"another machine"}


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (
            ("changed.yml", "--name", "tiny", "--backend", "wandb"),
            2,
            "optimizer.learning_rate was 0.001 to 0.03",
        ),
        (("ADDRESS", "--name", "joined", "--set", "optimizer.name=sgd"), 2, "decides optimizer.name"),
        (("ADDRESS", "--dry-run"), 2, "--dry-run"),
        (("ADDRESS", "--wandb", "offline"), 2, "--wandb offline"),
        (("loop/mine/nosuch12",), 4, "has no sweep loop/mine/nosuch12"),
    ],
)
def test_a_sweep_that_is_another_one_is_refused(
    steered: Steered, processed_dir: Path, arguments: tuple[str, ...], code: int, expected: str
) -> None:
    text = (steered.folder / "tiny.yml").read_text().replace("max: 0.03", "max: 0.3")
    (steered.folder / "changed.yml").write_text(text)
    arguments = tuple(steered.address if one == "ADDRESS" else one for one in arguments)
    done = steered.command(*arguments, "--processed-dir", processed_dir)
    assert done.returncode == code, done.stderr
    assert expected in done.stderr


@pytest.mark.parametrize(
    "entry",
    [
        {"values": [0.1, 0.2]},
        {"values": [0.1, 0.2], "probabilities": [0.3, 0.7]},
        {"min": 0, "max": 0.5},
        {"min": 1, "max": 3},
        {"distribution": "q_uniform", "min": 0.1, "max": 0.5, "q": 0.1},
        {"distribution": "log_uniform", "min": -5.0, "max": -2},
        {"distribution": "inv_log_uniform_values", "min": 0.001, "max": 0.1},
        {"distribution": "q_log_uniform_values", "min": 1, "max": 100, "q": 2},
        {"distribution": "normal", "mu": 1, "sigma": 0.1},
        {"distribution": "q_log_normal", "mu": 0, "sigma": 0.1, "q": 0.5},
        {"distribution": "beta", "a": 2, "b": 5},
    ],
)
def test_what_passes_here_is_accepted_there_and_comes_back_the_same(
    wandb_server: Server, tmp_path: Path, entry: dict[str, Any]
) -> None:
    rule = {"type": "hyperband", "min_iter": 1}
    write_sweep(tmp_path, {"weight_decay": entry}, run_cap=3, early_terminate=rule)
    file = read_sweep(tmp_path / "tiny.yml")
    identity = wandb.sweep(sent_content(file, Place(), 3), project="mine")
    opened = open_sweep(f"loop/mine/{identity}", Place(tmp_path / "checkpoints"))
    opened.sweep.check_unchanged(file.sweep.identity())


def agent_begins(server: Server, identity: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Run:
    """Take a run from the server and set what `wandb agent` sets for the process of a run."""
    agent = server.create_agent({"sweep": identity})["agent"]
    (command,) = json.loads(server.heartbeat({"id": agent["id"]})["commands"])
    arguments = folder / "arguments.yaml"
    arguments.write_text(yaml.safe_dump({"wandb_version": 1, **command["args"]}))
    for name, value in {
        **{"WANDB_ENTITY": "loop", "WANDB_PROJECT": "mine", "WANDB_SWEEP_ID": identity},
        **{"WANDB_RUN_ID": command["run_id"], "WANDB_SWEEP_PARAM_PATH": str(arguments)},
    }.items():
        monkeypatch.setenv(name, value)
    wandb.teardown()
    return server.runs[command["run_id"]]


def test_wandbs_own_commands_sweep_and_agent_take_a_shipped_file(
    wandb_server: Server, processed_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = yaml.safe_load((Path(__file__).parents[2] / "sweeps/smoke.yml").read_text())
    assert shipped["command"] == WANDB_COMMAND
    places = {"data.processed_dir": str(processed_dir), "trainer.accelerator": "cpu"}
    shipped["parameters"] |= {name: {"value": value} for name, value in places.items()}
    # The store of the tests has other bands than sample tiles.
    del shipped["parameters"]["data.selected_bands"], shipped["parameters"]["data.acquisitions"]
    identity = wandb.sweep(shipped, project="mine")
    run = agent_begins(wandb_server, identity, monkeypatch, tmp_path)
    result = train_chosen()
    assert result is not None
    assert result.run_dir == Path(f"checkpoints/sweeps/smoke/run-{run.id}")
    assert (run.state, run.group) == ("finished", "smoke")
    assert run.config["optimizer"]["value"]["learning_rate"] == run.point[("learning_rate",)]


def test_a_sweep_whose_runs_all_fail_ends_with_exit_code_1_and_the_reasons(
    wandb_server: Server, processed_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_sweep(tmp_path, {"learning_rate": RATE}, {"data.processed_dir": str(processed_dir)}, run_cap=1)
    wandb_server.forced.append({"optimizer.learning_rate": -1.0})
    identity = wandb.sweep(sent_content(read_sweep(tmp_path / "tiny.yml"), Place(), 1), project="mine")
    run = agent_begins(wandb_server, identity, monkeypatch, tmp_path)
    assert train_chosen() is None, "the agent goes on with the next run"
    assert (run.state, run.group) == ("failed", "tiny")
    wandb_server.sweeps[identity].state = "FINISHED"
    steered = Steered(wandb_server, tmp_path, subprocess.CompletedProcess([], -1))
    done = steered.command(f"loop/mine/{identity}")
    assert done.returncode == 1, done.stderr
    assert "no trial finished (0 finished, 0 pruned, 1 failed)" in done.stdout
    assert "learning_rate = -1.0: should be greater than 0" in done.stdout


def test_an_interruption_ends_agents_and_runs_before_it_goes_on(
    wandb_server: Server, processed_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed = {"data.processed_dir": str(processed_dir), "trainer.max_epochs": ENDLESS}
    write_sweep(tmp_path, {"learning_rate": RATE}, fixed, run_cap=2)
    identity = wandb.sweep(sent_content(read_sweep(tmp_path / "tiny.yml"), Place(), 2), project="mine")
    place = Place(tmp_path / "checkpoints")
    opened = open_sweep(f"loop/mine/{identity}", place)

    def interrupt() -> None:
        if list(opened.folder.rglob("last.ckpt")):
            raise KeyboardInterrupt

    monkeypatch.setattr("esdseg.sweeping.wandb_agents.POLL_SECONDS", 0.2)
    with pytest.raises(KeyboardInterrupt):
        train_with_agents(opened.address, opened.folder, place.to_text(), 1, None, interrupt)
    (run,) = wandb_server.runs.values()
    assert run.state == "failed"
    assert run.summary["reason"].startswith("stopped after")
    assert not list(opened.folder.rglob("*.ckpt"))


def test_a_sweep_at_wandb_is_refused_where_wandb_is_switched_off(
    wandb_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "dryrun")
    wandb.teardown()
    with pytest.raises(UsageError, match=r"'dryrun' here.*--backend local"):
        run_wandb_sweep(
            "loop/mine/abcdef12", Place(tmp_path), workers=1, count=None, on_trials=None, on_note=print
        )


def test_a_wandb_run_without_an_agent_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)
    with pytest.raises(UsageError, match="wandb agent ENTITY/PROJECT/ID"):
        train_chosen()


def test_a_sweep_without_network_is_refused_with_the_cause(
    wandb_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb_server.is_away = True
    monkeypatch.setattr("esdseg.sweeping.wandb_backend.START_SECONDS", 1)
    with pytest.raises(MissingResourceError, match=r"gives no answer.*--backend local"):
        open_sweep("loop/mine/abcdef12", Place(tmp_path))
