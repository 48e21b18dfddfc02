import os
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from esdseg.config.models import UNetConfig
from esdseg.config.preprocessing import COURSE_RECIPE
from esdseg.config.training import ESDConfig
from esdseg.datasets.pixel_grid import native_grids
from esdseg.errors import InputDataError
from esdseg.models.checkpoint import SegmentationModel, load_checkpoint
from esdseg.models.registry import build_network
from esdseg.sensors.classes import CLASS_NAMES
from tests.models.helpers import checkpoint_content, normalization_for, random_image, some_channels

CHANNELS = some_channels(3)
CONFIG = ESDConfig(model=UNetConfig(n_encoders=2, embedding_size=2))


def _model() -> SegmentationModel:
    torch.manual_seed(0)
    values = np.random.default_rng(0).normal(5, 2, (3, 1000)).astype(np.float16)
    normalization = normalization_for(values, CHANNELS, COURSE_RECIPE)
    return SegmentationModel(normalization, build_network(CONFIG.model, CHANNELS, 2), native_grids(CHANNELS))


def _content(model: SegmentationModel) -> dict[str, Any]:
    return checkpoint_content(model, CONFIG, CHANNELS, subtile_size=2)


def test_a_loaded_checkpoint_predicts_as_the_saved_model(tmp_path: Path) -> None:
    model = _model()
    torch.save(_content(model), tmp_path / "best.ckpt")
    loaded = load_checkpoint(tmp_path / "best.ckpt")
    image = (random_image(2, 3, 2) * 3 + 5).half()
    image[:, 0, :7] = torch.nan
    with torch.no_grad():
        assert torch.equal(loaded.model(image), model.eval()(image))
    assert not loaded.model.training
    assert loaded.channels == CHANNELS
    assert loaded.config == CONFIG
    assert loaded.subtile_size == 2
    assert loaded.class_names == CLASS_NAMES
    assert loaded.run_name == "unet-test"
    assert loaded.metadata.recipe == COURSE_RECIPE
    assert loaded.metadata.train_tiles == ("Tile1", "Tile2")


def _edit(*keys: str, value: object) -> Callable[[dict[str, Any]], None]:
    def edit(content: dict[str, Any]) -> None:
        section = content
        for key in keys[:-1]:
            section = section[key]
        section[keys[-1]] = value

    return edit


def _remove(*keys: str) -> Callable[[dict[str, Any]], None]:
    def remove(content: dict[str, Any]) -> None:
        section = content
        for key in keys[:-1]:
            section = section[key]
        del section[keys[-1]]

    return remove


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_remove("esdseg"), "is not a checkpoint of esdseg; name one that `esdseg train` wrote"),
        (_edit("esdseg", "format_version", value=99), "checkpoint format 99, this esdseg reads format 2"),
        (_remove("esdseg", "format_version"), "checkpoint format None"),
        (_remove("esdseg", "run_name"), "description is damaged at 'run_name'"),
        (_edit("esdseg", "config", "model", "name", value="transformer"), r"damaged at 'config\.model'"),
        (_edit("esdseg", "class_names", value=["a", "b", "c", "d"]), "predicts the classes a, b, c, d"),
        (
            _edit("esdseg", "channels", value=["sentinel9_B1"] * 3),
            "'sentinel9_B1' is not the name of a channel",
        ),
        (
            _edit("esdseg", "config", "model", "n_encoders", value=8),
            "cannot be built: model unet: 8 encoders",
        ),
        (_remove("state_dict"), "holds no weights"),
        (_edit("state_dict", "model.network.head.bias", value=3), r"network\.head\.bias is no tensor"),
        (_remove("state_dict", "model.network.head.bias"), r"missing: network\.head\.bias"),
        (_edit("state_dict", "model.network.tail", value=torch.ones(1)), r"unknown: network\.tail"),
        (
            _edit("state_dict", "model.network.head.bias", value=torch.ones(5)),
            r"network\.head\.bias \(5,\) instead of \(4,\)",
        ),
        (_edit("esdseg", "config", "model", "embedding_size", value=1024), r"instead of \(1024, 3, 3, 3\)"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_name(
    change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    content = _content(_model())
    change(content)
    path = tmp_path / "best.ckpt"
    torch.save(content, path)
    with pytest.raises(InputDataError, match=message) as error:
        load_checkpoint(path)
    assert str(error.value).startswith(f"{path}: ")


class _Bomb:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.witness),)


