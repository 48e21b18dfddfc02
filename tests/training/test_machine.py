import sys

import pytest
import torch

from esdseg.config.training import ESDConfig, TrainerConfig
from esdseg.errors import UsageError
from esdseg.training.machine import choose_machine


def test_wishes_win() -> None:
    trainer = TrainerConfig(accelerator="cpu", devices=2, num_nodes=3, precision="bf16-mixed")
    machine = choose_machine(ESDConfig(trainer=trainer))
    assert (machine.accelerator, machine.devices, machine.processes) == ("cpu", 2, 6)
    assert machine.precision == "bf16-mixed"


def test_the_cpu_is_one_device() -> None:
    machine = choose_machine(ESDConfig(trainer=TrainerConfig(accelerator="cpu")))
    assert (machine.devices, machine.processes) == (1, 1)


def test_a_notebook_trains_in_its_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    config = ESDConfig(trainer=TrainerConfig(accelerator="gpu", precision="32-true"))
    assert choose_machine(config).devices == 4
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert choose_machine(config).devices == 1


def test_half_precision_on_a_cpu_is_refused() -> None:
    with pytest.raises(UsageError, match="16-mixed needs a GPU"):
        choose_machine(ESDConfig(trainer=TrainerConfig(accelerator="cpu", precision="16-mixed")))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_named() -> None:
    with pytest.raises(UsageError, match="--accelerator gpu"):
        choose_machine(ESDConfig(trainer=TrainerConfig(accelerator="gpu")))
