"""Fitting models that judge each cell by its statistics: one pass over the training tiles, no epochs."""

from math import nan

import pytorch_lightning as pl
import torch

from esdseg.baselines.cell_classifier import CellClassifier
from esdseg.baselines.cell_gathering import known_cells, weigh_cells
from esdseg.config.training import ESDConfig
from esdseg.datasets.datamodule import SubtileDataModule
from esdseg.models.registry import fit_to_cells, is_fitted
from esdseg.training.callbacks import EpochEnd, StepListener
from esdseg.training.loss import SegmentationLoss
from esdseg.training.task import SegmentationTask

CELLS_AT_ONCE = 1024
"""Cells that are classified together where the training loss is computed."""


def applicable_settings(config: ESDConfig) -> ESDConfig:
    """Set aside what has no meaning for a model that is fitted in one go, by one process, unrounded."""
    if not is_fitted(config.model):
        return config
    trainer = {
        "max_epochs": 1,
        "devices": 1,
        "num_nodes": 1,
        "precision": "32-true",
        "weight_averaging": "none",
    }
    return config.model_copy(
        update={
            "trainer": config.trainer.model_copy(update=trainer),
            # Every subtile is read once, so none is worth keeping.
            "data": config.data.model_copy(update={"cache": "disk", "window_positions": "grid"}),
        }
    )


def fit_cells(
    trainer: pl.Trainer,
    task: SegmentationTask,
    data: SubtileDataModule,
    epoch_end: EpochEnd,
    on_step: StepListener | None,
) -> None:
    """Fit the task's model to the training cells, validate it and finish the run's only epoch.

    Args:
        trainer: Validates and writes the checkpoints, as for every model.
        task: Its model is fitted in place.
        data: The subtiles.
        epoch_end: Records the epoch.
        on_step: Called for each subtile that was read.
    """
    epoch_end.on_train_epoch_start(trainer, task)
    device = trainer.strategy.root_device
    dataset = data.train_dataset

    def tell(done: int, total: int) -> None:
        # The last step is the fit itself.
        if on_step is not None:
            on_step(1, done, total + 1)

    features, labels = known_cells(task.model.to(device), dataset, device, tell)
    task.model.to("cpu")
    loss = task.loss.cpu()
    network = task.model.network
    assert isinstance(network, CellClassifier)
    cells = weigh_cells(features, labels, loss.class_weights.double().numpy())
    fit_to_cells(network, task.config.model, cells, task.config.trainer.seed)
    tell(len(dataset) + 1, len(dataset))
    train_loss = _loss_of_cells(network, features, labels, loss)
    trainer.validate(task, datamodule=data, verbose=False)
    task.epoch_values["train_loss"] = train_loss
    task.learning_rate = nan
    epoch_end.on_train_epoch_end(trainer, task)


@torch.inference_mode()
def _loss_of_cells(
    network: CellClassifier, features: torch.Tensor, labels: torch.Tensor, loss: SegmentationLoss
) -> float:
    logits = [network.classify_cells(some) for some in torch.split(features, CELLS_AT_ONCE)]
    return float(loss(torch.cat(logits), labels))
