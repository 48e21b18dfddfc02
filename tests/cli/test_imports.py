"""What starts at once must not wait for torch."""

import subprocess
import sys

import pytest

HEAVY = (
    "torch",
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
    assert loaded_modules("import esdseg.cli").isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "module",
    ["config", "tiles", "sample", "preprocessing", "store"],
)
def test_floors_without_networks_never_load_torch(module: str) -> None:
    assert loaded_modules(f"import esdseg.{module}").isdisjoint(
        {"torch", "pytorch_lightning", "torchmetrics"}
    )
