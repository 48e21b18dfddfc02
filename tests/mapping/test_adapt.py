"""Fitting a network to a place by its images alone."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from esdseg.config.evaluation import AdaptConfig
from esdseg.config.models import SensorBranchesConfig
from esdseg.errors import InputDataError, UsageError
from esdseg.mapping.adapt import AdaptedRun, adapt, spread
from esdseg.mapping.lattice import Cells, divide
from esdseg.models.checkpoint import NetworkCheckpoint, load_checkpoint
from esdseg.models.runs import fold_run_name
from esdseg.models.sensor_branches import SensorBranches
from esdseg.store.store import Store
from esdseg.training.fit import fit
from tests.datasets.make_store import make_store, random_labels
from tests.mapping.conftest import Ground
from tests.scoring.checkpoints import write_checkpoint
from tests.training.conftest import tiny_config

TILES = ("Tile1", "Tile2", "Tile3")
BRANCHES = SensorBranchesConfig(width=4, context_width=8, context_blocks=1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("home"), split={"Tile1": "train", "Tile2": "val"})


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two tiles of much brighter land than at home, and one of darker land than both."""
    bright = {tile: np.full((16, 16), 3, np.uint8) - random_labels(9) // 3 for tile in ("Tile1", "Tile2")}
    bright["Tile3"] = random_labels(9) // 3
    split = dict.fromkeys(bright, "train")
    return make_store(tmp_path_factory.mktemp("there"), split=split, shown=bright)  # type: ignore[arg-type]


@pytest.fixture
def runs(home: Store, tmp_path: Path) -> Path:
    """A folder with a run whose two checkpoints differ."""
    for seed, name in enumerate(("best.ckpt", "last.ckpt")):
        write_checkpoint(
            tmp_path / "runs/first" / name,
            home,
            run_name="first",
            channels=home.channels,
            window_size=16,
            seed=seed,
        )
    (tmp_path / "runs/first/metrics.csv").write_text("epoch\n1\n")
    return tmp_path / "runs"


def adapted(runs: Path, place: Path, checkpoint: str = "first", **settings: object) -> AdaptedRun:
    config = AdaptConfig.model_validate(
        {"checkpoint": checkpoint, "checkpoints_dir": runs, "accelerator": "cpu", **settings}
    )
    return adapt(config, place)


def states(old: Path, new: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    before, after = (load_checkpoint(path).model.state_dict() for path in (old, new))
    assert before.keys() == after.keys()
    return before, after


def image_of(store: Store, tile: str, checkpoint: NetworkCheckpoint) -> Tensor:
    return torch.from_numpy(store.read_tile(tile, store.positions(tile, checkpoint.channels)))[None]


def test_channels_get_the_scale_of_the_place_but_night_light(runs: Path, there: Store) -> None:
    result = adapted(runs, there.path)

    old, new = (load_checkpoint(runs / name / "best.ckpt") for name in ("first", "first-adapted"))
    images = [image_of(there, tile, old)[0, :, ::4, ::4].double().numpy() for tile in TILES]
    optical = 0
    for position, channel in enumerate(old.channels):
        shift, scale = (
            float(part[position]) for part in (new.model.normalization.shift, new.model.normalization.scale)
        )
        if channel.sensor.kind == "night_light":
            assert shift == float(old.model.normalization.shift[position])
            assert scale == float(old.model.normalization.scale[position])
        else:
            optical += 1
            means = np.array([np.nanmean(image[position]) for image in images])
            within = np.median([np.nanvar(image[position]) for image in images])
            between = 1.4826 * np.median(np.abs(means - np.median(means)))
            assert shift == pytest.approx(np.median(means), rel=1e-5)
            assert 1 / scale == pytest.approx(np.sqrt(within + between**2), rel=1e-5)
    assert 0 < optical < len(old.channels)
    assert result.channels == optical


def test_features_are_those_that_pytorchs_own_training_mode_measures(runs: Path) -> None:
    """Of one block PyTorch's running statistics with a momentum of 1 are the reference."""
    one = make_store(
        runs.parent / "one", split={"Tile1": "train"}, shown={"Tile1": np.full((16, 16), 3, np.uint8)}
    )

    result = adapted(runs, one.path)

    old, new = (load_checkpoint(runs / name / "best.ckpt") for name in ("first", "first-adapted"))
    reference = old.model
    reference.normalization.load_state_dict(new.model.normalization.state_dict())
    layers = [layer for layer in reference.modules() if isinstance(layer, _BatchNorm)]
    sizes: dict[_BatchNorm, int] = {}
    for layer in layers:
        layer.momentum = 1.0
        layer.train()
        layer.register_forward_pre_hook(
            lambda layer, inputs: sizes.__setitem__(layer, inputs[0][0, 0].numel())
        )
    with torch.inference_mode():
        reference(image_of(one, "Tile1", old))
    found = [layer for layer in new.model.modules() if isinstance(layer, _BatchNorm)]
    assert result.layers == len(layers) == len(found) > 1
    for layer, expected in zip(found, layers, strict=True):
        assert layer.running_mean is not None
        assert layer.running_var is not None
        assert expected.running_var is not None
        biased = expected.running_var * (sizes[expected] - 1) / sizes[expected]
        torch.testing.assert_close(layer.running_mean, expected.running_mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(layer.running_var, biased, rtol=1e-4, atol=1e-6)


def test_the_first_features_are_the_medians_over_the_blocks(runs: Path, there: Store) -> None:
    adapted(runs, there.path)

    new = load_checkpoint(runs / "first-adapted/best.ckpt").model
    layer = next(layer for layer in new.modules() if isinstance(layer, _BatchNorm))
    met: list[Tensor] = []
    layer.register_forward_pre_hook(lambda layer, inputs: met.append(inputs[0][0]))
    for tile in TILES:
        with torch.inference_mode():
            new(image_of(there, tile, load_checkpoint(runs / "first/best.ckpt")))
    blocks = [features.flatten(1).double().numpy() for features in met]
    assert layer.running_mean is not None
    assert layer.running_var is not None
    np.testing.assert_allclose(
        layer.running_mean, np.median([block.mean(1) for block in blocks], 0), atol=1e-5
    )
    np.testing.assert_allclose(layer.running_var, np.median([block.var(1) for block in blocks], 0), rtol=1e-4)


def test_weights_and_what_lies_on_the_label_grid_stay(home: Store, there: Store, tmp_path: Path) -> None:
    write_checkpoint(
        tmp_path / "net/best.ckpt",
        home,
        run_name="net",
        channels=home.channels,
        network=BRANCHES,
        window_size=16,
    )
    adapted(tmp_path, there.path, "net")

    before, after = states(tmp_path / "net/best.ckpt", tmp_path / "net-adapted/best.ckpt")
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert {name.rpartition(".")[2] for name in changed} <= {"running_mean", "running_var", "shift", "scale"}
    assert any("summary_branches" in name for name in changed)
    assert any("fusion" in name for name in changed)
    assert not any("entry" in name or "context" in name for name in changed)


def test_labels_are_not_looked_at(runs: Path, there: Store, tmp_path: Path) -> None:
    blind = tmp_path / "blind"
    images = {tile: there.labels(tile) for tile in there.manifest.tiles}
    shown = {tile: np.full((16, 16), 3, np.uint8) - random_labels(9) // 3 for tile in images}
    shown["Tile3"] = random_labels(9) // 3
    unknown = {tile: np.full((16, 16), 255, np.uint8) for tile in images}
    make_store(blind, split=dict.fromkeys(images, "test"), labels=unknown, shown=shown)

    adapted(runs, there.path, name="labelled")
    adapted(runs, blind, name="blind")

    labelled, not_labelled = states(runs / "labelled/best.ckpt", runs / "blind/best.ckpt")
    for name, tensor in labelled.items():
        torch.testing.assert_close(tensor, not_labelled[name], rtol=0, atol=0, msg=name)


def test_a_sensor_without_data_keeps_what_was_learned(tmp_path: Path) -> None:
    layers = ("viirs_2020-08-08_DNB", "sentinel1_2020-07-23_VV", "sentinel2_2020-08-11_B04")
    gone = np.zeros((len(layers), 16, 16), bool)
    gone[1] = True
    home, store = (
        make_store(
            tmp_path / name, split={"Tile1": "train"}, channels=layers, contents=contents, no_data=lost
        )
        for name, contents, lost in (("home", {"Tile1": 0}, None), ("there", {"Tile1": 4}, {"Tile1": gone}))
    )
    path = tmp_path / "net/best.ckpt"
    write_checkpoint(path, home, run_name="net", channels=home.channels, network=BRANCHES, window_size=16)
    result = adapted(tmp_path, store.path, "net")

    before, after = states(path, tmp_path / "net-adapted/best.ckpt")
    network = load_checkpoint(path).model.network
    assert isinstance(network, SensorBranches)
    (radar,) = (
        number
        for number, grid in enumerate(network.grids)
        if home.channels[grid.channels[0]].sensor.name == "sentinel1"
    )
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert any("summary_branches" in name for name in changed)
    assert not any(f"summary_branches.{radar}." in name for name in changed)
    assert torch.equal(before["normalization.scale"][1], after["normalization.scale"][1])
    assert all(torch.isfinite(tensor).all() for tensor in after.values())
    assert result.channels == 1


def test_of_a_run_both_checkpoints_are_adapted_and_of_a_path_that_one(runs: Path, there: Store) -> None:
    whole = adapted(runs, there.path, name="whole")
    last = adapted(runs, there.path, "first/last.ckpt", name="last")

    assert [path.name for path in whole.checkpoints] == ["best.ckpt", "last.ckpt"]
    assert {path.name for path in (runs / "whole").iterdir()} == {"best.ckpt", "last.ckpt", "metrics.csv"}
    assert {path.name for path in (runs / "last").iterdir()} == {"last.ckpt", "metrics.csv"}
    shutil.copyfile(runs / "first/last.ckpt", runs / "shared.ckpt")
    other = adapted(runs, there.path, str(runs / "shared.ckpt"), name="other")
    assert other.checkpoints == (runs / "other/best.ckpt",)
    assert other.checkpoints[0].is_file()
    metadata = load_checkpoint(runs / "whole/last.ckpt").metadata
    assert (metadata.run_name, metadata.adapted_to) == ("whole", "3 blocks of 8 x 8 km in 4x4")
    old = load_checkpoint(runs / "first/last.ckpt").metadata
    assert metadata.model_copy(update={"run_name": "first", "adapted_to": None}) == old
    assert last.run_dir == runs / "last"
    assert (last.blocks, last.area_blocks) == (3, 3)
    assert "4 or more blocks" in last.notes[0]


@pytest.mark.parametrize("form", ["tiles", "contest", "processed"])
def test_tiles_and_a_store_give_the_network_of_their_scene(form: str, ground: Ground, tmp_path: Path) -> None:
    shutil.copytree(ground.folder / "checkpoints", tmp_path / "runs")
    adapted(tmp_path / "runs", ground.folder / "scene", "tiny", name="scene")
    adapted(tmp_path / "runs", ground.folder / form, "tiny", name=form)

    scene, other = states(tmp_path / "runs/scene/best.ckpt", tmp_path / f"runs/{form}/best.ckpt")
    for name, tensor in scene.items():
        torch.testing.assert_close(other[name], tensor, rtol=1e-3, atol=1e-4, msg=name)


def test_what_cannot_be_adapted_is_named(home: Store, there: Store, runs: Path) -> None:
    config = tiny_config(home.path.parent, model={"name": "cell_logistic"}, trainer={}, optimizer={})
    fit(config.model_copy(), checkpoints_dir=runs, name="simple")
    for number in (1, 2):
        path = runs / fold_run_name("crossed", number, 2) / "best.ckpt"
        write_checkpoint(
            path,
            home,
            run_name="crossed",
            channels=home.channels,
            fold=f"{number}/2",
            held_out_tiles=(f"Tile{number}",),
        )
    for checkpoint, said in (
        ("simple", "cell_logistic, which has no batch normalisation"),
        ("crossed", "2 networks, and one is adapted at a time; name each, such as"),
    ):
        with pytest.raises(UsageError, match=said):
            adapted(runs, there.path, checkpoint)
    with pytest.raises(UsageError, match=r"first exists; choose another --name\.$"):
        adapted(runs, there.path, name="first")
    with pytest.raises(InputDataError, match="nowhere does not exist"):
        adapted(runs, Path("nowhere"))
    radar = make_store(runs.parent / "radar", split={"Tile1": "test"}, channels=["sentinel1_2020-07-23_VV"])
    with pytest.raises(InputDataError, match="sentinel2"):
        adapted(runs, radar.path)
    assert {path.name for path in runs.glob("*")} == {
        *("first", "simple", "crossed-fold1of2", "crossed-fold2of2"),
    }


def test_blocks_are_spread_over_the_area() -> None:
    blocks = divide(Cells(0, 0, 160, 160))
    assert len(blocks) == 100
    chosen = [blocks.index(block) for block in spread(blocks, 10)]
    assert chosen == [5, 15, 25, 35, 45, 55, 65, 75, 85, 95]
    assert spread(blocks, 200) == blocks
