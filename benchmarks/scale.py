"""``make bench-scale``: whether time and memory a tile stay the same as tiles become more."""

import shutil
from pathlib import Path
from typing import Annotated

import typer


def scale(
    tiles: Annotated[list[int], typer.Argument(min=2, help="How many sample tiles, several times.")],
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Where tiles are kept.")] = Path("data/bench"),
) -> None:
    """Preprocess, train one epoch from disk, and map, on more and more sample tiles."""
    # Imported here: processes that are started load this module too, and are weighed.
    from rich.console import Console
    from rich.table import Table

    from benchmarks.data import BenchmarkData
    from benchmarks.machine import describe_machine
    from benchmarks.measuring import Stopwatch, peak_megabytes

    data = BenchmarkData(data_dir, repeats=1)
    table = Table("tiles", "step", "s a tile", "CPU s a tile", "peak MB", title=describe_machine())
    for number in tiles:
        raw_dir, folder = data.samples(number), data_dir / "scale"
        for name, step in STEPS.items():
            watch = Stopwatch()
            with watch:
                megabytes = peak_megabytes(step, raw_dir, folder)
            spent = watch.timing()
            table.add_row(
                str(number),
                name,
                f"{spent.wall / number:.2f}",
                f"{spent.cpu / number:.2f}",
                f"{megabytes:.0f}",
            )
        shutil.rmtree(folder)
    Console().print(table)


def preprocess_tiles(raw_dir: Path, folder: Path) -> None:
    """Write the store of some tiles in this process."""
    from esdseg.config.preprocessing import PreprocessConfig
    from esdseg.preprocessing.preprocess import preprocess

    preprocess(PreprocessConfig(raw_dir=raw_dir, processed_dir=folder / "processed", workers=1))


def train_an_epoch(raw_dir: Path, folder: Path) -> None:
    """Train the default network for one epoch, reading each subtile from disk."""
    from esdseg.config.training import ESDConfig
    from esdseg.training.fit import fit

    config = ESDConfig.model_validate(
        {
            "data": {"processed_dir": folder / "processed", "cache": "disk"},
            "trainer": {"max_epochs": 1, "monitor": "val_loss"},
            "tracking": {"wandb": "disabled"},
        }
    )
    fit(config, checkpoints_dir=folder / "runs", name="epoch")


def map_tiles(raw_dir: Path, folder: Path) -> None:
    """Map all tiles of the store by the network that was trained, in this process."""
    from esdseg.config.evaluation import MapConfig
    from esdseg.mapping.predict import predict

    config = MapConfig(checkpoint=str(folder / "runs/epoch/last.ckpt"), workers=1)
    predict(config, folder / "processed", folder / "map")


STEPS = {"preprocess": preprocess_tiles, "one epoch": train_an_epoch, "predict": map_tiles}
"""Each takes the raw folder, and a folder in which it finds what the steps before it wrote."""


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(scale)
    app()
