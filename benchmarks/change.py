"""``python -m benchmarks.change``: what networks lose where the world is another than that of their training.

Every network is trained several times, each time on other land, and scored on tiles of land that none of them
saw. The land of the scored tiles is the same in every world, so that two scores differ by the world alone.
What is made is kept: a call that was interrupted goes on, and further rows need only what is new.
"""

import json
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from esdseg.metrics.resampling import draw_resamples, percentile_interval
from esdseg.metrics.scores import FloatArray, IntArray, confusion_matrix, headline_scores
from esdseg.sample.writing import write_sample_tiles
from esdseg.sensors.classes import UNKNOWN_LABEL
from esdseg.store.manifest import tile_path
from esdseg.store.store import Store, open_store
from esdseg.system.files import write_text
from esdseg.tiles.discovery import find_tiles

RESULTS = Path(__file__).with_name("change.json")

TRAINING_SEEDS = (1, 2, 3)
"""Each network is trained on the land of each of these seeds of sample tiles."""

TRAINING_TILES = 19
"""Sample tiles of each training; one of them is set aside for validation, which chooses nothing here."""

SCORED_SEED = 100
SCORED_TILES = 24

EPOCHS = 12
"""As many steps as in the demo, over twice its tiles. The last epoch is scored, so that nothing is chosen."""

RESAMPLES = 4000

SCORES = ("contest_f1", "f1_macro")

BANDS: Mapping[str, Sequence[str]] = {
    "viirs": ["DNB"],
    "sentinel1": ["VV", "VH"],
    "sentinel2": ["B02", "B03", "B04", "B08", "B11"],
    "landsat8": ["B4", "B5", "B6"],
}
"""The recipes' bands, and Landsat-8, whose dates are asked about too."""

ALL_NIGHTS: Mapping[str, Sequence[str]] = {"viirs": ["all"]}
"""Projections over all nights beside the nights."""

RADAR = {"sentinel1": 2}
"""The recipes' acquisitions of Sentinel-1."""


@dataclass(frozen=True)
class World:
    """Sample tiles of some kind; the land depends on the seed alone.

    Attributes:
        dates: What ``esdseg sample --dates`` takes; the contest's unless given.
        shuffles_dates: Whether the acquisitions of each sensor exchange their dates at random, a tile at a
            time.
    """

    dates: Literal["random"] | None = None
    shuffles_dates: bool = False


WORLDS: Mapping[str, World] = {
    "contest": World(),
    "shuffled": World(shuffles_dates=True),
    "another-year": World(dates="random"),
}
"""``another-year``: 3 to 6 dates of Sentinel-2 of which half are cloudy, 2 to 4 of Landsat-8, 2 to 5 of
Sentinel-1, 6 to 10 nights, other ones in every tile."""


@dataclass(frozen=True)
class Network:
    """How a network is trained.

    Attributes:
        acquisitions: ``data.acquisitions``, beside those of the radar.
        augmentation: ``augmentation``.
        bands: ``data.selected_bands`` of sensors of which it takes others than :data:`BANDS`.
        world: The world of its training tiles.
    """

    acquisitions: Mapping[str, object] = field(default_factory=dict)
    augmentation: Mapping[str, object] = field(default_factory=dict)
    bands: Mapping[str, Sequence[str]] = field(default_factory=dict)
    world: str = "contest"


DATE = {"order": "date"}

UNSHUFFLED = {"place_shuffle": 0.0}

NETWORKS: Mapping[str, Network] = {
    "default": Network(),
    "unshuffled": Network(augmentation=UNSHUFFLED),
    "always-shuffled": Network(augmentation={"place_shuffle": 1.0}),
    "calendar": Network({"viirs": DATE, "sentinel2": DATE, "landsat8": DATE}, UNSHUFFLED, ALL_NIGHTS),
    "sentinel2-by-date": Network({"sentinel2": DATE}, UNSHUFFLED),
    "landsat8-by-date": Network({"landsat8": DATE}, UNSHUFFLED),
    "two-clearest": Network({"sentinel2": 2, "landsat8": 2}),
}
"""``calendar`` asks for dates in their order, as networks did before they asked for places."""


@dataclass(frozen=True)
class Row:
    """A question: what a network scores in a world less what another one, or the same elsewhere, does.

    Attributes:
        question: The question in words.
        network: One of :data:`NETWORKS`.
        world: One of :data:`WORLDS`.
        against_network: What is subtracted.
        against_world: And where.
        least: The goal: the difference is at least this.
    """

    question: str
    network: str
    world: str
    against_network: str
    against_world: str
    least: float | None = None


