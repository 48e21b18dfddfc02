"""Names of decoders, encoders and weights: what is taken, and what is refused with which fix."""

import subprocess
import sys
from pathlib import Path

import pytest

from esdseg.config.loading import dump_config, load_config
from esdseg.config.training import ESDConfig
from esdseg.config.zoo import SMPConfig, encoder_names
from esdseg.errors import ConfigError


def complaint(*assignments: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(ESDConfig, assignments=assignments)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_name_holds_decoder_and_encoder_and_reads_back(tmp_path: Path) -> None:
    file = tmp_path / "run.yml"
    file.write_text("model: {name: 'smp:unetplusplus/efficientnet-b3', weights: advprop}\n")
    config = load_config(ESDConfig, file)
    assert isinstance(config.model, SMPConfig)
    assert (config.model.decoder, config.model.encoder) == ("unetplusplus", "efficientnet-b3")
    assert config.model.folder_name == "smp-unetplusplus-efficientnet-b3"
    file.write_text(dump_config(config))
    assert load_config(ESDConfig, file) == config
    assert load_config(ESDConfig, assignments=["model=smp:fpn/vgg11"]).model.name == "smp:fpn/vgg11"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smp", "names no decoder and encoder: write smp:DECODER/ENCODER, such as smp:unetplusplus/"),
        ("smp:unet", "names no decoder and encoder"),
        ("smp:fnp/resnet34", "unknown decoder 'fnp'; did you mean 'fpn'? Decoders: unet, "),
        ("smp:Unet/resnet34", "did you mean 'unet'?"),
        ("smp:unet/resnet33", "unknown encoder 'resnet33'; did you mean 'resnet34', 'resnet50' or 'res"),
        ("smp:unet/tu-resnet19", "did you mean 'tu-resnet18', "),
        ("smp:unet/tu-resnet18.a1_in1k", "write them as model.weights=a1_in1k"),
    ],
)
def test_a_name_that_cannot_work_is_refused_with_the_fix(name: str, message: str) -> None:
    assert message in complaint(f"model.name={name}")


def test_a_mistake_in_a_file_has_its_place(tmp_path: Path) -> None:
    file = tmp_path / "run.yml"
    file.write_text("model:\n  name: smp:unet/resnet18\n  weights: imagenett\n")
    with pytest.raises(ConfigError, match=r"run\.yml:3:3: model\.weights: .*did you mean 'imagenet'\?"):
        load_config(ESDConfig, file)
    file.write_text("model:\n  weights: none\n  name: smp:unet/resnt18\n")
    with pytest.raises(ConfigError, match=r"run\.yml:3:3: model\.name: unknown encoder 'resnt18'"):
        load_config(ESDConfig, file)


def test_weights_are_a_name_of_the_encoders_a_path_or_none() -> None:
    assert "It has imagenet, ssl, swsl" in complaint("model=smp:unet/resnet18", "model.weights=coco")
    assert SMPConfig(name="smp:unet/resnet18").named_weights == "imagenet"
    assert SMPConfig(name="smp:unet/dpn92").named_weights == "imagenet+5k"
    assert SMPConfig(name="smp:unet/resnet18", weights="ssl").named_weights == "ssl"
    for weights in ("none", "file.pth", "folder/file"):
        assert SMPConfig(name="smp:unet/resnet18", weights=weights).named_weights is None


def test_encoders_are_listed_by_a_pattern() -> None:
    assert encoder_names("efficientnet-b[01]") == ("efficientnet-b0", "efficientnet-b1")
    assert {"tu-resnet18", "tu-resnet34"} <= set(encoder_names("tu-resnet*"))
    assert "tu-resnet18" not in encoder_names()


def test_only_a_model_of_the_library_loads_it() -> None:
    code = (
        "import sys\nfrom esdseg.config.loading import load_config\n"
        "from esdseg.config.training import ESDConfig\n"
        "load_config(ESDConfig, assignments=['model=unet'])\n"
        "print({'torch', 'timm', 'segmentation_models_pytorch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
