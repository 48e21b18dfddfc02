"""What starts at once must not wait for torch."""

import subprocess
import sys
from pathlib import Path

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
    """Run code in a fresh process and return the modules that it loads."""
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


REFUSALS = """
import os
from esdseg.cli import run_command

for folder, words in {cases}:
    os.chdir(folder)
    sys.argv = ["esdseg", *words]
    try:
        run_command()
    except SystemExit as end:
        assert end.code in (2, 3)
    early = set(sys.modules) & {heavy}
    assert not early, (words, early)
"""


def refuse(cases: list[tuple[Path, str]]) -> None:
    """Run commands that end at once, one after another in a fresh process; fail when one loads much."""
    loaded_modules(
        REFUSALS.format(
            cases=[(str(folder), words.split()) for folder, words in cases], heavy=HEAVY_AT_REFUSALS
        )
    )


def test_what_is_not_there_is_said_before_torch_is_loaded(tmp_path: Path) -> None:
    commands = (
        "evaluate --checkpoint nowhere",
        "restitch --checkpoint nowhere",
        "predict nowhere . --out map",
        "predict nowhere nowhere --out map",
        "predict nowhere . --out map --population nowhere.tif",
        "predict nowhere . --out map --grid nowhere.gpkg",
        "train --processed-dir nowhere",
        "train --folds 3 --processed-dir nowhere",
        "sweep nowhere.yml",
        "report none",
        "compare none other",
        "ablate none",
        "preprocess --raw-dir nowhere",
        "check nowhere",
    )
    refuse([(tmp_path, words) for words in commands])


def test_what_a_run_or_a_store_contradicts_is_said_before_torch_is_loaded(tmp_path: Path) -> None:
    cases = []
    for number, (words, run) in enumerate(
        (
            ("train --name first", "first"),
            ("train --name first --fold 2/3", "first-fold2of3"),
            ("train --name first --folds 3", "first-fold3of3"),
            ("train --name a/b", "first"),
            ("train --set model.weights=nowhere", "first"),
            ("train --model unet --set model.weights=nowhere.ckpt", "first"),
            ("train --model fcn_resnet101 --set model.weights=nowhere.pth", "coco, none or the path"),
            ("train --set data.pseudo_labels=nowhere", "first"),
            ("evaluate --checkpoint first --processed-dir nowhere", "first"),
            ("restitch --checkpoint first --tiles Tile9", "first"),
        )
    ):
        folder = tmp_path / str(number)
        write_store(folder / "data/processed", {"Tile1": "train"}, 16)
        (folder / "checkpoints" / run).mkdir(parents=True)
        (folder / "checkpoints" / run / "best.ckpt").touch()
        cases.append((folder, words))
    refuse(cases)


def test_floors_without_networks_never_load_torch() -> None:
    rooms = ("config", "sensors", "system", "tiles", "sample", "preprocessing", "store")
    imports = "\n".join(
        f"import esdseg.{room}.{file.stem}"
        for room in rooms
        for file in (Path(esdseg.__file__).parent / room).glob("*.py")
    )
    assert loaded_modules(imports).isdisjoint({"torch", "pytorch_lightning", "torchmetrics"})


def test_processes_that_write_maps_and_pictures_never_load_torch() -> None:
    assert loaded_modules("import esdseg.scoring.tile_maps").isdisjoint(
        {"torch", "pytorch_lightning", "torchmetrics", "sklearn"}
    )
