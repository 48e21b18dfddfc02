"""``export``: from a trained run to one zip that others can use, with esdseg and without it."""

import json
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from pydantic import JsonValue

from esdseg import __version__
from esdseg.config.evaluation import RestitchConfig
from esdseg.metrics.score_table import TextTable
from esdseg.models.bundle import (
    DESCRIPTION_NAME,
    BundleDescription,
    BundledRun,
    bundle_of,
    read_bundled,
)
from esdseg.models.checkpoint import NetworkCheckpoint
from esdseg.prediction.calibration import temper
from esdseg.prediction.open_checkpoints import open_runs
from esdseg.prediction.windows import CELLS_AT_ONCE_CPU, choose_device, place_model, predict_together
from esdseg.sensors.classes import CELL_SIZE_PX, GRID_SIZE, TILE_SIZE_PX
from esdseg.sharing.formats import (
    Network,
    SharedModel,
    largest_difference,
    open_onnx,
    open_pt2,
    refuse_difference,
    require_network,
    trace,
    write_onnx,
    write_pt2,
)
from esdseg.sharing.inputs import INPUTS_NAME, describe_inputs, why_rasters_need_esdseg
from esdseg.sharing.model_card import write_card
from esdseg.sharing.request import check_request
from esdseg.sharing.shared_network import SharedNetwork, gather
from esdseg.sharing.stac_item import ITEM_NAME, describe_item
from esdseg.system.files import make_folder, naming_write_faults, remove_folder, write_text, write_whole
from esdseg.system.locks import exclusive_writer
from esdseg.system.processes import ItemListener, ignore

MOST_DIFFERENCE = 1e-3
"""Largest difference in probabilities between a file and the checkpoint with which it is written."""

ONNX_NAME, PT2_NAME, CARD_NAME, SCRIPT_NAME = "model.onnx", "model.pt2", "README.md", "predict.py"

MADE_UP_TILES = 2
"""Tiles of noise that stand in where there is no store."""


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Attributes:
        path: The zip.
        checkpoints: What was shared.
        sizes: Bytes of each file in the zip, by name.
        differences: Largest difference in probabilities between a file and the checkpoints, by name.
        checked_on: What they were compared on, in words.
        scores: The ``metrics.json`` that the model card shows; ``None`` where there is none.
        notes: What to keep in mind.
    """

    path: Path
    checkpoints: tuple[str, ...]
    sizes: Mapping[str, int]
    differences: Mapping[str, float]
    checked_on: str
    scores: Path | None
    notes: tuple[str, ...]

    def table(self) -> TextTable:
        """Return a row a file."""
        rows = tuple(
            (name, f"{size:,}", f"{self.differences[name]:.1e}" if name in self.differences else "")
            for name, size in self.sizes.items()
        )
        return TextTable(str(self.path), ("file", "bytes", "largest difference"), rows)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the result as plain values."""
        return {
            "path": str(self.path),
            "checkpoints": list(self.checkpoints),
            "files": dict(self.sizes),
            "differences": dict(self.differences),
            "checked_on": self.checked_on,
            "scores": str(self.scores) if self.scores is not None else None,
            "notes": list(self.notes),
        }


def export(
    runs: Sequence[str],
    out: Path,
    *,
    ensemble: int | None = None,
    checkpoints_dir: Path = Path("checkpoints"),
    processed_dir: Path | None = None,
    predictions_dir: Path = Path("predictions"),
    scores: str | None = None,
    license: str = "unknown",
    on_step: ItemListener = ignore,
) -> ExportResult:
    """Write a bundle: the network as ONNX and as PyTorch's program, its checkpoint, its card, and a script.

    Both files are compared with the checkpoint on the run's validation tiles before anything is written.

    Args:
        runs: Names of runs or checkpoints; several, or all folds of one, predict together.
        out: The zip; a bundle that is there is replaced.
        ensemble: How many of a sweep's best trials.
        checkpoints_dir: Folder of the runs.
        processed_dir: Folder of the processed data; where the run was trained unless given.
        predictions_dir: Folder of all results, in which scores and ablation of the run are looked for.
        scores: Name of the evaluation whose scores the card shows; looked for unless given.
        license: Identifier of the licence of the weights, as Hugging Face spells it.
        on_step: Receives each finished step, and each tile that was compared.

    Raises:
        UsageError: The model cannot be exported, or ``out`` is no zip, or holds something else.
        InputDataError: A checkpoint, store or evaluation is missing, damaged or does not fit; or a file says
            something else than the checkpoint.
        MissingResourceError: A package of the extra ``export`` is missing, or there is no space left.
    """
    check_request(out, license)
    config = RestitchConfig(
        checkpoint=tuple(runs),
        ensemble=ensemble,
        checkpoints_dir=checkpoints_dir,
        predictions_dir=predictions_dir,
        accelerator="cpu",
        precision="32-true",
    )
    opened = open_runs(config)
    for run in opened:
        for checkpoint in run.checkpoints:
            require_network(checkpoint)
    network = gather(opened, config, processed_dir, scores, license)
    with _working_folder(out) as folder:
        written = _write_networks(network, folder, on_step)
        checked_on, differences = _compare(network, written, on_step)
        for name, difference in differences.items():
            refuse_difference(difference, name, MOST_DIFFERENCE)
        names = _write_descriptions(network, folder, differences, checked_on)
        sizes = _pack(network, folder, names, out)
    notes = []
    if network.card is None:
        notes.append("The card has no scores, since no evaluation of exactly this checkpoint was found.")
    if network.license == "unknown":
        notes.append("Nobody may use the weights until you say under which licence: --license cc-by-4.0.")
    checkpoints = tuple(str(run.path) for run in opened)
    return ExportResult(out, checkpoints, sizes, differences, checked_on, network.card_path, tuple(notes))


