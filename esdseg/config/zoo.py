"""The zoo: decoders and encoders of segmentation_models.pytorch, and which of them go together.

The names of its own encoders are kept here, so that a configuration is checked without loading that library
and torch. timm's thousand are asked for when one is named.
"""

from dataclasses import dataclass

ZOO_PREFIX = "smp:"
ZOO_FORM = "smp:DECODER/ENCODER"
"""How a network of the zoo is named."""
ZOO_EXAMPLE = "smp:unetplusplus/efficientnet-b3"
TIMM_PREFIX = "tu-"
"""Start of the names of encoders that timm supplies."""

DECODERS = {
    "unet": "skip connections at every halving (arXiv:1505.04597)",
    "unetplusplus": "nested, dense skip connections (arXiv:1807.10165)",
    "manet": "attention between positions and between scales (doi:10.1109/ACCESS.2020.3025372)",
    "linknet": "skips that are added, light (arXiv:1707.03718)",
    "fpn": "a pyramid whose levels are added up (arXiv:1901.02446)",
    "pspnet": "pooling at several sizes, on features at 1/8 (arXiv:1612.01105)",
    "deeplabv3": "dilated convolutions at 1/8 (arXiv:1706.05587)",
    "deeplabv3plus": "dilated convolutions at 1/16 and one skip (arXiv:1802.02611)",
    "pan": "attention over a pyramid, light (arXiv:1805.10180)",
    "upernet": "a pyramid with pooling at several sizes (arXiv:1807.10221)",
    "segformer": "all levels through one perceptron (arXiv:2105.15203)",
    "dpt": "tokens of a vision transformer put together again (arXiv:2103.13413)",
}
"""Decoders by their names in the library, each with what it is and its source."""


@dataclass(frozen=True)
class Encoder:
    """An encoder of segmentation_models.pytorch itself.

    Attributes:
        parameters: Millions of numbers that are learned, for images of three channels.
        weights: Names of its pretrained weights.
        dilates: Whether its last stages can keep their resolution, as atrous decoders need.
    """

    parameters: float
    weights: tuple[str, ...]
    dilates: bool = True


