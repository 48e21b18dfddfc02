"""Sweeps over networks of the zoo and their settings."""

from pathlib import Path

import pytest

from esdseg.errors import ConfigError
from esdseg.sweeping.sweep_file import read_sweep

HEAD = "method: random\nmetric: {name: val_f1_macro, goal: maximize}\nrun_cap: 3\nparameters:\n"


def test_models_of_the_zoo_and_their_settings_are_searched_beside_others(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yml"
    path.write_text(
        HEAD + "  model: {values: [unet, 'smp:fpn/resnet18', 'smp:unet/resnet34']}\n"
        "  model.weights: {values: [none, imagenet]}\n"
        "  n_encoders: {values: [2, 3]}\n"
    )
    sweep = read_sweep(path).sweep
    assert sweep.models == ("unet", "smp:DECODER/ENCODER")
    config = sweep.config_at(
        {"model.name": "smp:fpn/resnet18", "model.weights": "none", "model.n_encoders": 2}
    )
    assert (config.model.name, config.model.model_dump()["weights"]) == ("smp:fpn/resnet18", "none")
    keys = {
        sweep.key_of(sweep.config_at({"model.name": name, "model.weights": weights, "model.n_encoders": 2}))
        for name in ("unet", "smp:fpn/resnet18", "smp:unet/resnet34")
        for weights in ("none", "imagenet")
    }
    assert len(keys) == 5, "a UNet from scratch ignores weights"


def test_a_wrong_encoder_among_the_values_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yml"
    path.write_text(HEAD + "  model: {values: ['smp:fpn/resnet18', 'smp:fpn/resnet81']}\n")
    with pytest.raises(ConfigError, match=r"sweep\.yml:5:\d+: .*unknown encoder 'resnet81'"):
        read_sweep(path)
