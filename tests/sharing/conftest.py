"""One shared network, made once by the installed command: tiles, store, checkpoint, scores, and zip."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import esdseg
from esdseg.config.models import SensorBranchesConfig
from esdseg.store.store import open_store
from tests.cli.conftest import succeed
from tests.scoring.checkpoints import write_checkpoint

BANDS = {
    "viirs": ["DNB", "DNB_max", "DNB_median"],
    "sentinel1": "VV",
    "sentinel2": ["B02", "B08"],
    "landsat8": ["B4"],
}
DATES = """
viirs: [{date: 2021-07-01, sky: moonlit}, 2021-07-03, 2021-07-05]
sentinel1: [2021-07-02]
sentinel2: [{date: 2021-07-04, sky: cloudy}, 2021-07-09, 2021-07-14]
landsat8: [{date: 2021-07-06, sky: hazy}, 2021-07-22]
"""
"""In another order than networks take them: a moonlit night, a cloudy date and a hazy one come first."""
NETWORK = SensorBranchesConfig(width=4, context_width=8, context_blocks=1)
CPU: dict[str, Any] = {"accelerator": "cpu", "precision": "32-true"}


@dataclass(frozen=True)
class Shared:
    """A folder in which everything lies where the commands put it.

    Attributes:
        folder: With ``raw``, ``data/processed``, ``checkpoints/first``, ``predictions/first``, ``first.zip``.
        printed: What ``esdseg export --json`` printed.
        unpacked: The zip's content.
    """

    folder: Path
    printed: dict[str, Any]
    unpacked: Path

    @property
    def zip(self) -> Path:
        return self.folder / "first.zip"


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    folder = tmp_path_factory.mktemp("sharing")
    (folder / "dates.yml").write_text(DATES)
    esdseg.write_sample_tiles(folder / "raw", tiles=2, crs=True, workers=1, dates=folder / "dates.yml")
    esdseg.preprocess(
        folder / "raw", folder / "data/processed", val_fraction=0.5, selected_bands=BANDS, workers=1
    )
    store = open_store(folder / "data/processed")
    best = folder / "checkpoints/first/best.ckpt"
    write_checkpoint(
        best,
        store,
        run_name="first",
        channels=store.channels,
        network=NETWORK,
        window_size=8,
        temperature=1.3,
    )
    esdseg.evaluate(
        best,
        processed_dir=folder / "data/processed",
        predictions_dir=folder / "predictions",
        name="first",
        simple_baselines=False,
        **CPU,
    )
    done = succeed(folder, "export", "first", "first.zip", "--license", "cc-by-4.0", "--json")
    with zipfile.ZipFile(folder / "first.zip") as archive:
        archive.extractall(folder / "unpacked")
    return Shared(folder, json.loads(done.stdout), folder / "unpacked")
