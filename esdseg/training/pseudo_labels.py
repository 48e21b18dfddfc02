"""Labels of a run for the tiles that have none (``data.pseudo_labels``), so that another learns from them.

This is self-training with a fixed threshold on the probability, as in FixMatch (arXiv:2001.07685), but with
labels that are predicted once, before the training.
"""

from pathlib import Path

import numpy as np
from pytorch_lightning.utilities import rank_zero_only

from esdseg.baselines.checkpoint import open_checkpoint
from esdseg.datasets.datamodule import SubtileDataModule
from esdseg.errors import InputDataError
from esdseg.models.checkpoint import LoadedCheckpoint
from esdseg.models.runs import resolve_checkpoint
from esdseg.models.tensor_file import digest_file
from esdseg.prediction.channel_share import show_share
from esdseg.prediction.known_tiles import note_known_tiles
from esdseg.prediction.open_checkpoints import check_store
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.prediction.windows import choose_device, predict_tiles
from esdseg.sensors.classes import UNKNOWN_LABEL
from esdseg.store.tile_store import LabelArray
from esdseg.system.processes import ItemListener
from esdseg.training.run_folder import RunFolder
from esdseg.training.wandb_connection import NoteListener

SURE_PROBABILITY = 0.8
"""Probability of a cell's most probable class from which the class becomes the cell's label."""


def label_tiles(
    data: SubtileDataModule,
    run: RunFolder,
    checkpoints_dir: Path,
    on_step: ItemListener,
    on_note: NoteListener,
) -> None:
    """Let a training learn from the tiles without labels too, where its settings name a run that labels them.

    The labels are kept nowhere: a resumed run predicts them again, by the same checkpoint.

    Args:
        data: The tiles; those without labels become training tiles.
        run: The run that is trained.
        checkpoints_dir: Folder in which the run that labels is looked up by its name.
        on_step: Receives each tile that was labelled.
        on_note: Called with how much was labelled, and which tiles that score this run the other one knows.

    Raises:
        InputDataError: The store has no tile without labels; the run that labels is missing, does not fit the
            store, or has changed since the resumed run began.
        UsageError: The machine lacks the accelerator that the settings name.
    """
    name, trainer = run.config.data.pseudo_labels, run.config.trainer
    if name is None:
        return
    tiles = data.unlabelled_tiles
    if not tiles:
        raise InputDataError(
            f"data.pseudo_labels={name} labels tiles without labels, and {data.store.path} has none; put raw "
            "tiles without groundTruth.tif beside the others and write the store anew by your `esdseg "
            "preprocess` command with --overwrite, or leave the setting out."
        )
    path = resolve_checkpoint(name, checkpoints_dir)
    checkpoint, digest = open_checkpoint(path), digest_file(path)
    check_store(checkpoint, data.store)
    if run.progress is not None and run.progress.metadata.labelled_by != digest:
        raise InputDataError(
            f"{path} has changed since the run {run.path} began, so that it labels tiles otherwise; put it "
            "back as it was, or start a new run without --resume."
        )
    labels: dict[str, LabelArray] = {}
    device = choose_device(trainer.accelerator, trainer.precision)
    for prediction in predict_tiles([checkpoint], data.store, tiles, device):
        labels[prediction.tile] = confident_labels(prediction)
        # Without a total: these are no steps of the training.
        on_step(f"labelling {prediction.tile}", 0, 0)
    if rank_zero_only.rank == 0:
        for note in _notes(checkpoint, data, labels, is_resumed=run.progress is not None):
            on_note(note)
    data.add_train_tiles(labels, digest)


def confident_labels(prediction: TilePrediction) -> LabelArray:
    """Return the class indices (16, 16) of a tile's cells, 255 where none has :data:`SURE_PROBABILITY`."""
    is_sure = prediction.probabilities.max(axis=0) >= SURE_PROBABILITY
    return np.where(is_sure, prediction.classes, UNKNOWN_LABEL).astype(np.uint8)


def _notes(
    checkpoint: LoadedCheckpoint, data: SubtileDataModule, labels: dict[str, LabelArray], *, is_resumed: bool
) -> tuple[str, ...]:
    is_known = np.stack(list(labels.values())) != UNKNOWN_LABEL
    tiles = "1 tile" if len(labels) == 1 else f"{len(labels)} tiles"
    again = ", once more for --resume" if is_resumed else ""
    labelled = (
        f"{checkpoint.run_name} labelled {is_known.sum():,} cells of {tiles} without labels{again}; "
        f"{show_share(1 - float(is_known.mean()))} of their cells stay unknown."
    )
    known = note_known_tiles(
        checkpoint.metadata,
        data.store,
        (*data.val_tiles, *data.held_out_tiles),
        learned=f"{checkpoint.run_name}, which labels tiles here, has learned from",
        advice="Let a run on other tiles label.",
    )
    return labelled, *known
