"""What starts at once must not wait for torch."""

import subprocess
import sys
from pathlib import Path

import pytest

import esdseg

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
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return set(printed.split())


def test_the_command_line_loads_nothing_heavy_at_its_start() -> None:
    assert loaded_modules("import esdseg.cli.app").isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "--checkpoint", "nowhere"],
        ["restitch", "--checkpoint", "nowhere"],
        ["report", "none"],
        ["compare", "none", "other"],
    ],
)
def test_what_is_not_there_is_said_before_torch_is_loaded(words: list[str]) -> None:
    code = (
        f"sys.argv = ['esdseg', *{words}]\nfrom esdseg.cli import main\ntry: main()\nexcept SystemExit: pass"
    )
    assert loaded_modules(code).isdisjoint({"torch", "pytorch_lightning", "matplotlib"})


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
