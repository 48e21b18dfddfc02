"""What a training step costs, beside the bare step and beside the course's way."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from benchmarks.course_networks import CourseSamples
from benchmarks.data import BenchmarkData
from benchmarks.race import Race
from benchmarks.results import Row, times_faster
from esdseg.config.training import ESDConfig
from esdseg.sensors.channels import bands_of, describe_acquisitions
from esdseg.training.callbacks import StoppedRunError
from esdseg.training.fit import fit

STEP = "training"
TILES = 9
STEPS_A_REPEAT = 3
"""So many that the first few, in which a run's memory still grows, do not decide the median."""


@dataclass(frozen=True)
class Case:
    """A network to train.

    Attributes:
        model: Its settings.
        batch_size: Windows a step; what the network asks for unless given.
        with_course: Whether the course's way is measured too.
    """

    model: dict[str, str | int]
    batch_size: int | None = None
    with_course: bool = False


CASES = (
    Case({"name": "sensor_branches"}),
    Case({"name": "segmentation_cnn"}),
    Case({"name": "unet", "input_stride": 1, "n_encoders": 4}, with_course=True),
    Case({"name": "fcn_resnet101", "weights": "none"}, batch_size=2, with_course=True),
)


def measure(data: BenchmarkData) -> Iterator[Row]:
    """Yield how the steps of each network compare: those with all that a run does, and the bare ones."""
    store = data.store_of_samples(TILES)
    course_samples = CourseSamples(data.course_folders(store, "train"))
    runs = data.folder / "runs"
    for case in CASES:
        config = ESDConfig.model_validate(
            {
                "model": case.model,
                "data": {
                    "processed_dir": store.path.parent,
                    "cache": "memory",
                    # All that the store has, as the others take it.
                    "selected_bands": bands_of(store.channels),
                    "acquisitions": describe_acquisitions(store.channels),
                    "batch_size": case.batch_size,
                },
                "trainer": {"monitor": "val_loss"},
                "tracking": {"wandb": "disabled"},
            }
        )
        race = Race(
            config.resolved(store.subtile_size),
            store,
            course_samples if case.with_course else None,
            STEPS_A_REPEAT * data.repeats,
        )
        shutil.rmtree(runs, ignore_errors=True)
        with suppress(StoppedRunError):
            fit(config, checkpoints_dir=runs, name="bench", on_step=race.after_step)
        shutil.rmtree(runs)
        what, ours = f"a step of {case.model['name']}", race.esdseg.timing()
        yield times_faster(STEP, what, ours, "floor", race.floor.timing(), 0.95)
        if case.with_course:
            yield times_faster(STEP, what, ours, "course", race.course.timing(), 2)
