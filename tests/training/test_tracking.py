import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
import wandb
from PIL import Image

from esdseg.config.training import LOGGED_METRICS, ESDConfig, TrackingConfig
from esdseg.datasets.dataset import SubtileDataset
from esdseg.errors import MissingResourceError
from esdseg.models.checkpoint import load_checkpoint
from esdseg.report.training_curves import CELL_SIDE_PX, GAP_PX
from esdseg.sensors.classes import CLASS_NAMES, CLASSES
from esdseg.store.store import Store
from esdseg.training import wandb_connection
from esdseg.training.callbacks import EpochListener, EpochReport
from esdseg.training.fit import fit
from esdseg.training.wandb_connection import choose_mode
from tests.datasets.make_store import stitch_subtiles
from tests.training.conftest import tiny_config
from tests.training.read_wandb import history_of, read_records, run_of
from tests.wandb_server.server import Run, Server

PLANTED_KEY = "0123456789abcdef" * 2 + "deadbeef"


class StopError(Exception):
    """Stands for whatever kills a run."""


def holds(path: Path, secret: str) -> bool:
    return secret.encode() in path.read_bytes()


def test_a_run_and_its_resumption_are_one_run_offline(
    processed_dir: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_API_KEY", PLANTED_KEY)
    config = tiny_config(
        processed_dir, trainer={"max_epochs": 3}, tracking={"wandb": "offline", "image_every_epochs": 2}
    )

    def kill_after_two(report: EpochReport) -> None:
        if report.epoch == 2:
            raise StopError

    with pytest.raises(StopError):
        fit(config, checkpoints_dir=tmp_path, name="mine", on_epoch=kill_after_two)
    result = fit(ESDConfig(), checkpoints_dir=tmp_path, name="mine", resume=True)

    # As at the program's end: only then is all of the file written.
    wandb.teardown()
    folders = sorted(
        (tmp_path / "mine" / "wandb").glob("offline-run-*"), key=lambda path: path.stat().st_mtime
    )
    assert len(folders) == 2
    first, second = (read_records(next(folder.glob("*.wandb"))) for folder in folders)
    identity, name, logged_config = run_of(first)
    assert (identity, name) == (run_of(second)[0], "mine")
    assert result.sync_command == f"wandb sync {tmp_path}/mine/wandb/offline-run-*-{identity}"
    # W&B appends a number where both began in one second.
    assert all(identity in folder.name for folder in folders)
    assert logged_config["manifest_hash"] == store.manifest_hash
    assert logged_config["data"]["subtile_size"] == 4
    assert logged_config["optimizer"]["learning_rate"] == 0.01

    rows = [row for row in history_of(first) + history_of(second) if "epoch" in row]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    holding = [path for path in tmp_path.rglob("*") if path.is_file() and holds(path, PLANTED_KEY)]
    assert holding == [], "no file of a run holds the key of the login"
    for row in rows:
        assert row.keys() >= {"learning_rate", *LOGGED_METRICS}
        assert row.keys() >= {
            f"val_{score}_{name}"
            for score in ("precision", "recall", "jaccard", "f1")
            for name in CLASS_NAMES
        }
    pictures = [
        key.removesuffix("/_type")
        for row in history_of(first) + history_of(second)
        for key, value in row.items()
        if value == "image-file"
    ]
    # Epoch 2 is due and epoch 3 is the last.
    assert sorted(pictures) == ["confusion matrix"] * 2 + ["truth and prediction/Tile10"] * 2
    shown = next((folders[1] / "files" / "media" / "images").rglob("Tile10*.png"))
    cells = np.asarray(Image.open(shown).convert("RGB"))[CELL_SIDE_PX // 2 :: CELL_SIDE_PX]
    colors = np.array([label_class.rgb for label_class in CLASSES])
    truth = cells[:, CELL_SIDE_PX // 2 : 16 * CELL_SIDE_PX : CELL_SIDE_PX]
    np.testing.assert_array_equal(truth, colors[store.labels("Tile10")])
    prediction = cells[:, GAP_PX + 16 * CELL_SIDE_PX + CELL_SIDE_PX // 2 :: CELL_SIDE_PX]
    np.testing.assert_array_equal(prediction, colors[restitched(result.last_checkpoint, store, "Tile10")])


def restitched(checkpoint: Path, store: Store, tile: str) -> npt.NDArray[np.int64]:
    """The classes (16, 16) that a checkpoint predicts, one subtile at a time."""
    loaded = load_checkpoint(checkpoint)
    dataset = SubtileDataset(store, [tile], loaded.channels)
    with torch.inference_mode():
        images = [dataset[index]["pixels"][0] for index in range(len(dataset))]
        classes = [loaded.model(image[None])[0].argmax(0) for image in images]
    return stitch_subtiles(torch.stack(classes).view(4, 4, 4, 4)).numpy()


def test_a_run_online_is_recorded_with_what_acted_and_its_best_epoch(
    wandb_server: Server, processed_dir: Path, tmp_path: Path
) -> None:
    config = tiny_config(processed_dir, tracking={"wandb": "online", "group": "mine"})
    notes: list[str] = []
    result = fit(config, checkpoints_dir=tmp_path, name="here", on_note=notes.append)
    (run,) = wandb_server.runs.values()
    assert [row["epoch"] for row in run.rows()] == [1, 2]
    assert (run.state, run.group, run.display_name) == ("finished", "mine", "here")
    assert result.wandb_url == f"{wandb_server.url}/loop/esdseg/runs/{run.id}"
    assert notes == [f"Weights & Biases: {result.wandb_url}"]
    assert result.sync_command is None
    assert run.summary["best_epoch"] == result.best_epoch
    assert run.summary["val_f1_macro"] == pytest.approx(result.best_metrics["val_f1_macro"])
    settings = {name: entry["value"] for name, entry in run.config.items()}
    assert settings["optimizer"]["learning_rate"] == 0.01
    assert settings["data"]["batch_size"] == 8
    assert sum("truth and prediction" in name for name in run.files) == 1, "the last epoch's"


def test_early_stopping_ends_with_pictures(processed_dir: Path, tmp_path: Path) -> None:
    trainer = {"max_epochs": 9, "patience": 1, "monitor": "val_loss"}
    config = tiny_config(
        processed_dir,
        trainer=trainer,
        optimizer={"learning_rate": 10.0},
        tracking={"wandb": "offline", "image_every_epochs": 9},
    )
    result = fit(config, checkpoints_dir=tmp_path, name="short")
    wandb.teardown()
    assert result.epochs < 9
    (folder,) = (tmp_path / "short/wandb").glob("offline-run-*")
    assert list((folder / "files/media/images").rglob("Tile10*.png"))


def test_each_epoch_is_sent_and_nothing_waits_for_a_server_that_is_gone_for_good(
    wandb_server: Server, processed_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_connection, "FINISH_SECONDS", 1)

    def leave(report: EpochReport) -> None:
        # wandb sends four times a minute.
        wait_until(lambda: bool(run_here().rows()))
        wandb_server.is_away = True

    def run_here() -> Run:
        (run,) = wandb_server.runs.values()
        return run

    config = tiny_config(
        processed_dir, trainer={"max_epochs": 3, "calibrate": True}, tracking={"wandb": "online"}
    )
    result = fit(config, checkpoints_dir=tmp_path, name="gone", on_epoch=leave)
    assert result.epochs == 3
    assert load_checkpoint(result.best_checkpoint).metadata.is_calibrated
    run = run_here()
    assert [row["epoch"] for row in run.rows()] == [1], "an epoch is sent when it ends"
    folder = tmp_path / "gone" / "wandb"
    assert result.sync_command == f"wandb sync --include-online {folder}/run-*-{run.id}"

    wandb_server.is_away = False
    command = result.sync_command.replace("wandb sync", f"{sys.executable} -m wandb sync")
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    # The server drops what it has: wandb sends a run that it synchronises from its beginning.
    assert [row["epoch"] for row in run.rows()][-3:] == [1, 2, 3]
    assert run.state == "finished"


def test_a_resumption_sends_the_epochs_that_never_arrived_and_none_twice(
    wandb_server: Server, processed_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_connection, "FINISH_SECONDS", 1)
    config = tiny_config(processed_dir, trainer={"max_epochs": 1}, tracking={"wandb": "online"})
    fit(config, checkpoints_dir=tmp_path, name="again")

    def leave(report: EpochReport) -> None:
        wandb_server.is_away = True

    def go_on(epochs: int, on_epoch: EpochListener | None = None) -> None:
        more = ESDConfig.model_validate({"trainer": {"max_epochs": epochs}})
        fit(more, checkpoints_dir=tmp_path, name="again", resume=True, on_epoch=on_epoch)

    go_on(2, leave)
    # What could not be sent is lost with the process.
    wandb.teardown()
    wandb_server.is_away = False
    (run,) = wandb_server.runs.values()
    assert [row["epoch"] for row in run.rows()] == [1]
    go_on(3)
    assert [row["epoch"] for row in run.rows()] == [1, 2, 3]
    assert run.rows()[1].keys() >= set(LOGGED_METRICS)
    assert (run.state, len(wandb_server.runs)) == ("finished", 1)


def test_a_run_that_began_online_goes_on_offline_as_the_refusal_says(
    wandb_server: Server, processed_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(processed_dir, trainer={"max_epochs": 1}, tracking={"wandb": "online"})
    fit(config, checkpoints_dir=tmp_path, name="mine")
    monkeypatch.setattr(wandb_connection, "has_login", lambda: False)
    more: dict[str, dict[str, object]] = {"trainer": {"max_epochs": 2}}
    with pytest.raises(MissingResourceError, match="or use --wandb offline or --wandb disabled"):
        fit(ESDConfig.model_validate(more), checkpoints_dir=tmp_path, name="mine", resume=True)

    more["tracking"] = {"wandb": "offline"}
    result = fit(ESDConfig.model_validate(more), checkpoints_dir=tmp_path, name="mine", resume=True)

    assert result.epochs == 2
    (run,) = wandb_server.runs.values()
    assert [row["epoch"] for row in run.rows()] == [1]
    assert result.sync_command == f"wandb sync {tmp_path}/mine/wandb/offline-run-*-{run.id}"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("key", "refuses the login.*`wandb login --relogin`"),
        ("entity", "refuses tracking.entity=strangers.*--set tracking.entity=NAME"),
        ("network", "gives no answer within 1 s.*network"),
    ],
)
def test_who_cannot_log_online_learns_the_cause_and_auto_goes_on_offline(
    wandb_server: Server,
    processed_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    expected: str,
) -> None:
    monkeypatch.setattr(wandb_connection, "START_SECONDS", 1)
    entity = None
    if fault == "key":
        monkeypatch.setenv("WANDB_API_KEY", PLANTED_KEY)
    elif fault == "entity":
        entity = "strangers"
    else:
        wandb_server.is_away = True
    online, auto = (
        tiny_config(processed_dir, trainer={"max_epochs": 1}, tracking={"wandb": wish, "entity": entity})
        for wish in ("online", "auto")
    )
    with pytest.raises(MissingResourceError, match=expected):
        fit(online, checkpoints_dir=tmp_path, name="run")
    notes: list[str] = []
    result = fit(auto, checkpoints_dir=tmp_path, name="run", on_note=notes.append)
    (note,) = notes
    assert re.search(expected, note)
    assert note.endswith("logged offline.")
    assert result.sync_command is not None
    assert "offline-run" in result.sync_command
    assert [path.name.startswith("offline-run") for path in (tmp_path / "run/wandb").glob("*run-*-*")] == [
        True
    ]


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder where nothing of this machine's own settings of wandb is seen."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.chdir(tmp_path)
    wandb.teardown()
    yield tmp_path
    wandb.teardown()


@pytest.mark.parametrize(
    ("wish", "mode", "expected"),
    [
        ("auto", None, "online"),
        ("auto", "online", "online"),
        ("auto", "run", "online"),
        ("auto", "offline", "offline"),
        ("auto", "dryrun", "offline"),
        ("auto", "disabled", None),
        ("online", "offline", "online"),
        ("offline", "online", "offline"),
        ("disabled", "online", None),
    ],
)
def test_the_mode_follows_from_the_wish_and_wandbs_variable(
    outside: Path, monkeypatch: pytest.MonkeyPatch, wish: str, mode: str | None, expected: str | None
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", PLANTED_KEY)
    if mode is not None:
        monkeypatch.setenv("WANDB_MODE", mode)
    assert choose_mode(TrackingConfig.model_validate({"wandb": wish})) == expected


@pytest.mark.parametrize(
    ("command", "expected"), [("offline", "offline"), ("disabled", None), ("online", "online")]
)
def test_wandbs_own_switch_in_a_folder_or_for_the_user_decides(
    outside: Path, monkeypatch: pytest.MonkeyPatch, command: str, expected: str | None
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", PLANTED_KEY)
    for settings in (outside / "wandb/settings", outside / "config/settings"):
        settings.parent.mkdir(exist_ok=True)
        # As `wandb offline` and `wandb disabled` write it.
        settings.write_text(f"[default]\nmode = {command}\n")
        assert choose_mode(TrackingConfig()) == expected
        settings.unlink()
        wandb.teardown()
    assert choose_mode(TrackingConfig()) == "online"


def test_without_a_login_a_run_is_offline_and_online_is_refused_with_the_fix(outside: Path) -> None:
    assert choose_mode(TrackingConfig()) == "offline"
    with pytest.raises(MissingResourceError, match=r"wandb login.*--wandb offline"):
        choose_mode(TrackingConfig(wandb="online"))


def test_a_login_is_one_for_its_server_alone(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (outside / "netrc").write_text("machine api.wandb.ai\n  login user\n  password none\n")
    (outside / "netrc").chmod(0o600)
    assert choose_mode(TrackingConfig()) == "online"
    monkeypatch.setenv("WANDB_BASE_URL", "https://other.org")
    wandb.teardown()
    assert choose_mode(TrackingConfig()) == "offline"
    (outside / "config").mkdir()
    (outside / "config/settings").write_text(f"[default]\napi_key = {PLANTED_KEY}\n")
    wandb.teardown()
    assert choose_mode(TrackingConfig()) == "online"


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