def _worth(words: str, network: str, other: str) -> tuple[Row, ...]:
    """Ask for the difference between two networks in every world."""
    return tuple(Row(f"{words}, {world}", network, world, other, world) for world in WORLDS)


ROWS: tuple[Row, ...] = (
    *(
        row
        for name in NETWORKS
        for row in (
            Row("dates shuffled", name, "shuffled", name, "contest", -0.01),
            Row("another year", name, "another-year", name, "contest", -0.02),
        )
    ),
    *_worth("places instead of calendar dates", "default", "calendar"),
    *_worth("places instead of calendar dates, unshuffled", "unshuffled", "calendar"),
    *_worth("places shuffled in half of the samples", "default", "unshuffled"),
    *_worth("places shuffled in all samples", "always-shuffled", "unshuffled"),
    *_worth("clearest instead of date, Sentinel-2", "unshuffled", "sentinel2-by-date"),
    *_worth("clearest instead of date, Landsat-8", "unshuffled", "landsat8-by-date"),
    *_worth("two clearest instead of all", "two-clearest", "default"),
)


@dataclass(frozen=True)
class Estimate:
    """A score or a difference with its 95 % interval over tiles and trainings."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Experiment:
    """Makes tiles, networks and scores when they are asked for, and keeps them.

    Attributes:
        folder: Where everything lies.
    """

    folder: Path

    def store(self, world: str, seed: int, tiles: int) -> Store:
        """Return the store of the tiles of a world."""
        from esdseg.config.preprocessing import PreprocessConfig
        from esdseg.preprocessing.preprocess import preprocess

        processed_dir = self.folder / "processed" / f"{world}-{seed}"
        if not processed_dir.exists():
            raw_dir = self._raw_tiles(world, seed, tiles)
            part = processed_dir.with_suffix(".part")
            settings = {
                "processed_dir": part,
                "val_fraction": 1 / tiles,
                "selected_bands": {**BANDS, **ALL_NIGHTS},
            }
            preprocess(PreprocessConfig.model_validate({"raw_dir": raw_dir, **settings}))
            part.rename(processed_dir)
            shutil.rmtree(raw_dir)
        return open_store(processed_dir)

    def _raw_tiles(self, world: str, seed: int, tiles: int) -> Path:
        from esdseg.system.memory import available_cores

        raw_dir = self.folder / "raw" / f"{world}-{seed}"
        dates, workers = WORLDS[world].dates, available_cores()
        write_sample_tiles(raw_dir, tiles=tiles, seed=seed, crs=False, workers=workers, dates=dates)
        if not WORLDS[world].shuffles_dates:
            return raw_dir
        shuffled = raw_dir.with_suffix(".shuffled")
        shutil.rmtree(shuffled, ignore_errors=True)
        shuffle_dates(raw_dir, shuffled, seed)
        shutil.rmtree(raw_dir)
        return shuffled

    def run(self, network: str, seed: int) -> Path:
        """Return the last checkpoint of a network, trained on the land of a seed."""
        from esdseg.config.training import ESDConfig
        from esdseg.training.fit import fit

        how, runs = NETWORKS[network], self.folder / "runs"
        name = f"{network}-{seed}"
        last = runs / name / "last.ckpt"
        if not (runs / name / "curves.png").exists():
            shutil.rmtree(runs / name, ignore_errors=True)
            store = self.store(how.world, seed, TRAINING_TILES)
            settings = {
                "data": {
                    "processed_dir": store.path.parent,
                    "selected_bands": {**BANDS, **how.bands},
                    "acquisitions": {**RADAR, **how.acquisitions},
                },
                "augmentation": how.augmentation,
                "trainer": {"max_epochs": EPOCHS, "patience": None, "seed": seed},
                "tracking": {"wandb": "disabled", "image_every_epochs": 0},
            }
            fit(ESDConfig.model_validate(settings), checkpoints_dir=runs, name=name)
        return last

    def confusions(self, network: str, world: str) -> IntArray:
        """Return the counts (trainings, tiles, 4, 4) of a network's cells in a world."""
        return np.stack([self._confusions_of(network, seed, world) for seed in TRAINING_SEEDS])

    def _confusions_of(self, network: str, seed: int, world: str) -> IntArray:
        from esdseg.api import load

        path = self.folder / "scored" / f"{network}-{seed}-{world}.json"
        if not path.exists():
            model = load(self.run(network, seed))
            store = self.store(world, SCORED_SEED, SCORED_TILES)
            counts = []
            for tile, entry in store.manifest.tiles.items():
                probabilities = model.predict(tile_path(store.path, entry.split, tile))
                classes = probabilities.argmax(axis=0)
                classes[np.isnan(probabilities).any(axis=0)] = UNKNOWN_LABEL
                counts.append(confusion_matrix(store.labels(tile), classes).tolist())
            path.parent.mkdir(exist_ok=True)
            write_text(path, json.dumps(counts))
        return np.array(json.loads(path.read_text(encoding="utf-8")), np.int64)


