"""Small raw folders: few dates, so that a tile takes a tenth of a second."""

import re
import shlex
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from typer.testing import CliRunner

from esdseg.cli.app import app
from esdseg.config.preprocessing import PreprocessConfig
from esdseg.store.store import Store
from tests.contest import get_sensor
from tests.make_tiles import write_tile

DATES: dict[str, tuple[date, ...]] = {
    "viirs": get_sensor("viirs").dates[:3],
    "sentinel1": get_sensor("sentinel1").dates[:2],
}


def write_tiles(folder: Path, names: Sequence[str], unlabelled: Sequence[str] = ()) -> Path:
    """Write tiles with three nights of VIIRS and two dates of Sentinel-1: nine channels with projections."""
    for seed, name in enumerate(names):
        write_tile(folder / name, dates=DATES, labels=name not in unlabelled, seed=seed)
    return folder


def config_for(tmp_path: Path, **settings: object) -> PreprocessConfig:
    """Settings with ``tmp_path/raw`` as source, ``tmp_path/processed`` as target and one worker."""
    values = {"raw_dir": tmp_path / "raw", "processed_dir": tmp_path / "processed", "workers": 1, **settings}
    return PreprocessConfig.model_validate(values)


def follow(message: str, raw_dir: Path) -> str:
    """Run the ``preprocess`` command of a message, with the raw folder filled in, and return its output."""
    (command,) = re.findall("`esdseg ([^`]*)`", message)
    arguments = [str(raw_dir) if part == "RAW_DIR" else part for part in shlex.split(command)]
    done = CliRunner().invoke(app, [*arguments, "--workers", "1"])
    assert done.exit_code == 0, (command, done.output, str(done.exception))
    return done.output


def names_of(store: Store, tile: str) -> tuple[str, ...]:
    """Names of the layers of a tile's image."""
    return tuple(layer.name for layer in store.layers(tile))


def contents(store: Path) -> dict[str, bytes]:
    """Every file of a store but the lock, by its path."""
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file() and path.name != ".lock"
    }