@contextmanager
def _working_folder(out: Path) -> Iterator[Path]:
    """Provide a folder beside the zip for its files, which is gone at the end."""
    folder = out.with_name(f".{out.name}.files")
    make_folder(out.parent, "choose another place for the zip")
    with exclusive_writer(folder, "choose another name"):
        try:
            yield folder
        finally:
            remove_folder(folder)


def _write_networks(network: SharedNetwork, folder: Path, on_step: ItemListener) -> dict[str, Network]:
    """Write the network in both formats, and open both as others will."""
    model = SharedModel(network.checkpoints, network.channels, network.window_size, network.temperature)
    on_step("tracing the network", 0, 0)
    program = trace(model, len(network.channels), network.window_size)
    on_step(f"writing {PT2_NAME}", 0, 0)
    with naming_write_faults(folder / PT2_NAME):
        write_pt2(program, folder / PT2_NAME)
    on_step(f"writing {ONNX_NAME}", 0, 0)
    with naming_write_faults(folder / ONNX_NAME):
        write_onnx(program, folder / ONNX_NAME, network.channels, __version__)
    return {ONNX_NAME: open_onnx(folder / ONNX_NAME), PT2_NAME: open_pt2(folder / PT2_NAME)}


def _compare(
    network: SharedNetwork, written: Mapping[str, Network], on_step: ItemListener
) -> tuple[str, dict[str, float]]:
    """Return what the files were compared with the checkpoints on, and the largest difference of each."""
    tiles = network.known_tiles(trained=False)
    if network.store is not None and tiles:
        checked_on = f"the run's {len(tiles)} validation tile{'' if len(tiles) == 1 else 's'}"
        images = _read_tiles(network, tiles)
        number = len(tiles)
    else:
        why = network.why_no_store or "the store lacks the validation tiles"
        checked_on = f"{MADE_UP_TILES} tiles of noise around the mean of each channel, since {why}"
        images, number = _make_up_tiles(network), MADE_UP_TILES
    differences = dict.fromkeys(written, 0.0)
    for done, image in enumerate(images, 1):
        expected = _predict(network, image)
        for name, run in written.items():
            found = _run_windows(run, image, network.window_size)
            differences[name] = max(differences[name], largest_difference(found, expected))
        on_step("comparing", done, number)
    return checked_on, differences


def _read_tiles(network: SharedNetwork, tiles: Sequence[str]) -> Iterator[npt.NDArray[np.float32]]:
    assert network.store is not None
    for tile in tiles:
        positions = network.store.positions(tile, network.channels)
        yield network.store.read_tile(tile, positions).astype(np.float32)


def _make_up_tiles(network: SharedNetwork) -> Iterator[npt.NDArray[np.float32]]:
    """Yield noise (C, 800, 800) around each channel's training mean; some of it is no data."""
    mean = np.zeros((len(network.channels), 1, 1), np.float32)
    std = np.ones_like(mean)
    for checkpoint in network.checkpoints:
        assert isinstance(checkpoint, NetworkCheckpoint)
        layer = checkpoint.model.normalization
        for own, channel in enumerate(checkpoint.channels):
            scale = float(layer.scale[own])
            position = network.channels.index(channel)
            mean[position], std[position] = float(layer.shift[own]), 1 / scale if scale else 0.0
    generator = np.random.default_rng(0)
    for _ in range(MADE_UP_TILES):
        noise = generator.standard_normal((len(mean), TILE_SIZE_PX, TILE_SIZE_PX), np.float32)
        image = (mean + std * noise).astype(np.float16).astype(np.float32)
        missing = generator.random((len(mean), GRID_SIZE, GRID_SIZE)) < 0.1
        image[np.kron(missing, np.ones((1, CELL_SIZE_PX, CELL_SIZE_PX), np.bool_))] = np.nan
        yield image


