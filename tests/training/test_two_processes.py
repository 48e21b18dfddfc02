"""The installed command with two processes on the CPU."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from esdseg.config.loading import dump_config
from esdseg.datasets.dataset import SubtileDataset
from esdseg.metrics.torch_metrics import SegmentationMetrics
from esdseg.models.checkpoint import load_checkpoint
from esdseg.store.manifest import SplitName
from esdseg.training.loss import SegmentationLoss
from tests.datasets.make_store import CHANNELS, make_store
from tests.training.conftest import tiny_config

LOSS = {"terms": {"cross_entropy": 1.0, "dice": 1.0}, "class_weights": "none"}
ESDSEG = Path(sys.executable).with_name("esdseg")


def test_two_processes_train_and_score_each_fold_like_one(tmp_path: Path) -> None:
    split: dict[str, SplitName] = {f"Tile{number}": "train" for number in range(1, 11)}
    store = make_store(tmp_path / "p", split=split, subtile_size=16, channels=CHANNELS[2:3])
    config = tiny_config(
        tmp_path / "p",
        data={"batch_size": 1},
        folds={"inner_parts": 2},
        trainer={"devices": 2, "weight_averaging": "ema"},
        loss=LOSS,
    )
    (tmp_path / "run.yml").write_text(dump_config(config))
    finished = subprocess.run(
        [
            ESDSEG,
            "train",
            "--config",
            "run.yml",
            "--checkpoints-dir",
            "runs",
            "--folds",
            "2",
            "--name",
            "two",
        ],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "LOCAL_RANK"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    # Each epoch and the results are told by one of the two.
    assert [finished.stderr.count(f"Fold {number} of 2") for number in (1, 2)] == [1, 1]
    assert finished.stderr.count("Epoch 2/2") == 2, finished.stderr
    assert finished.stdout.count("2 folds") == 1, finished.stdout
    assert "Warning" not in finished.stderr
    runs = sorted((tmp_path / "runs").iterdir())
    assert [run.name for run in runs] == ["two-fold1of2", "two-fold2of2"]
    assert len(list((tmp_path / "predictions").glob("*/metrics.json"))) == 1

    # Three validation subtiles cannot be shared evenly: a sampler that pads would count one of them twice.
    loaded, checkpoint = next(
        (loaded, run / "last.ckpt")
        for run in runs
        if len((loaded := load_checkpoint(run / "last.ckpt")).metadata.val_tiles) == 3
    )
    with (checkpoint.parent / "metrics.csv").open() as file:
        row = list(csv.DictReader(file))[-1]
    # Two training subtiles, one a process: one step an epoch.
    assert torch.load(checkpoint, weights_only=True)["global_step"] == 2
    dataset = SubtileDataset(store, loaded.metadata.val_tiles, loaded.channels)
    metrics = SegmentationMetrics()
    with torch.inference_mode():
        samples = [dataset[index] for index in range(len(dataset))]
        logits = torch.cat([loaded.model(sample["pixels"][0][None]) for sample in samples])
        labels = torch.stack([sample["label"] for sample in samples])
    metrics.update(logits, labels)
    assert metrics.confusion_matrix.sum() == 3 * 256
    for name, value in metrics.compute().items():
        logged = float(row[f"val_{name}"] or "nan")
        np.testing.assert_allclose(logged, value, rtol=1e-6, err_msg=name)
    # The overlap of dice is that of all cells, not a mean of the processes' or batches' own.
    loss = SegmentationLoss(config.loss, torch.ones(4))
    np.testing.assert_allclose(float(row["val_loss"]), float(loss(logits, labels)), rtol=1e-5)
