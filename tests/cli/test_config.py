"""``config show`` and ``config validate`` through the command line."""

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import run_here, succeed


def shown(folder: Path, *arguments: str) -> dict[str, dict[str, object]]:
    text = run_here(folder, "config", "show", *arguments).stdout
    as_json = json.loads(run_here(folder, "config", "show", *arguments, "--json").stdout)
    assert yaml.safe_load(text) == as_json
    assert isinstance(as_json, dict)
    return as_json


def test_config_show_prints_what_the_model_decides(tmp_path: Path) -> None:
    content = shown(tmp_path)
    data, optimizer = content["data"], content["optimizer"]
    assert (data["batch_size"], data["window_size"], data["window_positions"]) == (2, 8, "random")
    assert (optimizer["learning_rate"], optimizer["weight_decay"]) == (3e-3, 0.01)
    sgd = shown(tmp_path, "--set", "model=unet", "--set", "optimizer.name=sgd", "--set", "data.batch_size=3")
    assert (sgd["data"]["batch_size"], sgd["data"]["window_positions"]) == (3, "grid")
    assert (sgd["optimizer"]["learning_rate"], sgd["optimizer"]["weight_decay"]) == (1e-3, 0.0)


def test_config_show_leaves_out_what_the_model_does_not_use(tmp_path: Path) -> None:
    content = shown(tmp_path, "--set", "model=cell_logistic")
    assert not content.keys() & {"optimizer", "augmentation"}
    assert set(content["trainer"]) == {"seed", "monitor", "calibrate", "accelerator"}
    assert set(content["loss"]) == {"class_weights"}


def test_config_show_takes_the_size_of_the_store(workspace: Path) -> None:
    content = shown(workspace, "--set", "model=unet")
    assert (content["data"]["subtile_size"], content["data"]["window_size"]) == (4, 4)


@pytest.mark.parametrize(
    ("command", "own", "others"),
    [
        ("evaluate", "split", "tiles"),
        ("restitch", "tiles", "split"),
        ("ablate", "by", "simple_baselines"),
        ("preprocess", "val_fraction", "split"),
        ("cut", "resampling", "split"),
    ],
)
def test_each_command_has_a_tree_of_its_own(tmp_path: Path, command: str, own: str, others: str) -> None:
    content = shown(tmp_path, "--for", command)
    assert own in content
    assert others not in content


def test_a_file_for_cut_needs_none_of_its_arguments(tmp_path: Path) -> None:
    (tmp_path / "cut.yml").write_text("overlap: 2\n")
    done = run_here(tmp_path, "config", "validate", "cut.yml", "--for", "cut")
    assert (done.returncode, done.stderr) == (0, "")
    content: dict[str, object] = dict(shown(tmp_path, "--for", "cut", "--config", "cut.yml"))
    assert (content["scenes"], content["output"], content["overlap"]) == ("SCENES", "OUT", 2)


def test_config_validate_says_that_a_file_is_right(tmp_path: Path) -> None:
    (tmp_path / "run.yml").write_text("model: unet\n")
    done = succeed(tmp_path, "config", "validate", "run.yml", "--json")
    assert json.loads(done.stdout) == {"file": "run.yml", "command": "train", "valid": True}
