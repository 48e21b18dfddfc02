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
from torch import Tensor, nn

from esdseg.config.models import (
    AnyModelConfig,
    FCNResNet101Config,
    SegmentationCNNConfig,
    SensorBranchesConfig,
    UNetConfig,
)
from esdseg.config.preprocessing import COURSE_RECIPE, Recipe
from esdseg.config.section import NetworkSection
from esdseg.config.training import ESDConfig
from esdseg.config.zoo import SMPConfig
from esdseg.datasets.pixel_grid import native_grids
from esdseg.errors import InputDataError
from esdseg.models.checkpoint import SegmentationModel, load_checkpoint, load_starting_weights
from esdseg.models.first_layers import match_filters
from esdseg.models.normalization import NetworkInput, Normalization
from esdseg.models.registry import build_network
from esdseg.sensors.channels import Channel
from esdseg.sensors.classes import CLASS_NAMES
from tests.contest import channel_table
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


"""Weights of a run of one's own, for a network on other bands and dates."""


KNOWN = channel_table({"sentinel1": 1, "sentinel2": 1})
SMALL = UNetConfig(n_encoders=1, embedding_size=2)


def saved(config: AnyModelConfig, folder: Path, channels: tuple[Channel, ...] = KNOWN) -> nn.Module:
    """A network whose run is kept in ``folder``."""
    torch.manual_seed(1)
    network = build_network(config, channels, 2).eval()
    model = SegmentationModel(Normalization(len(channels)), network)
    folder.mkdir(exist_ok=True)
    torch.save(checkpoint_content(model, ESDConfig(model=config), channels, 2), folder / "best.ckpt")
    return network


def started(config: AnyModelConfig, folder: Path, channels: tuple[Channel, ...] = KNOWN) -> nn.Module:
    """A new network that starts from the run in ``folder``."""
    assert isinstance(config, NetworkSection)
    again = config.model_copy(update={"weights": str(folder)})
    torch.manual_seed(2)
    network = build_network(again, channels, 2).eval()
    seen = NetworkInput(channels, Normalization(len(channels)), Recipe())
    metadata, _ = load_starting_weights(network, again, seen, folder.parent)
    assert metadata is not None
    assert metadata.train_tiles == ("Tile1", "Tile2")
    return network


def logits(network: nn.Module, image: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = network(image)
    return found


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        UNetConfig(n_encoders=1, embedding_size=2, input_stride=2),
        SegmentationCNNConfig(depth=1, embedding_size=2),
        SensorBranchesConfig(width=2, context_width=4, context_blocks=1),
        SMPConfig(name="smp:fpn/tu-test_efficientnet", weights="none"),
    ],
    ids=lambda config: config.name,
)
def test_a_network_on_the_same_channels_starts_as_the_run_ended(
    config: AnyModelConfig, tmp_path: Path
) -> None:
    image = random_image(1, len(KNOWN), 2)
    expected = logits(saved(config, tmp_path / "first"), image)
    assert torch.equal(logits(started(config, tmp_path / "first"), image), expected)


@pytest.mark.parametrize("config", [SMALL, SensorBranchesConfig(width=2, context_width=4, context_blocks=1)])
def test_a_picture_on_all_of_more_dates_is_seen_as_on_one(config: AnyModelConfig, tmp_path: Path) -> None:
    expected_from = saved(config, tmp_path / "first")
    more = channel_table({"sentinel1": 1, "sentinel2": 3})
    image = random_image(1, len(KNOWN), 2)
    position = {(channel.sensor.name, channel.band): index for index, channel in enumerate(KNOWN)}
    repeated = image[:, [position[channel.sensor.name, channel.band] for channel in more]]
    found = logits(started(config, tmp_path / "first", more), repeated)
    torch.testing.assert_close(found, logits(expected_from, image), rtol=1e-4, atol=1e-4)


def test_filters_go_by_sensor_and_band_and_new_bands_start_at_zero() -> None:
    known = channel_table({"sentinel1": 2})
    wanted = channel_table({"viirs": 1, "sentinel1": 2})
    weight = torch.arange(4.0).reshape(1, 4, 1, 1) + 1
    filters = match_filters(weight, known, wanted[::-1])[0, :, 0, 0].tolist()
    found = dict(zip([channel.name for channel in wanted[::-1]], filters, strict=True))
    assert {name: value for name, value in found.items() if value} == {
        "sentinel1_1_VV": 1,
        "sentinel1_1_VH": 2,
        "sentinel1_2_VV": 3,
        "sentinel1_2_VH": 4,
    }
    assert len(found) == len(wanted)


def test_what_does_not_fit_is_refused_with_the_reason(tmp_path: Path) -> None:
    saved(SMALL, tmp_path / "first")
    with pytest.raises(InputDataError, match="holds a unet, whose weights do not fit a segmentation_cnn"):
        started(SegmentationCNNConfig(), tmp_path / "first")
    wider = UNetConfig(n_encoders=1, embedding_size=4)
    with pytest.raises(InputDataError, match=r"do not fit this unet; .* must be those of the run"):
        started(wider, tmp_path / "first")
    with pytest.raises(
        InputDataError, match="trained on none of the bands here, but on sentinel1 VV VH, sen"
    ):
        started(SMALL, tmp_path / "first", channel_table({"landsat8": 1}))
    seen = NetworkInput(KNOWN, Normalization(len(KNOWN)), Recipe())
    with pytest.raises(InputDataError, match="There is no checkpoint 'second'"):
        load_starting_weights(nn.Identity(), SMALL.model_copy(update={"weights": "second"}), seen, tmp_path)


def test_a_run_is_told_from_pretrained_weights(tmp_path: Path) -> None:
    assert FCNResNet101Config(weights="runs/first/last.ckpt").starts_from_run
    assert FCNResNet101Config(weights=str(tmp_path)).starts_from_run
    assert not FCNResNet101Config(weights="fcn_resnet101_coco-7ecb50ca.pth").starts_from_run
    assert not SMPConfig(name="smp:fpn/resnet18").starts_from_run
    assert UNetConfig(weights="first").starts_from_run
    assert not UNetConfig().starts_from_run