ENCODERS: dict[str, Encoder] = {
    "resnet18": Encoder(11.2, ("imagenet", "ssl", "swsl")),
    "resnet34": Encoder(21.3, ("imagenet",)),
    "resnet50": Encoder(23.5, ("imagenet", "ssl", "swsl")),
    "resnet101": Encoder(42.5, ("imagenet",)),
    "resnet152": Encoder(58.1, ("imagenet",)),
    "resnext50_32x4d": Encoder(23.0, ("imagenet", "ssl", "swsl")),
    "resnext101_32x4d": Encoder(42.1, ("ssl", "swsl")),
    "resnext101_32x8d": Encoder(86.7, ("imagenet", "instagram", "ssl", "swsl")),
    "resnext101_32x16d": Encoder(192.0, ("instagram", "ssl", "swsl")),
    "resnext101_32x32d": Encoder(466.5, ("instagram",)),
    "resnext101_32x48d": Encoder(826.4, ("instagram",)),
    "dpn68": Encoder(11.8, ("imagenet",)),
    "dpn68b": Encoder(11.8, ("imagenet+5k",)),
    "dpn92": Encoder(35.0, ("imagenet+5k",)),
    "dpn98": Encoder(58.9, ("imagenet",)),
    "dpn107": Encoder(84.2, ("imagenet+5k",)),
    "dpn131": Encoder(76.6, ("imagenet",)),
    "vgg11": Encoder(9.2, ("imagenet",), dilates=False),
    "vgg11_bn": Encoder(9.2, ("imagenet",), dilates=False),
    "vgg13": Encoder(9.4, ("imagenet",), dilates=False),
    "vgg13_bn": Encoder(9.4, ("imagenet",), dilates=False),
    "vgg16": Encoder(14.7, ("imagenet",), dilates=False),
    "vgg16_bn": Encoder(14.7, ("imagenet",), dilates=False),
    "vgg19": Encoder(20.0, ("imagenet",), dilates=False),
    "vgg19_bn": Encoder(20.0, ("imagenet",), dilates=False),
    "senet154": Encoder(113.0, ("imagenet",)),
    "se_resnet50": Encoder(26.0, ("imagenet",)),
    "se_resnet101": Encoder(47.3, ("imagenet",)),
    "se_resnet152": Encoder(64.8, ("imagenet",)),
    "se_resnext50_32x4d": Encoder(25.5, ("imagenet",)),
    "se_resnext101_32x4d": Encoder(46.9, ("imagenet",)),
    "densenet121": Encoder(7.0, ("imagenet",), dilates=False),
    "densenet169": Encoder(12.5, ("imagenet",), dilates=False),
    "densenet201": Encoder(18.1, ("imagenet",), dilates=False),
    "densenet161": Encoder(26.5, ("imagenet",), dilates=False),
    "inceptionresnetv2": Encoder(54.3, ("imagenet", "imagenet+background"), dilates=False),
    "inceptionv4": Encoder(41.1, ("imagenet", "imagenet+background"), dilates=False),
    "efficientnet-b0": Encoder(4.0, ("imagenet", "advprop")),
    "efficientnet-b1": Encoder(6.5, ("imagenet", "advprop")),
    "efficientnet-b2": Encoder(7.7, ("imagenet", "advprop")),
    "efficientnet-b3": Encoder(10.7, ("imagenet", "advprop")),
    "efficientnet-b4": Encoder(17.5, ("imagenet", "advprop")),
    "efficientnet-b5": Encoder(28.3, ("imagenet", "advprop")),
    "efficientnet-b6": Encoder(40.7, ("imagenet", "advprop")),
    "efficientnet-b7": Encoder(63.8, ("imagenet", "advprop")),
    "mobilenet_v2": Encoder(2.2, ("imagenet",)),
    "xception": Encoder(20.8, ("imagenet",), dilates=False),
    "timm-efficientnet-b0": Encoder(4.0, ("imagenet", "advprop", "noisy-student")),
    "timm-efficientnet-b1": Encoder(6.5, ("imagenet", "advprop", "noisy-student")),
    "timm-efficientnet-b2": Encoder(7.7, ("imagenet", "advprop", "noisy-student")),
    "timm-efficientnet-b3": Encoder(10.7, ("imagenet", "advprop", "noisy-student")),
    "timm-efficientnet-b4": Encoder(17.5, ("imagenet", "advprop", "noisy-student")),
    "timm-efficientnet-b5": Encoder(28.3, ("imagenet", "advprop", "noisy-student")),
    "timm-efficientnet-b6": Encoder(40.7, ("imagenet", "advprop", "noisy-student")),
    "timm-efficientnet-b7": Encoder(63.8, ("imagenet", "advprop", "noisy-student")),
    "timm-efficientnet-b8": Encoder(84.6, ("imagenet", "advprop")),
    "timm-efficientnet-l2": Encoder(474.8, ("noisy-student", "noisy-student-475")),
    "timm-tf_efficientnet_lite0": Encoder(3.4, ("imagenet",)),
    "timm-tf_efficientnet_lite1": Encoder(4.1, ("imagenet",)),
    "timm-tf_efficientnet_lite2": Encoder(4.8, ("imagenet",)),
    "timm-tf_efficientnet_lite3": Encoder(6.9, ("imagenet",)),
    "timm-tf_efficientnet_lite4": Encoder(11.7, ("imagenet",)),
    "timm-skresnet18": Encoder(11.4, ("imagenet",)),
    "timm-skresnet34": Encoder(21.8, ("imagenet",)),
    "timm-skresnext50_32x4d": Encoder(23.9, ("imagenet",)),
    "mit_b0": Encoder(3.3, ("imagenet",)),
    "mit_b1": Encoder(13.2, ("imagenet",)),
    "mit_b2": Encoder(24.2, ("imagenet",)),
    "mit_b3": Encoder(44.1, ("imagenet",)),
    "mit_b4": Encoder(60.8, ("imagenet",)),
    "mit_b5": Encoder(81.4, ("imagenet",)),
    "mobileone_s0": Encoder(4.3, ("imagenet",)),
    "mobileone_s1": Encoder(3.5, ("imagenet",)),
    "mobileone_s2": Encoder(5.8, ("imagenet",)),
    "mobileone_s3": Encoder(8.1, ("imagenet",)),
    "mobileone_s4": Encoder(12.9, ("imagenet",)),
}
"""Its own encoders (https://smp.readthedocs.io/en/latest/encoders.html), in its order."""
