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
from esdseg.training.callbacks import EpochReport
from esdseg.training.fit import fit
from esdseg.training.tracking import choose_mode
from tests.datasets.make_store import stitch_subtiles
from tests.training.conftest import tiny_config
from tests.training.read_wandb import history_of, read_records, run_of

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
    assert all(folder.name.endswith(identity) for folder in folders)
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


KEY = {"WANDB_API_KEY": "0" * 40, "NETRC": "/nowhere"}
NO_LOGIN = {"NETRC": "/nowhere"}


@pytest.mark.parametrize(
    ("wish", "environment", "expected"),
    [
        ("auto", KEY, "online"),
        ("auto", NO_LOGIN, "offline"),
        ("auto", {**KEY, "WANDB_MODE": "offline"}, "offline"),
        ("auto", {**KEY, "WANDB_MODE": "disabled"}, None),
        ("online", {**KEY, "WANDB_MODE": "offline"}, "online"),
        ("offline", KEY, "offline"),
        ("disabled", KEY, None),
    ],
)
def test_the_mode_follows_from_wish_and_login(
    wish: str, environment: dict[str, str], expected: str | None
) -> None:
    assert choose_mode(TrackingConfig.model_validate({"wandb": wish}), environment) == expected


def test_a_netrc_entry_is_a_login_for_its_host_alone(tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine api.wandb.ai\n  login user\n  password none\n")
    (tmp_path / "netrc").chmod(0o600)
    environment = {"NETRC": str(tmp_path / "netrc")}
    assert choose_mode(TrackingConfig(), environment) == "online"
    assert choose_mode(TrackingConfig(), {**environment, "WANDB_BASE_URL": "https://other.org"}) == "offline"


def test_online_without_a_login_is_refused_with_the_fix() -> None:
    with pytest.raises(MissingResourceError, match=r"wandb login.*--wandb offline"):
        choose_mode(TrackingConfig(wandb="online"), NO_LOGIN)
