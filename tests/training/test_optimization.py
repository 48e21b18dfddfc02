from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from esdseg.config.training import OptimizerConfig, TrainerConfig
from esdseg.models.checkpoint import load_checkpoint
from esdseg.training.callbacks import EpochReport
from esdseg.training.fit import fit
from esdseg.training.optimization import build_optimizer, build_schedule
from tests.training.conftest import tiny_config

STEPS = 4


def rates(schedule: str, warmup_epochs: float, epochs: int = 5, **trainer: object) -> list[float]:
    """The rate of each step, while the monitored metric never gets better after the first epoch."""
    config = OptimizerConfig.model_validate(
        {"schedule": schedule, "warmup_epochs": warmup_epochs, "learning_rate": 0.5, "name": "sgd"}
    )
    settings = TrainerConfig.model_validate({"max_epochs": epochs, "monitor": "val_f1_macro", **trainer})
    parameter = nn.Parameter(torch.ones(1))
    optimizer = build_optimizer(config, nn.ParameterList([parameter]), "32-true")
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
    module = nn.ParameterList([parameter])
    given_rate = OptimizerConfig.model_validate({"name": name, "learning_rate": 0.1})
    default = build_optimizer(given_rate, module, "32-true")
    assert type(default) is kind
    assert default.param_groups[0]["weight_decay"] == decay
    config = OptimizerConfig.model_validate(
        {"name": name, "learning_rate": 0.1, "weight_decay": 0.3, "momentum": 0.7}
    )
    given = build_optimizer(config, nn.ParameterList([parameter]), "32-true")
    assert given.param_groups[0]["weight_decay"] == 0.3
    assert given.param_groups[0].get("momentum", 0.7) == 0.7


def test_gradients_are_clipped_in_every_step_of_mixed_precision(processed_dir: Path, tmp_path: Path) -> None:
    states: list[dict[str, Tensor]] = []

    def keep(report: EpochReport) -> None:
        model = load_checkpoint(tmp_path / "run" / "last.ckpt").model
        states.append({name: value.detach().clone() for name, value in model.named_parameters()})

    config = tiny_config(
        processed_dir,
        optimizer={"name": "sgd", "momentum": 0, "schedule": "constant", "learning_rate": 1},
        trainer={"precision": "bf16-mixed", "gradient_clip_norm": 1e-3},
    )
    fit(config, checkpoints_dir=tmp_path, name="run", on_epoch=keep)
    first, second = states
    moved = torch.cat([(second[name] - first[name]).flatten() for name in first]).norm()
    assert 1e-3 < moved <= 4 * 1.001e-3, "four steps at a rate of 1"


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_one_kernel_makes_the_steps_of_many_except_in_half_precision(name: str) -> None:
    config = OptimizerConfig.model_validate({"name": name, "learning_rate": 0.1, "weight_decay": 0.1})
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(50, generator=generator)
    one, many = (nn.Parameter(start.clone()) for _ in range(2))
    fused = build_optimizer(config, nn.ParameterList([one]), "bf16-mixed")
    plain = build_optimizer(config, nn.ParameterList([many]), "16-mixed")
    assert (fused.param_groups[0]["fused"], plain.param_groups[0]["fused"]) == (True, False)
    for _ in range(5):
        one.grad = torch.randn(50, generator=generator)
        many.grad = one.grad.clone()
        fused.step()
        plain.step()
    torch.testing.assert_close(one, many)
    assert (one - start).abs().max() > 0.1