@pytest.mark.parametrize("archive", [True, False])
def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(archive: bool, tmp_path: Path) -> None:
    path, witness = tmp_path / "best.ckpt", tmp_path / "witness"
    content = {**_content(_model()), "callbacks": _Bomb(witness)}
    torch.save(content, path, _use_new_zipfile_serialization=archive)
    with pytest.raises(
        InputDataError, match=r"refused, since opening this checkpoint would run code \(.*mkdir"
    ):
        load_checkpoint(path)
    assert not witness.exists()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_bare_pickle_is_refused_and_runs_no_code(protocol: int, tmp_path: Path) -> None:
    path, witness = tmp_path / "best.ckpt", tmp_path / "witness"
    path.write_bytes(pickle.dumps({"esdseg": _Bomb(witness)}, protocol))
    with pytest.raises(InputDataError, match=r"not a checkpoint|would run code"):
        load_checkpoint(path)
    assert not witness.exists()


def _nested(depth: int) -> list[Any]:
    """A list that is small in a file and endless in words: each level names the one below ten times."""
    content: list[Any] = ["x"]
    for _ in range(depth):
        content = [content] * 10
    return content


@pytest.mark.parametrize(
    "keys", [("format_version",), ("run_name",), ("channels",), ("config",), ("recipe",)]
)
def test_lists_in_lists_are_refused_and_not_written_out(keys: tuple[str, ...], tmp_path: Path) -> None:
    content = _content(_model())
    _edit("esdseg", *keys, value=_nested(12))(content)
    torch.save(content, tmp_path / "best.ckpt")
    with pytest.raises(InputDataError) as refused:
        load_checkpoint(tmp_path / "best.ckpt")
    assert len(str(refused.value)) < 1000


def test_an_archive_that_unpacks_to_more_than_its_size_is_refused_unread(tmp_path: Path) -> None:
    torch.save(_content(_model()), tmp_path / "whole.ckpt")
    with zipfile.ZipFile(tmp_path / "whole.ckpt") as whole:
        records = {record: whole.read(record) for record in whole.namelist()}
    (storage,) = (name for name in records if name.endswith("/data/0"))
    with zipfile.ZipFile(tmp_path / "bomb.ckpt", "w", zipfile.ZIP_DEFLATED) as bomb:
        for name, record in records.items():
            bomb.writestr(name, bytes(300_000_000) if name == storage else record)
    assert (tmp_path / "bomb.ckpt").stat().st_size < 1_000_000
    tracemalloc.start()
    with pytest.raises(InputDataError, match="unpacks to more than its own size"):
        load_checkpoint(tmp_path / "bomb.ckpt")
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "a\x00b"])
def test_names_that_lead_elsewhere_are_no_paths_of_ours(name: str, tmp_path: Path) -> None:
    """Tiles and runs are looked up by name and never opened as files, whatever a checkpoint calls them."""
    content = _content(_model())
    _edit("esdseg", "train_tiles", value=[name])(content)
    _edit("esdseg", "run_name", value=name)(content)
    torch.save(content, tmp_path / "best.ckpt")
    assert load_checkpoint(tmp_path / "best.ckpt").run_name == name


def test_a_whole_pickled_network_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Conv2d(1, 1, 1), tmp_path / "model.pt")
    with pytest.raises(InputDataError, match="would run code"):
        load_checkpoint(tmp_path / "model.pt")


def test_other_files_are_refused_with_what_they_seem_to_be(tmp_path: Path) -> None:
    torch.save(_content(_model()), tmp_path / "whole.ckpt")
    whole = (tmp_path / "whole.ckpt").read_bytes()
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("notes.txt", "hello")
    cases = {
        "empty": (b"", "it is empty"),
        "page": (b"\n<!DOCTYPE html><title>404</title>", "it is a web page"),
        "noise": (np.random.default_rng(0).bytes(4096), "damaged, cut off or of another kind"),
        "text": (b"hello world\n", "damaged, cut off or of another kind"),
        "cut": (whole[: len(whole) // 2], "damaged, cut off or of another kind"),
        "archive": ((tmp_path / "archive.zip").read_bytes(), "an archive that PyTorch did not write"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / f"{name}.ckpt"
        path.write_bytes(content)
        with pytest.raises(InputDataError, match=f"{name}.ckpt: is not a checkpoint: .*{message}"):
            load_checkpoint(path)


def test_a_missing_checkpoint_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"nowhere\.ckpt: there is no such checkpoint"):
        load_checkpoint(tmp_path / "nowhere.ckpt")
    with pytest.raises(InputDataError, match="is a folder, not a checkpoint file"):
        load_checkpoint(tmp_path)
