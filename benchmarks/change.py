"""``python -m benchmarks.change``: what networks lose where the world is another than that of their training.

Every network is trained several times, each time on other land, and scored on tiles of land that none of them
saw. The land of the scored tiles is the same in every world, so that two scores differ by the world alone.
What is made is kept: a call that was interrupted goes on, and further rows need only what is new.

As a library, for a network of other settings::

    experiment = Experiment(Path("data/bench/change"))
    smooth = Network("smooth", {"loss": {"label_smoothing": 0.1}})
    for name, condition in CONDITIONS.items():
        print(name, experiment.difference(smooth, NETWORKS["default"], condition)["contest_f1"])
"""

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.worlds import (
    BANDS,
    SCORED_TILES,
    TRAINING_SEEDS,
    TrainingSet,
    Worlds,
    new_folder,
)
from esdseg.metrics.resampling import draw_resamples, percentile_interval
from esdseg.metrics.scores import FloatArray, IntArray, confusion_matrix, headline_scores
from esdseg.sensors.channels import Channel
from esdseg.sensors.classes import UNKNOWN_LABEL
from esdseg.store.statistics import HalfArray
from esdseg.system.files import write_text

RESULTS = Path(__file__).with_name("change.json")

EPOCHS = 20
"""Of 16 labelled tiles or more. Fewer tiles get as many steps, also with tiles without labels beside them.
Where a network starts with weights, it has these epochs of its own tiles. The last epoch is scored, so that
nothing is chosen."""

RESAMPLES = 4000

SCORES = ("contest_f1", "f1_macro")

FOREIGN = ("sahel", "delta", "highlands")
"""Regions that are other than that of the contest's tiles."""

Settings = Mapping[str, object]


@dataclass(frozen=True)
class Network:
    """How a network is trained.

    Attributes:
        name: Names its files, so that no two networks may share it.
        settings: Sections of :class:`esdseg.config.training.ESDConfig`, over those of the benchmark.
        epochs: For 16 labelled tiles or more.
        checkpoint: The file of its run that is scored.
    """

    name: str
    settings: Settings = field(default_factory=dict)
    epochs: int = EPOCHS
    checkpoint: str = "last.ckpt"


OWN_CHANNELS: Settings = {"selected_bands": None, "acquisitions": None}
"""The bands and dates that a model takes by itself."""

NETWORKS: Mapping[str, Network] = {
    network.name: network
    for network in (
        Network("default"),
        Network("unet", {"model": {"name": "unet"}, "data": OWN_CHANNELS}),
        Network("cell_boosting", {"model": {"name": "cell_boosting"}}),
        Network("cell_logistic", {"model": {"name": "cell_logistic"}}),
    )
}
"""``default`` is whatever ``esdseg train`` does by itself, over the benchmark's bands and epochs."""


@dataclass(frozen=True)
class Condition:
    """What a network learns from and where it is scored.

    Attributes:
        training: The tiles that it learns from.
        world: The world of the scored tiles, one of :data:`benchmarks.worlds.WORLDS`.
        missing: A sensor of which the scored tiles have no data.
        is_adapted: Whether the network is fitted to the scored tiles first, by their images alone.
    """

    training: TrainingSet = field(default_factory=TrainingSet)
    world: str = "contest"
    missing: str | None = None
    is_adapted: bool = False


CONDITIONS: Mapping[str, Condition] = {
    "contest": Condition(),
    **{f"{count} tiles": Condition(TrainingSet(labelled=count)) for count in (4, 8, 32)},
    **{
        f"{count} tiles, {32 - count} unlabelled": Condition(
            TrainingSet(labelled=count, unlabelled=32 - count)
        )
        for count in (4, 8)
    },
    **{world: Condition(world=world) for world in ("shuffled", "another-year", *FOREIGN)},
    **{
        f"{world}, adapted": Condition(world=world, is_adapted=True)
        for world in ("contest", "another-year", *FOREIGN)
    },
    **{f"{region}, trained there": Condition(TrainingSet(region), region) for region in FOREIGN},
    **{
        f"{region}, 4 tiles there": Condition(TrainingSet(region, labelled=4, start=TrainingSet()), region)
        for region in FOREIGN
    },
    **{f"without {sensor}": Condition(missing=sensor) for sensor in BANDS},
    "labels 5 % wrong": Condition(TrainingSet(labels="5 % wrong")),
    "labels 15 % wrong": Condition(TrainingSet(labels="15 % wrong")),
    "labels shifted": Condition(TrainingSet(labels="shifted")),
}
"""``contest`` is what the others are compared with: 16 tiles with right labels, scored on tiles like them."""


