"""Trained networks in open formats: ONNX, and PyTorch's exported programs.

Both hold the same function: from stored values of a window, NaN where there is no data, to the probabilities
that ``esdseg restitch`` writes. The scale of the channels, the temperature, the mean over several networks
and the rule for cells of which too little is seen lie inside.
"""

import io
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from esdseg.errors import InputDataError, UsageError
from esdseg.models.checkpoint import LoadedCheckpoint, NetworkCheckpoint, SegmentationModel
from esdseg.models.normalization import Normalization
from esdseg.prediction.channel_share import MIN_CHANNEL_SHARE
from esdseg.sensors.channels import Channel
from esdseg.sensors.classes import CELL_SIZE_PX, CLASS_NAMES, NUM_CLASSES

Windows = npt.NDArray[np.float32]
Network = Callable[[Windows], npt.NDArray[np.float32]]
"""Maps windows (N, C, 50k, 50k) to probabilities (N, 4, k, k)."""

OPSET = 18
"""Version of ONNX's operators; runtimes since 2023 know it."""

INPUT_NAME, OUTPUT_NAME = "image", "probabilities"


class OutOfPlaceNormalization(Normalization):
    """The same arithmetic with no data set aside first, since runtimes differ in what they make of NaN.

    Args:
        layer: The layer whose numbers are taken.
    """

    def __init__(self, layer: Normalization) -> None:
        super().__init__(len(layer.shift))
        self.load_state_dict(layer.state_dict())

    def forward(self, image: Tensor, channels: Sequence[int] | None = None) -> Tensor:
        """See :meth:`Normalization.forward`."""
        chosen = slice(None) if channels is None else list(channels)
        scaled = (image - self.shift[chosen]) * self.scale[chosen]
        is_missing = torch.isnan(scaled)
        known = torch.where(is_missing, 0.0, scaled)
        limited = torch.minimum(torch.maximum(known, self.lower[chosen]), self.upper[chosen])
        if not self._is_linear:
            limited = limited.pow(self.gamma[chosen])
        return torch.where(is_missing, self.fill[chosen], limited)


class MemberNetwork(nn.Module):
    """One of the networks that predict together, on windows of another size and with more channels.

    Args:
        checkpoint: The network.
        channels: The channels of the images, which hold all of its own.
        window_size: Label cells along each side of the images, a multiple of the network's own.
    """

    def __init__(self, checkpoint: NetworkCheckpoint, channels: Sequence[Channel], window_size: int) -> None:
        super().__init__()
        model = checkpoint.model
        self.model = SegmentationModel(
            OutOfPlaceNormalization(model.normalization), model.network, model.grids
        )
        positions = [channels.index(channel) for channel in checkpoint.channels]
        self.positions = None if positions == list(range(len(channels))) else positions
        self.temperature = checkpoint.metadata.temperature
        self.window_size = checkpoint.window_size
        self.windows_a_side = window_size // checkpoint.window_size
        self.channels_needed = channels_needed(len(positions))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (N, C, 50k, 50k) to probabilities (N, 4, k, k), and to where too little is seen."""
        own = image if self.positions is None else image[:, self.positions]
        has_data = nn.functional.max_pool2d((~torch.isnan(own)).float(), CELL_SIZE_PX)
        is_unseen = has_data.sum(dim=1) < self.channels_needed
        side, cells = self.windows_a_side, self.window_size
        if side > 1:
            pixels = cells * CELL_SIZE_PX
            own = own.reshape(-1, own.shape[1], side, pixels, side, pixels)
            own = own.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
        probabilities = torch.softmax(self.model(own) / self.temperature, dim=1)
        if side > 1:
            probabilities = probabilities.reshape(-1, side, side, NUM_CLASSES, cells, cells)
            probabilities = probabilities.permute(0, 3, 1, 4, 2, 5).flatten(2, 3).flatten(3, 4)
        return probabilities, is_unseen


class SharedModel(nn.Module):
    """What is shared: the mean of one network or several, as :func:`predict_together` computes it.

    Args:
        checkpoints: The networks.
        channels: The channels of the images: those of all networks.
        window_size: Label cells along each side of the images.
        temperature: What the logarithms of the mean are divided by; 1 changes nothing.

    Raises:
        UsageError: One is no network.
    """

    def __init__(
        self,
        checkpoints: Sequence[LoadedCheckpoint],
        channels: Sequence[Channel],
        window_size: int,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(
            MemberNetwork(require_network(checkpoint), channels, window_size) for checkpoint in checkpoints
        )
        self.temperature = temperature
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        """Map images (N, C, 50k, 50k) to probabilities (N, 4, k, k), NaN where too little is seen."""
        members = [member(image) for member in self.members]
        mean = torch.stack([probabilities for probabilities, _ in members]).mean(dim=0)
        if self.temperature != 1:
            smallest = torch.finfo(torch.float32).tiny
            mean = torch.softmax(mean.clamp(min=smallest).log() / self.temperature, dim=1)
        is_unseen = torch.stack([unseen for _, unseen in members]).any(dim=0)
        return torch.where(is_unseen.unsqueeze(1), math.nan, mean)


def require_network(checkpoint: LoadedCheckpoint) -> NetworkCheckpoint:
    """Return the checkpoint if it is a network's (``UsageError`` where it is a simple model's)."""
    if not isinstance(checkpoint, NetworkCheckpoint):
        raise UsageError(
            f"{checkpoint.path}: {checkpoint.config.model.name} cannot be exported. It is no network: it "
            "sorts the pixels of each cell and looks its answer up in NumPy, outside the operations of "
            "PyTorch of which model.onnx and model.pt2 are made. Share its checkpoint, which "
            "esdseg reads; it is small."
        )
    return checkpoint


def channels_needed(n_channels: int) -> int:
    """Return how many of a network's channels a cell needs at least to be mapped."""
    shares = np.arange(n_channels + 1, dtype=np.float32) / np.float32(n_channels)
    return int((shares < MIN_CHANNEL_SHARE).sum())


