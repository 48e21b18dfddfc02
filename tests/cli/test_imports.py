"""What starts at once must not wait for torch."""

import subprocess
import sys
from pathlib import Path

import pytest

import esdseg
from tests.store.stores import write_store

HEAVY = (
    "torch",
    "numpy",
    "pydantic",
    "pytorch_lightning",
    "torchmetrics",
    "wandb",
    "matplotlib",
    "rasterio",
    "zarr",
    "scipy",
    "sklearn",
    "optuna",
    "sqlalchemy",
)


def loaded_modules(code: str) -> set[str]:
    printed = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    return set(printed.split())


def test_the_command_line_loads_nothing_heavy_at_its_start() -> None:
    assert loaded_modules("import esdseg.cli.app").isdisjoint(HEAVY)


HEAVY_AT_REFUSALS = {"torch", "pytorch_lightning", "matplotlib", "zarr", "optuna", "wandb"}


def refuse(folder: Path, words: list[str]) -> set[str]:
    """Run a command that ends at once; return the modules it loaded."""
    return loaded_modules(
        f"import os; os.chdir({str(folder)!r}); sys.argv = ['esdseg', *{words}]\n"
        "from esdseg.cli import main\ntry: main()\nexcept SystemExit as end: assert end.code in (2, 3)"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "--checkpoint", "nowhere"],
        ["restitch", "--checkpoint", "nowhere"],
        ["predict", "nowhere", ".", "--out", "map"],
        ["predict", "nowhere", "nowhere", "--out", "map"],
        ["train", "--processed-dir", "nowhere"],
        ["train", "--folds", "3", "--processed-dir", "nowhere"],
        ["sweep", "nowhere.yml"],
        ["report", "none"],
        ["compare", "none", "other"],
        ["ablate", "none"],
        ["preprocess", "--raw-dir", "nowhere"],
        ["check", "nowhere"],
    ],
    ids=" ".join,
)
def test_what_is_not_there_is_said_before_torch_is_loaded(tmp_path: Path, words: list[str]) -> None:
    assert refuse(tmp_path, words).isdisjoint(HEAVY_AT_REFUSALS)


@pytest.mark.parametrize(
    ("words", "run"),
    [
        (["train", "--name", "first"], "first"),
        (["train", "--name", "first", "--fold", "2/3"], "first-fold2of3"),
        (["train", "--name", "first", "--folds", "3"], "first-fold3of3"),
        (["train", "--name", "a/b"], "first"),
        (["evaluate", "--checkpoint", "first", "--processed-dir", "nowhere"], "first"),
        (["restitch", "--checkpoint", "first", "--tiles", "Tile9"], "first"),
    ],
    ids=str,
)
def test_what_a_run_or_a_store_contradicts_is_said_before_torch_is_loaded(
    tmp_path: Path, words: list[str], run: str
) -> None:
    write_store(tmp_path / "data/processed", {"Tile1": "train"}, 16)
    (tmp_path / "checkpoints" / run).mkdir(parents=True)
    (tmp_path / "checkpoints" / run / "best.ckpt").touch()
    assert refuse(tmp_path, words).isdisjoint(HEAVY_AT_REFUSALS)


@pytest.mark.parametrize(
    "room",
    ["config", "sensors", "system", "tiles", "sample", "preprocessing", "store"],
)
def test_floors_without_networks_never_load_torch(room: str) -> None:
    folder = Path(esdseg.__file__).parent / room
    imports = "\n".join(f"import esdseg.{room}.{file.stem}" for file in folder.glob("*.py"))
    assert loaded_modules(imports).isdisjoint({"torch", "pytorch_lightning", "torchmetrics"})


def test_processes_that_write_maps_and_pictures_never_load_torch() -> None:
    assert loaded_modules("import esdseg.scoring.tile_maps").isdisjoint(
        {"torch", "pytorch_lightning", "torchmetrics", "sklearn"}
    )