@dataclass(frozen=True)
class Estimate:
    """A score or a difference with its 95 % interval over tiles and trainings."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


Estimates = Mapping[str, Estimate]
"""By the name of the score, of :data:`SCORES`."""


@dataclass(frozen=True)
class Experiment:
    """Makes tiles, networks and scores when they are asked for, and keeps them.

    Several processes may share the folder; what two of them make at once is made twice. A network that was
    trained stays as it is: after a change of the code give the network another name.

    Attributes:
        folder: Where everything lies.
    """

    folder: Path

    @property
    def worlds(self) -> Worlds:
        """The stores of the tiles."""
        return Worlds(self.folder / "processed")

    def score(self, network: Network, condition: Condition) -> Estimates:
        """Return the scores of a network."""
        return estimate(self.confusions(network, condition))

    def difference(
        self, network: Network, other: Network, condition: Condition, other_condition: Condition | None = None
    ) -> Estimates:
        """Return how much better a network is than another one, or than itself under other conditions."""
        counts = self.confusions(network, condition)
        return estimate(counts, self.confusions(other, other_condition or condition))

    def run(self, network: Network, training: TrainingSet, seed: int) -> Path:
        """Return the checkpoint of a network, trained on the land of a seed.

        Raises:
            ValueError: A network of other settings was trained under this name.
        """
        from esdseg.config.training import ESDConfig
        from esdseg.training.fit import fit

        name, runs = _run_name(network, training, seed), self.folder / "runs"
        asked = json.dumps(asdict(network), sort_keys=True)
        settings_path = runs / name / "network.json"
        if settings_path.exists():
            if json.loads(settings_path.read_text(encoding="utf-8")) != json.loads(asked):
                raise ValueError(
                    f"{runs / name} was trained with other settings; give {network} another name"
                )
        else:
            store = self.worlds.training(training, seed)
            fewest = 0 if training.start is not None else TrainingSet().labelled
            steps = network.epochs * max(training.labelled, fewest)
            epochs = steps // (training.labelled + training.unlabelled)
            data: dict[str, object] = {
                "processed_dir": store.path.parent,
                "selected_bands": BANDS,
                # The recipes' acquisitions of Sentinel-1.
                "acquisitions": {"sentinel1": 2},
            }
            if training.unlabelled:
                labeller = self.run(network, replace(training, unlabelled=0), seed)
                data["pseudo_labels"] = str(labeller)
            settings: Settings = {
                "data": data,
                "trainer": {"max_epochs": epochs, "patience": None, "seed": seed},
                "tracking": {"wandb": "disabled", "image_every_epochs": 0},
            }
            if training.start is not None:
                settings = {**settings, "model": {"weights": str(self.run(network, training.start, seed))}}
            with new_folder(runs / name) as part:
                config = ESDConfig.model_validate(_lay_over(settings, network.settings))
                fit(config, checkpoints_dir=part, name=name)
                for path in (part / name).iterdir():
                    path.rename(part / path.name)
                (part / name).rmdir()
                write_text(part / "network.json", asked)
        return runs / name / network.checkpoint

    def confusions(self, network: Network, condition: Condition) -> IntArray:
        """Return the counts (trainings, tiles, 4, 4) of a network's cells: true class, predicted class."""
        return np.stack([self._confusions_of(network, condition, seed) for seed in TRAINING_SEEDS])

    def is_kept(self, network: Network, condition: Condition) -> bool:
        """Return whether a network was scored with all of its trainings."""
        return all(self._scored_path(network, condition, seed).exists() for seed in TRAINING_SEEDS)

    def _scored_path(self, network: Network, condition: Condition, seed: int) -> Path:
        where = condition.world + (f"-without-{condition.missing}" if condition.missing else "")
        where += "-adapted" if condition.is_adapted else ""
        return self.folder / "scored" / _run_name(network, condition.training, seed) / f"{where}.json"

    def _confusions_of(self, network: Network, condition: Condition, seed: int) -> IntArray:
        from esdseg.baselines.checkpoint import open_checkpoint
        from esdseg.prediction.trained_model import TrainedModel

        path = self._scored_path(network, condition, seed)
        if not path.exists():
            checkpoint = self.run(network, condition.training, seed)
            if condition.is_adapted:
                checkpoint = self._adapt(checkpoint, condition.world)
            opened = open_checkpoint(checkpoint)
            model = TrainedModel([opened], checkpoint)
            store = self.worlds.scored(condition.world)
            counts = []
            for tile in store.manifest.tiles:
                image = store.read_tile(tile, store.positions(tile, opened.channels))
                if condition.missing is not None:
                    take_away(image, opened.channels, condition.missing)
                probabilities = model.predict(image)
                classes = probabilities.argmax(axis=0)
                classes[np.isnan(probabilities).any(axis=0)] = UNKNOWN_LABEL
                counts.append(confusion_matrix(store.labels(tile), classes).tolist())
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(f".{os.getpid()}")
            write_text(part, json.dumps(counts))
            part.replace(path)
        return np.array(json.loads(path.read_text(encoding="utf-8")), np.int64)

    def _adapt(self, checkpoint: Path, world: str) -> Path:
        """Return a checkpoint that is fitted to the scored tiles of a world."""
        from esdseg.config.evaluation import AdaptConfig
        from esdseg.mapping.adapt import adapt

        name, runs = f"{checkpoint.parent.name}-in-{world}", self.folder / "runs"
        if not (runs / name).exists():
            config = AdaptConfig(checkpoint=str(checkpoint), checkpoints_dir=runs, name=name)
            adapt(config, self.worlds.scored(world).path)
        return runs / name / checkpoint.name


