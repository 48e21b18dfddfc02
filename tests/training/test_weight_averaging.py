import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from esdseg.datasets.dataset import SubtileDataset
from esdseg.models.checkpoint import load_checkpoint
from esdseg.store.store import Store
from esdseg.training.callbacks import EpochReport
from esdseg.training.fit import fit
from esdseg.training.run_folder import FitResult
from esdseg.training.task import SegmentationTask
from esdseg.training.weight_averaging import weight_averaging
from tests.training.conftest import tiny_config
from tests.training.test_fit import read_checkpoint, validation_scores

State = dict[str, Tensor]


class Steps:
    """The weights after every optimizer step of a run, and its epochs."""

    def __init__(self) -> None:
        self.states: list[State] = []
        self.epochs: list[EpochReport] = []


def watched(
    monkeypatch: pytest.MonkeyPatch, processed_dir: Path, runs_dir: Path, **trainer: Any
) -> tuple[FitResult, Steps]:
    """Train four epochs of four steps and look at the weights after each."""
    steps = Steps()
    step = SegmentationTask.optimizer_step

    def record(task: SegmentationTask, *args: Any) -> None:
        step(task, *args)
        steps.states.append({name: value.clone() for name, value in task.model.state_dict().items()})

    monkeypatch.setattr(SegmentationTask, "optimizer_step", record)
    config = tiny_config(
        processed_dir, optimizer={"schedule": "constant"}, trainer={"max_epochs": 4, **trainer}
    )
    result = fit(config, checkpoints_dir=runs_dir, name="run", on_epoch=steps.epochs.append)
    assert len(steps.states) == 16
    return result, steps


def weights_of(path: Path) -> State:
    return dict(load_checkpoint(path).model.state_dict())


def parameters(state: State) -> State:
    return {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}


def test_checkpoints_hold_the_moving_average_and_validation_scored_it(
    monkeypatch: pytest.MonkeyPatch, processed_dir: Path, store: Store, tmp_path: Path
) -> None:
    result, steps = watched(monkeypatch, processed_dir, tmp_path, weight_averaging="ema", ema_epochs=1.5)
    # By hand: the mean of all steps, until 1/6 of the newest is more than its share of them.
    decay = math.exp(-1 / (1.5 * 4))
    average = parameters(steps.states[0])
    for number, state in enumerate(steps.states[1:], start=1):
        kept = min(decay, number / (number + 1))
        average = {name: kept * value + (1 - kept) * state[name] for name, value in average.items()}
    last = weights_of(result.last_checkpoint)
    for name, value in average.items():
        torch.testing.assert_close(last[name], value, msg=name)
    kept_on = read_checkpoint(result.last_checkpoint)["last_weights"]
    assert all(torch.equal(kept_on[f"model.{name}"], value) for name, value in steps.states[-1].items())
    assert not torch.equal(last["network.head.weight"], steps.states[-1]["network.head.weight"])
    _check_scores(result, steps, store)


def test_checkpoints_hold_the_mean_of_the_last_epochs_and_validation_scored_it(
    monkeypatch: pytest.MonkeyPatch, processed_dir: Path, store: Store, tmp_path: Path
) -> None:
    result, steps = watched(monkeypatch, processed_dir, tmp_path, weight_averaging="swa", swa_start=0.5)
    last = weights_of(result.last_checkpoint)
    names = [name for name, _ in load_checkpoint(result.last_checkpoint).model.named_parameters()]
    for name in names:
        expected = (steps.states[11][name] + steps.states[15][name]) / 2
        torch.testing.assert_close(last[name], expected, msg=name)
    _check_scores(result, steps, store)
    _check_first_batch_normalization(result.last_checkpoint, store)


def test_before_the_mean_begins_the_weights_are_kept_as_they_are(
    monkeypatch: pytest.MonkeyPatch, processed_dir: Path, tmp_path: Path
) -> None:
    result, steps = watched(monkeypatch, processed_dir, tmp_path, weight_averaging="swa", swa_start=0.9)
    last = weights_of(result.last_checkpoint)
    assert all(torch.equal(last[name], value) for name, value in steps.states[-1].items())


def _check_scores(result: FitResult, steps: Steps, store: Store) -> None:
    """What was logged is what the checkpoint scores, so validation saw the average."""
    for name, value in validation_scores(result.last_checkpoint, store).items():
        if name in steps.epochs[-1].metrics:
            np.testing.assert_allclose(steps.epochs[-1].metrics[name], value, atol=1e-6, err_msg=name)


def _check_first_batch_normalization(checkpoint: Path, store: Store) -> None:
    """Its statistics are those of what it is given of all training tiles."""
    loaded = load_checkpoint(checkpoint)
    dataset = SubtileDataset(store, store.tile_names("train"), loaded.channels)
    first = next(module for module in loaded.model.modules() if isinstance(module, nn.BatchNorm2d))
    seen: list[Tensor] = []
    first.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    with torch.inference_mode():
        for index in range(len(dataset)):
            loaded.model(dataset[index]["pixels"][0][None])
    assert first.running_mean is not None
    torch.testing.assert_close(torch.cat(seen).mean(dim=(0, 2, 3)), first.running_mean, rtol=1e-4, atol=1e-5)


def test_no_averaging_adds_nothing(processed_dir: Path) -> None:
    assert weight_averaging(tiny_config(processed_dir).trainer) == []
