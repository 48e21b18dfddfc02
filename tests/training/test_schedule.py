import pytest
import torch
from torch import nn

from esdseg.config.training import OptimizerConfig, TrainerConfig
from esdseg.training.schedule import build_optimizer, build_schedule

STEPS = 4


def rates(schedule: str, warmup_epochs: float, epochs: int = 5, **trainer: object) -> list[float]:
    """The rate of each step, while the monitored metric never gets better after the first epoch."""
    config = OptimizerConfig.model_validate(
        {"schedule": schedule, "warmup_epochs": warmup_epochs, "learning_rate": 0.5, "name": "sgd"}
    )
    settings = TrainerConfig.model_validate({"max_epochs": epochs, **trainer})
    parameter = nn.Parameter(torch.ones(1))
    optimizer = build_optimizer(config, [parameter])
    built = build_schedule(optimizer, config, settings, STEPS)
    seen = []
    for _ in range(epochs):
        for _ in range(STEPS):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            built.by_step.step()
        if built.by_epoch is not None:
            built.by_epoch.step(0.5)
    return seen


def test_constant_rises_in_equal_steps_and_stays() -> None:
    assert rates("constant", 1.0) == pytest.approx([0.125, 0.25, 0.375] + [0.5] * 17)


def test_warmup_may_be_part_of_an_epoch_or_nothing() -> None:
    assert rates("constant", 0.5)[:3] == pytest.approx([0.25, 0.5, 0.5])
    assert rates("constant", 0.0) == pytest.approx([0.5] * 20)


def test_cosine_is_pytorchs_after_the_warmup() -> None:
    parameter = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=16)
    expected = []
    for _ in range(16):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    assert rates("cosine", 1.0)[4:] == pytest.approx(expected)


def test_a_warmup_longer_than_the_run_never_falls() -> None:
    assert rates("cosine", 100.0, epochs=2) == pytest.approx([0.5 * step / 8 for step in range(1, 9)])


def test_plateau_divides_by_ten_after_a_quarter_of_the_patience() -> None:
    by_epoch = rates("plateau", 1.0, epochs=7, patience=8)[STEPS - 1 :: STEPS]
    assert by_epoch == pytest.approx([0.5, 0.5, 0.5, 0.05, 0.05, 0.005, 0.005])


@pytest.mark.parametrize(
    ("name", "kind", "decay"),
    [("adam", torch.optim.Adam, 0.0), ("adamw", torch.optim.AdamW, 0.01), ("sgd", torch.optim.SGD, 0.0)],
)
def test_optimizers_and_their_weight_decay(name: str, kind: type, decay: float) -> None:
    parameter = nn.Parameter(torch.ones(1))
    default = build_optimizer(
        OptimizerConfig.model_validate({"name": name, "learning_rate": 0.1}), [parameter]
    )
    assert type(default) is kind
    assert default.param_groups[0]["weight_decay"] == decay
    config = OptimizerConfig.model_validate(
        {"name": name, "learning_rate": 0.1, "weight_decay": 0.3, "momentum": 0.7}
    )
    given = build_optimizer(config, [parameter])
    assert given.param_groups[0]["weight_decay"] == 0.3
    assert given.param_groups[0].get("momentum", 0.7) == 0.7