def shuffle_dates(raw_dir: Path, shuffled_dir: Path, seed: int) -> None:
    """Copy raw tiles, by links, with the dates of each sensor's acquisitions exchanged at random."""
    for number, tile in enumerate(find_tiles(raw_dir)):
        rng = np.random.default_rng((seed, number))
        folder = shuffled_dir / tile.name
        folder.mkdir(parents=True)
        renamed = {}
        for name in dict.fromkeys(raster.sensor for raster in tile.rasters):
            days, sensor = tile.dates(name), tile.sensors.sensor(name)
            order = dict(zip(days, rng.permutation(len(days)).tolist(), strict=True))
            for raster, path in tile.rasters.items():
                if raster.sensor == name:
                    renamed[path.name] = sensor.file_name(days[order[raster.acquired]], raster.band)
        for path in tile.folder.iterdir():
            (folder / renamed.get(path.name, path.name)).hardlink_to(path)


def estimate(run: IntArray, against: IntArray | None = None) -> dict[str, Estimate]:
    """Score a network, or the difference between two, with intervals.

    Tiles and trainings are both resampled, each by itself (Owen, The pigeonhole bootstrap, Annals of Applied
    Statistics 1, 2007), and with the same draws for both networks.

    Args:
        run: Counts (trainings, tiles, 4, 4).
        against: The same of what is subtracted, for the same trainings and tiles.
    """
    trainings, tiles = run.shape[:2]
    tile_weights = draw_resamples(tiles, RESAMPLES, 0)
    training_weights = draw_resamples(trainings, RESAMPLES, 1)

    def scored(counts: IntArray) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
        pooled = np.einsum("rn,rt,ntij->rij", training_weights, tile_weights, counts, optimize=True)
        return headline_scores(counts.sum(axis=(0, 1))), headline_scores(pooled)

    value, resampled = scored(run)
    if against is not None:
        less, resampled_less = scored(against)
        value = {name: value[name] - less[name] for name in SCORES}
        resampled = {name: resampled[name] - resampled_less[name] for name in SCORES}
    estimates = {}
    for name in SCORES:
        interval = percentile_interval(resampled[name], tiles)
        assert interval is not None
        estimates[name] = Estimate(float(value[name]), *interval)
    return estimates


def measure(experiment: Experiment, rows: Sequence[Row]) -> Iterator[dict[str, object]]:
    """Yield the rows with their scores."""
    for row in rows:
        run = experiment.confusions(row.network, row.world)
        against = experiment.confusions(row.against_network, row.against_world)
        difference = estimate(run, against)
        reached = None if row.least is None else min(difference[name].value for name in SCORES) >= row.least
        yield {
            **asdict(row),
            "score": _plain(estimate(run)),
            "against_score": _plain(estimate(against)),
            "difference": _plain(difference),
            "reached": reached,
        }


def _plain(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float]]:
    return {
        name: {key: round(value, 4) for key, value in asdict(one).items()} for name, one in estimates.items()
    }


def change(
    only: Annotated[
        list[str] | None, typer.Option("--only", help="A network whose rows to measure; may be repeated.")
    ] = None,
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Where all is kept.")] = Path(
        "data/bench/change"
    ),
    output: Annotated[Path, typer.Option("--output", help="The file of results.")] = RESULTS,
) -> None:
    """Train networks on sample tiles and score them on tiles of other dates."""
    from benchmarks.machine import describe_machine
    from esdseg.system.tuning import tune_process

    tune_process()
    warnings.filterwarnings("ignore", message="Dataset has no geotransform")
    kept = [row for row in ROWS if only is None or {row.network, row.against_network} <= set(only)]
    measured = []
    for row in measure(Experiment(data_dir), kept):
        measured.append(row)
        typer.echo(json.dumps(row))
    design = {
        "machine": describe_machine(),
        "trainings": len(TRAINING_SEEDS),
        "training_tiles": TRAINING_TILES - 1,
        "scored_tiles": SCORED_TILES,
        "epochs": EPOCHS,
        "bands": BANDS,
        "networks": {name: asdict(network) for name, network in NETWORKS.items()},
    }
    write_text(output, json.dumps({"design": design, "rows": measured}, indent=1) + "\n")


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(change)
    app()
