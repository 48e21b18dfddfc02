import torch

from esdseg.models.device import BFLOAT16_CPU_FEATURES, choose_precision


def test_precision_of_this_processor_follows_its_instructions() -> None:
    capabilities = torch.cpu.get_capabilities()
    fast = any(capabilities.get(feature) for feature in BFLOAT16_CPU_FEATURES)
    assert choose_precision("auto", "cpu") == ("bf16-mixed" if fast else "32-true")


def test_a_setting_wins() -> None:
    assert choose_precision("bf16-mixed", "cpu") == "bf16-mixed"
    assert choose_precision("32-true", "gpu") == "32-true"
