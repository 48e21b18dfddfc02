import pytest
import torch

from esdseg.errors import UsageError
from esdseg.prediction.device import choose_device


def test_float32_on_a_cpu_computes_without_autocast() -> None:
    device = choose_device("cpu", "32-true")

    with device.autocast():
        assert not torch.is_autocast_enabled("cpu")
    assert device.torch_device == torch.device("cpu")


def test_bfloat16_computes_under_autocast() -> None:
    with choose_device("cpu", "bf16-mixed").autocast():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == torch.bfloat16


def test_float16_needs_a_gpu() -> None:
    with pytest.raises(UsageError, match="bf16-mixed or 32-true"):
        choose_device("cpu", "16-mixed")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_named() -> None:
    assert choose_device("auto", "32-true").torch_device.type in ("cpu", "mps")
    with pytest.raises(UsageError, match="--accelerator gpu"):
        choose_device("gpu", "auto")
