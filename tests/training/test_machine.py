import pytest
import torch

from esdseg.config.training import TrainerConfig
from esdseg.errors import UsageError
from esdseg.training.machine import choose_machine


def test_wishes_win() -> None:
    machine = choose_machine(
        TrainerConfig(
            accelerator="cpu", devices=2, num_nodes=3, precision="bf16-mixed", memory_format="contiguous"
        )
    )
    assert (machine.accelerator, machine.devices, machine.processes) == ("cpu", 2, 6)
    assert machine.precision == "bf16-mixed"
    assert machine.memory_format == torch.contiguous_format


def test_the_cpu_is_one_device_with_channels_last() -> None:
    machine = choose_machine(TrainerConfig(accelerator="cpu"))
    assert (machine.devices, machine.processes) == (1, 1)
    assert machine.memory_format == torch.channels_last


def test_half_precision_on_a_cpu_is_refused() -> None:
    with pytest.raises(UsageError, match="16-mixed needs a GPU"):
        choose_machine(TrainerConfig(accelerator="cpu", precision="16-mixed"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_named() -> None:
    with pytest.raises(UsageError, match="--accelerator gpu"):
        choose_machine(TrainerConfig(accelerator="gpu"))
