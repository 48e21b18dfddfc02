"""A training, and after each of its steps one of the bare kind and one of the course's."""

import numpy as np
import torch

from benchmarks import course_networks, floor_networks
from benchmarks.course_networks import CourseSamples
from benchmarks.measuring import Stopwatch
from esdseg.config.training import ESDConfig
from esdseg.datasets.dataset import SubtileDataset, stack_samples
from esdseg.datasets.pixel_grid import native_grids
from esdseg.models.checkpoint import SegmentationModel
from esdseg.models.device import choose_accelerator, choose_precision
from esdseg.models.normalization import Normalization
from esdseg.models.registry import build_network
from esdseg.prediction.windows import choose_device
from esdseg.store.store import Store
from esdseg.training.callbacks import StoppedRunError
from esdseg.training.optimization import build_optimizer

COURSE_LEARNING_RATE = 1e-3


class Race:
    """Times the steps of a run, and between them those of the others, so that all feel the machine alike.

    A step of the run is all that happens from the end of one to the end of the next: loading, augmentation,
    the network, the optimizer, pooled losses, logging. The first step of an epoch is not counted, since
    what is done once an epoch lies before it.

    Args:
        config: The run's settings, resolved.
        store: Its store.
        course_samples: What the course's way trains on; without it, that way is left out.
        repeats: Steps to count before the run is stopped.

    Attributes:
        esdseg: Times a step of the run.
        floor: Times the same step on a batch in memory.
        course: Times a step of the course's way.
    """

    def __init__(
        self, config: ESDConfig, store: Store, course_samples: CourseSamples | None, repeats: int
    ) -> None:
        self.esdseg, self.floor, self.course = Stopwatch(), Stopwatch(), Stopwatch()
        size, tiles, channels = config.data.batch_size, store.tile_names("train"), store.channels
        assert size is not None
        assert config.data.window_size is not None
        self._size = size
        self._repeats = repeats
        self._device = choose_device(config.trainer.accelerator, config.trainer.precision)
        self._model = SegmentationModel(
            Normalization.from_statistics(
                store.channel_statistics(tiles), channels, store.manifest.config.recipe
            ),
            build_network(config.model, channels, config.data.window_size),
            native_grids(channels),
        )
        self._model.to(memory_format=torch.channels_last).to(self._device.torch_device).train()
        precision = choose_precision(config.trainer.precision, choose_accelerator(config.trainer.accelerator))
        self._optimizer = build_optimizer(config.optimizer, self._model, precision)
        dataset = SubtileDataset(
            store, tiles, channels, window_size=config.data.window_size, grids=self._model.grids
        )
        batch = stack_samples([dataset[index] for index in range(size)])
        self._pixels = [one.to(self._device.torch_device) for one in batch["pixels"]]
        self._labels = batch["label"].to(self._device.torch_device)
        self._has_begun = False
        self._course_samples = course_samples
        if course_samples is not None:
            course_channels = channels[: course_samples.channels]
            self._network = build_network(config.model, course_channels, store.subtile_size).train()
            self._adam = torch.optim.Adam(self._network.parameters(), lr=COURSE_LEARNING_RATE)
            self._generator = np.random.default_rng(0)

    def after_step(self, _epoch: str, step: int, steps: int) -> None:
        """Take a step of the others.

        Raises:
            StoppedRunError: All steps are counted.
        """
        if not steps:
            return
        if step > 1:
            self.esdseg.stop()
        # The first step of all also prepares the device.
        counts, self._has_begun = self._has_begun, True
        self._take_floor_step(self.floor if counts else Stopwatch())
        if self._course_samples is not None:
            self._take_course_step(self._course_samples, self.course if counts else Stopwatch())
        if self.esdseg.repetitions == self._repeats:
            raise StoppedRunError
        self.esdseg.start()

    def _take_floor_step(self, watch: Stopwatch) -> None:
        with watch:
            floor_networks.train_step(self._model, self._optimizer, self._pixels, self._labels, self._device)
            if self._device.torch_device.type == "cuda":
                torch.cuda.synchronize()

    def _take_course_step(self, samples: CourseSamples, watch: Stopwatch) -> None:
        with watch:
            chosen = self._generator.choice(len(samples), self._size, replace=False)
            batch = [course_networks.augment(*samples.load(index), self._generator) for index in chosen]
            course_networks.train_step(self._network, self._adam, batch)
