"""Checks that every registered network inherits: a test class names its settings and gets them all."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from esdseg.config.models import AnyModelConfig
from esdseg.config.training import ESDConfig
from esdseg.datasets.pixel_grid import native_grids
from esdseg.models.checkpoint import CheckpointMetadata, NetworkCheckpoint, SegmentationModel, load_checkpoint
from esdseg.models.normalization import Normalization
from esdseg.models.registry import build_network
from esdseg.sensors.channels import Channel
from esdseg.sharing.formats import (
    SharedModel,
    largest_difference,
    open_onnx,
    open_pt2,
    trace,
    write_onnx,
    write_pt2,
)
from tests.models.helpers import (
    checkpoint_content,
    normalization_for,
    random_image,
    some_channels,
)


class ModelChecks:
    """Inherit, and set ``config`` to small settings of the network."""

    config: ClassVar[AnyModelConfig]
    subtile_sizes: ClassVar[tuple[int, ...]] = (1, 2, 4, 8)
    channel_counts: ClassVar[tuple[int, ...]] = (1, 3, 7)

    @property
    def smallest(self) -> int:
        """Side of the smallest window that the network takes, in label cells."""
        return min(self.subtile_sizes)

    def build(self, n_channels: int = 3) -> nn.Module:
        torch.manual_seed(0)
        return build_network(self.config, some_channels(n_channels), self.smallest)

    def build_to_trace(self) -> nn.Module:
        """Return the network for checks whose time grows with the number of layers."""
        return self.build()

    def test_logits_lie_on_the_label_grid_of_every_subtile_size(self) -> None:
        network = self.build().eval()
        for size in self.subtile_sizes:
            with torch.no_grad():
                logits = network(random_image(1, 3, size))
            assert logits.shape == (1, 4, size, size)
            assert logits.dtype == torch.float32

    def test_any_number_of_channels_works(self) -> None:
        for count in self.channel_counts:
            with torch.no_grad():
                logits = self.build(count).eval()(random_image(2, count, self.smallest))
            assert logits.shape == (2, 4, self.smallest, self.smallest)
            assert torch.isfinite(logits).all()

    def test_every_parameter_gets_a_gradient(self) -> None:
        network = self.build().train()
        network(random_image(2, 3, self.smallest)).square().sum().backward()
        unreached = [
            name
            for name, parameter in network.named_parameters()
            if parameter.grad is None or not torch.isfinite(parameter.grad).all() or not parameter.grad.any()
        ]
        assert unreached == []

    def test_images_of_a_batch_are_classified_independently(self) -> None:
        network = self.build().eval()
        images = random_image(2, 3, self.smallest)
        with torch.no_grad():
            together, alone = network(images), network(images[1:])
        torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-4)

    def test_no_data_and_infinity_give_finite_logits(self) -> None:
        channels = some_channels(3)
        values = np.random.default_rng(0).normal(5, 2, (3, 1000)).astype(np.float16)
        model = SegmentationModel(normalization_for(values, channels), self.build()).eval()
        image = (random_image(1, 3, self.smallest) * 2 + 5).half()
        image[:, 0] = torch.nan
        image[:, 1, :10] = torch.nan
        image[:, 2, 5:7] = torch.inf
        with torch.no_grad():
            assert torch.isfinite(model(image)).all()

    def test_a_checkpoint_gives_the_network_back(self, tmp_path: Path) -> None:
        network = self.build().train()
        network(random_image(2, 3, self.smallest))  # Moves the statistics of batch normalisation.
        model = SegmentationModel(Normalization(3), network, native_grids(some_channels(3))).eval()
        config = ESDConfig(model=self.config)
        torch.save(checkpoint_content(model, config, some_channels(3), self.smallest), tmp_path / "best.ckpt")
        loaded = load_checkpoint(tmp_path / "best.ckpt")
        assert loaded.config == config
        image = random_image(1, 3, self.smallest).half()
        with torch.no_grad():
            assert torch.equal(loaded.model(image), model(image))

    def test_channels_last_changes_nothing(self) -> None:
        network = self.build().eval()
        image = random_image(2, 3, self.smallest)
        with torch.no_grad():
            expected = network(image)
            network.to(memory_format=torch.channels_last)
            found = network(image.to(memory_format=torch.channels_last))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


class CompileChecks(ModelChecks):
    """The same, and a check that the network is traced as one graph, as compilers need it."""

    def test_compiling_changes_nothing(self) -> None:
        network = self.build_to_trace().eval()
        image = random_image(2, 3, self.smallest)
        torch.compiler.reset()
        with torch.no_grad():
            # Tracing is what a network can spoil; what is made of the trace is PyTorch's business.
            found = torch.compile(network, backend="eager", fullgraph=True)(image)
            torch.testing.assert_close(found, network(image), rtol=1e-4, atol=1e-4)


class ExportChecks(ModelChecks):
    """The same, and a check that the network can be shared, in seconds; for each row of the registry."""

    def test_open_formats_give_the_same_probabilities_of_any_number_of_windows(self, tmp_path: Path) -> None:
        network, channels = self.build_to_trace().train(), some_channels(3)
        network(random_image(2, 3, self.smallest))  # Moves the statistics of batch normalisation.
        check_open_formats(network, self.config, channels, self.smallest, tmp_path)


def check_open_formats(
    network: nn.Module, config: AnyModelConfig, channels: Sequence[Channel], window_size: int, folder: Path
) -> None:
    """Compare what a network of three channels or more says with what its open formats say."""
    count = len(channels)
    values = np.random.default_rng(0).normal(5, 2, (count, 1000)).astype(np.float16)
    model = SegmentationModel(normalization_for(values, channels), network).eval()
    content = checkpoint_content(model, ESDConfig(model=config), channels, window_size)
    metadata = CheckpointMetadata.model_validate(content["esdseg"])
    checkpoint = NetworkCheckpoint(Path("best.ckpt"), tuple(channels), metadata, window_size, model)
    program = trace(SharedModel([checkpoint], channels, window_size), count, window_size)
    write_onnx(program, folder / "model.onnx", channels, "0")
    write_pt2(program, folder / "model.pt2")
    image = random_image(3, count, window_size) * 2 + 5
    image[0, 0] = image[1, 1, :10] = torch.nan
    image[2, 2, 5:7] = torch.inf
    image[1, :, 20] = torch.inf
    with torch.no_grad():
        expected = torch.softmax(model(image), dim=1).numpy()
    for run in (open_onnx(folder / "model.onnx"), open_pt2(folder / "model.pt2")):
        for windows in (image, image[:1]):
            assert largest_difference(run(windows.numpy()), expected[: len(windows)]) < 1e-4


class PrecisionChecks(ModelChecks):
    """The same, and a check in half precision, which processors without bfloat16 are slow at."""

    def test_bfloat16_gives_nearly_the_same_logits(self) -> None:
        network = self.build().eval()
        image = random_image(2, 3, self.smallest)
        with torch.no_grad():
            expected = network(image)
            with torch.autocast("cpu", torch.bfloat16):
                found = network(image)
        assert found.dtype == torch.float32
        assert _relative_error(found, expected) < 0.05


def _relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())
