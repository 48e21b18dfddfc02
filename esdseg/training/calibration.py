"""Calibration of a finished run: a temperature and a threshold for each of its checkpoints.

Both are chosen on the validation tiles: a fold's inner tiles, else those of Val/. A network is
overconfident on its training tiles, so these do not choose. The tiles that a fold holds out and those of
Test/ stay unseen. Where the choosing tiles are scored, ``evaluate`` says so.
"""

import filecmp
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader

from esdseg.datasets.datamodule import SubtileDataModule
from esdseg.datasets.dataset import SubtileDataset
from esdseg.metrics.calibration import best_threshold, fit_temperature
from esdseg.models.checkpoint import METADATA_KEY, CheckpointMetadata, SegmentationModel, load_checkpoint
from esdseg.models.device import choose_torch_device
from esdseg.models.tensor_file import read_torch_file
from esdseg.sensors.classes import CONTEST_CLASS, NUM_CLASSES
from esdseg.system.files import naming_write_faults, part_path, put_in_place
from esdseg.training.machine import Machine
from esdseg.training.run_folder import RunFolder, copy_checkpoint


def calibrate_run(run: RunFolder, data: SubtileDataModule, machine: Machine) -> None:
    """Choose and store temperature and threshold of the best and of the last checkpoint.

    Args:
        run: The trained run.
        data: The subtiles; those of the validation tiles choose.
        machine: Where to compute.
    """
    device = choose_torch_device(machine.accelerator)
    best, last = run.best_checkpoint, run.last_checkpoint
    are_one = best.is_file() and filecmp.cmp(best, last, shallow=False)
    if best.is_file():
        calibrate_checkpoint(best, data.val_dataset, data.batch_size, device)
    if are_one:
        copy_checkpoint(best, last)
    else:
        calibrate_checkpoint(last, data.val_dataset, data.batch_size, device)


def calibrate_checkpoint(
    path: Path, choosing: SubtileDataset, batch_size: int, device: torch.device
) -> CheckpointMetadata:
    """Choose a checkpoint's temperature and threshold, and write it anew with them.

    Returns:
        What the checkpoint now says of itself.
    """
    loaded = load_checkpoint(path)
    truth, logits = predict_logits(loaded.model.to(device), choosing, batch_size, device)
    metadata = calibrate_metadata(loaded.metadata, truth, logits)
    content: Any = read_torch_file(path, "checkpoint")
    content[METADATA_KEY] = metadata.model_dump(mode="json")
    with naming_write_faults(path, part_path(path)):
        torch.save(content, part_path(path))
        put_in_place(path)
    return metadata


def calibrate_metadata(
    metadata: CheckpointMetadata, truth: npt.NDArray[np.int64], logits: npt.NDArray[np.float32]
) -> CheckpointMetadata:
    """Return the metadata with the temperature and the threshold that fit the given cells best.

    Args:
        metadata: Of a checkpoint.
        truth: Class indices (cells,), 255 where unknown.
        logits: What the checkpoint says of the cells, (cells, 4).
    """
    temperature = fit_temperature(truth, logits)
    # As prediction computes them.
    probabilities = torch.softmax(torch.from_numpy(logits) / temperature, dim=1).numpy()
    return metadata.model_copy(
        update={
            "temperature": temperature,
            "contest_threshold": best_threshold(truth, probabilities[:, CONTEST_CLASS.index]),
            "is_calibrated": True,
        }
    )


@torch.inference_mode()
def predict_logits(
    model: SegmentationModel, dataset: SubtileDataset, batch_size: int, device: torch.device
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Predict all cells of a dataset, in full precision.

    Args:
        model: In evaluation mode, on the device.
        dataset: The subtiles, of which it takes the model's grids.
        batch_size: Subtiles predicted at once.
        device: Where to compute.

    Returns:
        Class indices (cells,), 255 where unknown, and logits (cells, 4).
    """
    truth, logits = [], []
    for batch in DataLoader(dataset, batch_size=batch_size, shuffle=False):
        predicted = model.classify_stored([grid.to(device) for grid in batch["pixels"]]).cpu()
        truth.append(batch["label"].flatten().cpu())
        logits.append(predicted.movedim(1, -1).reshape(-1, NUM_CLASSES))
    return torch.cat(truth).numpy(), torch.cat(logits).numpy()