def _run_name(network: Network, training: TrainingSet, seed: int) -> str:
    return f"{network.name}-{training.name}-{seed}"


def _lay_over(settings: Settings, over: Settings) -> Settings:
    """Return settings with others over them, section by section."""

    def merge(merged: dict[str, object], item: tuple[str, object]) -> dict[str, object]:
        key, value = item
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        return {**merged, key: _lay_over(below, value) if both else value}  # type: ignore[arg-type]

    return reduce(merge, over.items(), dict(settings))


def take_away(image: HalfArray, channels: Sequence[Channel], sensor: str) -> None:
    """Let a sensor have no data in an image (C, H, W) of the given channels, in place."""
    image[[channel.sensor.name == sensor for channel in channels]] = np.nan


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


BEFORE = "before"
"""Stands for the default of an earlier version of esdseg, whose measurements lie in another folder."""

Side = tuple[Experiment, Network, Condition]


@dataclass(frozen=True)
class Row:
    """A question: what a network scores less what another one, or the same under other conditions, does.

    Attributes:
        question: The question in words.
        network: One of :data:`NETWORKS`.
        condition: One of :data:`CONDITIONS`.
        against_network: What is subtracted.
        against_condition: And its condition.
        least: The goal: the difference is at least this.
    """

    question: str
    network: str
    condition: str
    against_network: str
    against_condition: str
    least: float | None = None

    def sides(self, experiment: Experiment, before: Experiment | None) -> tuple[Side, Side]:
        """Return what is scored, and what is subtracted."""
        against, where = self.against_network, experiment
        if against == BEFORE:
            assert before is not None, "an earlier version is compared with where its folder is given"
            against, where = "default", before
        return (
            (experiment, NETWORKS[self.network], CONDITIONS[self.condition]),
            (where, NETWORKS[against], CONDITIONS[self.against_condition]),
        )


SIMPLE_MODELS = ("cell_boosting", "cell_logistic")

GOALS: Mapping[str, float] = {"shuffled": -0.01, "another-year": -0.02}
"""What a network may lose."""


def can_work(network: str, condition: str) -> bool:
    """Return whether a network can work under a condition: simple models have no weights and no features."""
    needed = CONDITIONS[condition]
    return network not in SIMPLE_MODELS or not (needed.is_adapted or needed.training.start)


ROWS: tuple[Row, ...] = (
    *(
        Row("what the change costs", network, condition, network, "contest", GOALS.get(condition))
        for network in NETWORKS
        for condition in CONDITIONS
        if can_work(network, condition)
    ),
    *(
        Row("another region", network, region, network, f"{region}, trained there", -0.05)
        for network in NETWORKS
        for region in FOREIGN
    ),
    *(
        Row(question, network, f"{region}, {what}", network, f"{region}, trained there", -0.05)
        for question, what in (
            ("another region, adapted to it without labels", "adapted"),
            ("another region, four of its tiles labelled", "4 tiles there"),
        )
        for network in NETWORKS
        for region in FOREIGN
        if network not in SIMPLE_MODELS
    ),
    *(
        Row("adapted without labels", network, f"{world}, adapted", network, world, 0.0)
        for network in NETWORKS
        for world in ("contest", "another-year", *FOREIGN)
        if network not in SIMPLE_MODELS
    ),
    *(
        Row("default against a simple model", "default", condition, simple, condition, 0.0)
        for simple in SIMPLE_MODELS
        for condition in CONDITIONS
        if can_work(simple, condition)
    ),
    *(
        Row("default against an earlier one", "default", condition, BEFORE, condition, 0.0)
        for condition in CONDITIONS
    ),
    *(
        Row(
            "tiles without labels beside them",
            "default",
            f"{few} tiles, {32 - few} unlabelled",
            "default",
            f"{few} tiles",
            0.0,
        )
        for few in (4, 8)
    ),
    *(
        Row("half of the labelled tiles, the others without labels", "default", half, "default", whole, 0.0)
        for half, whole in (("4 tiles, 28 unlabelled", "8 tiles"), ("8 tiles, 24 unlabelled", "contest"))
    ),
    *(
        Row("half of the labelled tiles", "default", half, BEFORE, whole, 0.0)
        for half, whole in (("4 tiles", "8 tiles"), ("8 tiles", "contest"), ("contest", "32 tiles"))
    ),
)