def _predict(network: SharedNetwork, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the probabilities (4, 16, 16) that ``esdseg restitch`` writes of a tile's channels."""
    device = choose_device("cpu", "32-true")
    for checkpoint in network.checkpoints:
        place_model(checkpoint, device)
    _, mean, _ = predict_together(network.checkpoints, torch.from_numpy(image), device)
    return mean if network.temperature == 1 else temper(mean, network.temperature)


def _run_windows(run: Network, image: npt.NDArray[np.float32], window_size: int) -> npt.NDArray[np.float32]:
    """Return probabilities (4, 16, 16) of a tile whose windows go through a file a few at a time."""
    side, windows_a_side = window_size * CELL_SIZE_PX, GRID_SIZE // window_size
    windows = image.reshape(len(image), windows_a_side, side, windows_a_side, side)
    windows = windows.transpose(1, 3, 0, 2, 4).reshape(-1, len(image), side, side)
    step = max(1, CELLS_AT_ONCE_CPU // window_size**2)
    parts = [
        run(np.ascontiguousarray(windows[first : first + step])) for first in range(0, len(windows), step)
    ]
    cells = np.concatenate(parts).reshape(windows_a_side, windows_a_side, -1, window_size, window_size)
    return cells.transpose(2, 0, 3, 1, 4).reshape(-1, GRID_SIZE, GRID_SIZE)


def _write_descriptions(
    network: SharedNetwork, folder: Path, differences: Mapping[str, float], checked_on: str
) -> list[str]:
    """Write all that says what the network is, and return the names of the bundle's files in their order."""
    why_no_script = why_rasters_need_esdseg(network.checkpoints)
    script = [SCRIPT_NAME] if why_no_script is None else []
    names = [CARD_NAME, ONNX_NAME, PT2_NAME, *script, INPUTS_NAME, DESCRIPTION_NAME]
    if script:
        shutil.copyfile(Path(__file__).with_name(SCRIPT_NAME), folder / SCRIPT_NAME)
    inputs = describe_inputs(network.checkpoints, network.channels, network.window_size)
    write_text(folder / INPUTS_NAME, _as_json(inputs))
    write_text(folder / CARD_NAME, write_card(network, differences, checked_on, why_no_script))
    write_text(folder / DESCRIPTION_NAME, _describe_bundle(network).model_dump_json(indent=2) + "\n")
    item = describe_item(network, names, datetime.now(UTC))
    write_text(folder / ITEM_NAME, _as_json(item))
    return [*names[:-1], ITEM_NAME, names[-1]]


def _as_json(content: Mapping[str, JsonValue]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _describe_bundle(network: SharedNetwork) -> BundleDescription:
    names = iter(network.names_in_bundle())
    runs = tuple(
        BundledRun(
            name=_folder_name(run.name),
            checkpoints=tuple(next(names) for _ in run.checkpoints),
            is_trial=run.is_trial,
        )
        for run in network.runs
    )
    return BundleDescription(esdseg=__version__, runs=runs)


def _folder_name(run: str) -> str:
    """Return a run's name as that of a folder, which a stranger's checkpoint need not have."""
    return re.sub(r"[^\w.+=-]", "-", run).strip(".-") or "network"


def _pack(network: SharedNetwork, folder: Path, names: Sequence[str], out: Path) -> dict[str, int]:
    """Write the zip in one step, checkpoints and networks as they are, and return the size of each file."""
    sizes = {}

    def write(part: Path) -> None:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            for name in names:
                archive.write(folder / name, name)
                sizes[name] = (folder / name).stat().st_size
            for name, checkpoint in network.names_in_bundle().items():
                bundle = bundle_of(checkpoint.path)
                if bundle is None:
                    archive.write(checkpoint.path, name)
                else:
                    archive.writestr(name, read_bundled(checkpoint.path, bundle).getvalue())
                sizes[name] = archive.getinfo(name).file_size

    write_whole(out, write)
    return sizes
