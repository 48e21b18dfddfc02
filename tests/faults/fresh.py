"""Prints what a fresh process makes of ``raw/`` in a folder; the second argument is a number of workers."""

import hashlib
import json
import sys
from pathlib import Path

from esdseg.datasets.sampling import class_weights
from esdseg.preprocessing.preprocess import preprocess
from esdseg.sample.dates import contest_dates
from esdseg.sample.tile import generate_tile
from esdseg.store.store import open_store
from esdseg.training.callbacks import EpochReport
from esdseg.training.fit import fit
from tests.faults.comparing import files_of
from tests.faults.server import leave
from tests.preprocessing.raw_tiles import config_for
from tests.training.conftest import tiny_config


def digest(*parts: bytes) -> str:
    """Return a hash of bytes."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def describe(folder: Path, workers: int) -> dict[str, object]:
    """Preprocess, train, and say what came out."""
    preprocess(config_for(folder, workers=workers, val_fraction=0.4))
    store = open_store(folder / "processed")
    train = store.tile_names("train")
    statistics = store.channel_statistics(train)
    epochs: list[EpochReport] = []
    config = tiny_config(
        folder / "processed",
        augmentation={"noise_probability": 0.5},
        loss={"class_weights": "sqrt"},
    )
    run = fit(config, checkpoints_dir=folder / "checkpoints", name="run", on_epoch=epochs.append).run_dir
    sample = generate_tile(3, 1, {sensor: drawn[:1] for sensor, drawn in contest_dates().items()})
    return {
        "split": {name: entry.split for name, entry in store.manifest.tiles.items()},
        "manifest": store.manifest_hash,
        "store": digest(*files_of(store.path).values()),
        "statistics": [one.tolist() for one in (statistics.mean, statistics.std, statistics.quantile(0.99))],
        "class_weights": list(map(float, class_weights("sqrt", store.class_counts(train)))),
        "sample": digest(sample.labels.tobytes(), *(raster.tobytes() for raster in sample.rasters.values())),
        "epochs": [{name: repr(value) for name, value in epoch.values().items()} for epoch in epochs],
        "history": (run / "metrics.csv").read_text(),
    }


if __name__ == "__main__":
    print(json.dumps(describe(Path(sys.argv[1]), int(sys.argv[2]))), flush=True)
    leave(0)