def measure(
    experiment: Experiment, rows: Sequence[Row], before: Experiment | None = None
) -> Iterator[dict[str, object]]:
    """Yield the rows with their scores.

    Args:
        experiment: What is measured.
        rows: The rows.
        before: The measurements of an earlier version, where rows ask for it.
    """
    for row in rows:
        counts, other_counts = (
            where.confusions(network, condition)
            for where, network, condition in row.sides(experiment, before)
        )
        difference = estimate(counts, other_counts)
        reached = None if row.least is None else min(difference[name].value for name in SCORES) >= row.least
        yield {
            **asdict(row),
            "score": _plain(estimate(counts)),
            "against_score": _plain(estimate(other_counts)),
            "difference": _plain(difference),
            "reached": reached,
        }


def _plain(estimates: Estimates) -> dict[str, dict[str, float]]:
    return {
        name: {key: round(value, 4) for key, value in asdict(score).items()}
        for name, score in estimates.items()
    }


def change(
    only: Annotated[
        list[str] | None, typer.Option("--only", help="A network whose rows to measure; may be repeated.")
    ] = None,
    condition: Annotated[
        list[str] | None, typer.Option("--condition", help="A condition to measure; may be repeated.")
    ] = None,
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Where all is kept.")] = Path(
        "data/bench/change"
    ),
    before_dir: Annotated[
        Path | None,
        typer.Option("--before", help="The --data-dir of an earlier version, to compare the default with."),
    ] = None,
    only_kept: Annotated[bool, typer.Option("--kept", help="Only what was measured already.")] = False,
    output: Annotated[Path, typer.Option("--output", help="The file of results.")] = RESULTS,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="A PNG of the scores; none unless given.")
    ] = None,
) -> None:
    """Train networks on sample tiles and score them where tiles, labels, dates or sensors are others."""
    from benchmarks.machine import describe_machine
    from esdseg.system.tuning import tune_process

    tune_process()
    warnings.filterwarnings("ignore", message="Dataset has no geotransform")
    experiment = Experiment(data_dir)
    before = Experiment(before_dir) if before_dir is not None else None
    rows = [
        row
        for row in ROWS
        if (only is None or {row.network, row.against_network} <= {*only, BEFORE})
        and (condition is None or row.condition in condition)
        and (row.against_network != BEFORE or before is not None)
    ]
    if only_kept:
        rows = [
            row
            for row in rows
            if all(where.is_kept(network, scored) for where, network, scored in row.sides(experiment, before))
        ]
    measured = []
    for row in measure(experiment, rows, before):
        measured.append(row)
        typer.echo(json.dumps(row))
    design = {
        "machine": describe_machine(),
        "trainings": len(TRAINING_SEEDS),
        "scored_tiles": SCORED_TILES,
        "epochs": EPOCHS,
        "bands": BANDS,
        "networks": {name: asdict(network) for name, network in NETWORKS.items()},
        "conditions": {name: asdict(each) for name, each in CONDITIONS.items()},
    }
    write_text(output, json.dumps({"design": design, "rows": measured}, indent=1) + "\n")
    if picture is not None:
        draw(measured, picture)


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the scores of rows as :func:`measure` yields them."""
    from benchmarks.change_picture import write_change_picture

    scores = {(row["network"], row["condition"]): row["score"] for row in rows}
    shown = [name for name in NETWORKS if any(name == network for network, _ in scores)]
    conditions = [name for name in CONDITIONS if any(name == condition for _, condition in scores)]
    return write_change_picture(path, scores, shown, conditions)


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(change)
    app()