def trace(model: SharedModel, n_channels: int, window_size: int) -> torch.export.ExportedProgram:
    """Trace the computation of a model, for any number of windows.

    Args:
        model: What is shared.
        n_channels: Channels of the images.
        window_size: Label cells along each side of the images.

    Raises:
        UsageError: The network computes in a way that cannot be traced.
    """
    side = window_size * CELL_SIZE_PX
    example = torch.zeros(2, n_channels, side, side)
    windows = torch.export.Dim("windows", min=1)
    try:
        with torch.no_grad(), _silence():
            program = torch.export.export(model, (example,), dynamic_shapes={INPUT_NAME: {0: windows}})
    # The network's own code is run: whatever it raises is why it cannot be traced.
    except Exception as error:
        raise UsageError(f"The network cannot be exported: {_first_line(error)}.") from error
    # It would be kept in the file, and is larger than most networks.
    program.example_inputs = None
    return program


def write_pt2(program: torch.export.ExportedProgram, path: Path) -> None:
    """Write a traced model as PyTorch's own file, which ``torch.export.load`` reads."""
    with path.open("wb") as file:
        torch.export.save(program, file)


def write_onnx(
    program: torch.export.ExportedProgram, path: Path, channels: Sequence[Channel], esdseg_version: str
) -> None:
    """Write a traced model as ONNX, with the names of its channels and classes.

    Raises:
        UsageError: ONNX lacks an operation of the network.
    """
    try:
        with torch.no_grad(), _silence():
            written = torch.onnx.export(
                _without_adaptive_maxima(program),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
                verbose=False,
            )
    except Exception as error:
        raise UsageError(f"The network cannot be written as ONNX: {_first_line(error)}.") from error
    assert written is not None
    model = written.model
    for value in (*model.graph.inputs, *model.graph.outputs):
        assert value.shape is not None
        value.shape[0] = "windows"
    model.metadata_props.update(
        {
            "channels": ",".join(channel.name for channel in channels),
            "classes": ",".join(CLASS_NAMES),
            "esdseg": esdseg_version,
        }
    )
    written.save(path, external_data=False)


def open_onnx(path: Path) -> Network:
    """Return what ONNX Runtime makes of a file, on the processor."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(windows: Windows) -> npt.NDArray[np.float32]:
        (probabilities,) = session.run(None, {INPUT_NAME: windows})
        found: npt.NDArray[np.float32] = probabilities
        return found

    return run


def open_pt2(path: Path) -> Network:
    """Return what PyTorch makes of a file that :func:`write_pt2` just wrote, on the processor."""
    # esdseg reads no such file of a stranger: it holds a program.
    with path.open("rb") as file:
        model = torch.export.load(io.BytesIO(file.read())).module()

    def run(windows: Windows) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            probabilities: npt.NDArray[np.float32] = model(torch.from_numpy(windows)).numpy()
        return probabilities

    return run


def largest_difference(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    """Return the largest difference of two maps of probabilities; infinity where NaN lies elsewhere."""
    if not np.array_equal(np.isnan(found), np.isnan(expected)):
        return math.inf
    differences = np.abs(found - expected)
    return float(np.nanmax(differences, initial=0.0))


def refuse_difference(difference: float, name: str, most: float) -> None:
    """Refuse a file that does not say what the checkpoint says (``InputDataError``)."""
    if difference > most:
        shown = "which cells have data" if math.isinf(difference) else f"{difference:.2g} in probabilities"
        raise InputDataError(
            f"{name} differs from the checkpoint by {shown}, more than {most:g}: it was not written. Try "
            "another version of the packages (constraints.txt has those that were tested), and report this."
        )


def _without_adaptive_maxima(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Return the program with maxima over parts of unequal size, which ONNX lacks, in simpler operations."""
    adaptive = torch.ops.aten.adaptive_max_pool2d.default
    if not any(node.target == adaptive for node in program.graph.nodes):
        return program
    table: dict[Any, Callable[..., Any]] = {adaptive: _adaptive_maxima}
    return program.run_decompositions(table)


def _adaptive_maxima(image: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Do what ``torch.nn.functional.adaptive_max_pool2d`` does; positions of the maxima are not computed."""
    for axis, parts in ((-2, size[0]), (-1, size[1])):
        pixels = image.shape[axis]
        # The borders of the parts come again after this many.
        groups = math.gcd(pixels, parts)
        in_group, out_group = pixels // groups, parts // groups
        grouped = torch.unflatten(image, axis, (groups, in_group))
        starts = [part * in_group // out_group for part in range(out_group)]
        ends = [-(-(part + 1) * in_group // out_group) for part in range(out_group)]
        maxima = [
            grouped.narrow(axis, start, end - start).amax(axis)
            for start, end in zip(starts, ends, strict=True)
        ]
        image = torch.stack(maxima, dim=axis).flatten(axis - 1, axis)
    return image, torch.zeros_like(image, dtype=torch.int64)


@contextmanager
def _silence() -> Iterator[None]:
    """Keep what the exporters print and warn of from the user: nothing in it can be acted on."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _first_line(error: Exception) -> str:
    """Return why an export failed, in one line of at most 300 characters."""
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)  # type: ignore[arg-type]
    text = " ".join(str(causes[-1]).split()) or type(causes[-1]).__name__
    return text[:300].rstrip(".")
