"""Encoders pretrained on SSL4EO-S12, by the names that torchgeo gives them, with the bands that each expects.

SSL4EO-S12 (Wang et al. 2023, arXiv:2211.07044) holds a quarter of a million places in Sentinel-1 and
Sentinel-2. Names, addresses, bands and units are those of torchgeo 0.8 (``torchgeo.models.resnet`` and
``torchgeo.models.vit``): a table of them costs less than the package, which esdseg does without.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from esdseg.sensors.sensors import ConversionName


@dataclass(frozen=True)
class ExpectedBand:
    """A band that an encoder expects: ``(value - subtracted) / divisor`` of what a store holds.

    Attributes:
        name: The band's name, as the agency writes it.
        mean: Its mean over SSL4EO-S12, which stands in where images lack the band.
        subtracted: In the stored unit.
        divisor: In the stored unit.
    """

    name: str
    mean: float
    subtracted: float
    divisor: float


@dataclass(frozen=True)
class EOWeights:
    """Weights of an encoder that were learned from satellite images.

    Attributes:
        name: torchgeo's name of them.
        encoder: The encoder's name in the zoo.
        url: Where torchgeo fetches the file.
        sensor: The sensor whose bands it expects.
        conversion: How that sensor's numbers must have been converted for the units below.
        bands: The bands in the order of its first layer.
    """

    name: str
    encoder: str
    url: str
    sensor: str
    conversion: ConversionName
    bands: tuple[ExpectedBand, ...]

    @property
    def file_name(self) -> str:
        """The file's published name."""
        return self.url.rpartition("/")[2]


_SENTINEL2_BANDS = (
    "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12",
)  # fmt: skip
_SENTINEL2_MEAN = (
    1612.9, 1397.6, 1322.3, 1373.1, 1561.0, 2108.4, 2390.7, 2318.7, 2581.0, 837.7, 22.0, 2195.2, 1537.4,
)  # fmt: skip
_SENTINEL2_STD = (
    791.0, 854.3, 878.7, 1144.9, 1127.5, 1164.2, 1276.0, 1249.5, 1345.9, 577.5, 47.5, 1340.0, 1142.9,
)  # fmt: skip
_REFLECTANCE_SCALE = 10_000
"""Digital numbers of Sentinel-2 for a reflectance of 1; a store holds reflectances."""

SENTINEL2_STANDARDISED = tuple(
    ExpectedBand(name, *(number / _REFLECTANCE_SCALE for number in (mean, mean, std)))
    for name, mean, std in zip(_SENTINEL2_BANDS, _SENTINEL2_MEAN, _SENTINEL2_STD, strict=True)
)
"""Level-1C numbers, each band standardised by its mean and spread over SSL4EO-S12."""
SENTINEL2_ALL = tuple(ExpectedBand(band.name, band.mean, 0.0, 1.0) for band in SENTINEL2_STANDARDISED)
"""Level-1C numbers divided by 10 000."""
SENTINEL2_RGB = tuple(
    next(band for band in SENTINEL2_ALL if band.name == name) for name in ("B04", "B03", "B02")
)
SENTINEL1_GRD = (ExpectedBand("VV", -12.59, -12.59, 5.26), ExpectedBand("VH", -20.26, -20.26, 5.91))
"""Decibels, standardised."""

_VIT_SMALL = "tu-vit_small_patch16_224"
_SENTINEL2_SETS = (
    ("SENTINEL2_ALL_MOCO", "resnet18", SENTINEL2_ALL,
     "torchgeo/resnet18_sentinel2_all_moco/resolve/5b8cddc9a14f3844350b7f40b85bcd32aed75918/"
     "resnet18_sentinel2_all_moco-59bfdff9.pth"),
    ("SENTINEL2_RGB_MOCO", "resnet18", SENTINEL2_RGB,
     "torchgeo/resnet18_sentinel2_rgb_moco/resolve/e1c032e7785fd0625224cdb6699aa138bb304eec/"
     "resnet18_sentinel2_rgb_moco-e3a335e3.pth"),
    ("SENTINEL2_ALL_MOCO", "resnet50", SENTINEL2_ALL,
     "torchgeo/resnet50_sentinel2_all_moco/resolve/da4f3c9dbe09272eb902f3b37f46635fa4726879/"
     "resnet50_sentinel2_all_moco-df8b932e.pth"),
    ("SENTINEL2_ALL_DINO", "resnet50", SENTINEL2_ALL,
     "torchgeo/resnet50_sentinel2_all_dino/resolve/d7f14bf5530d70ac69d763e58e77e44dbecfec7c/"
     "resnet50_sentinel2_all_dino-d6c330e9.pth"),
    ("SENTINEL2_ALL_DECUR", "resnet50", SENTINEL2_ALL,
     "torchgeo/decur/resolve/eba7ae5945d482a4319be046d34b552db5dd9950/"
     "rn50_ssl4eo-s12_ms_decur_ep100-fc6b09ff.pth"),
    ("SENTINEL2_ALL_SOFTCON", "resnet50", SENTINEL2_STANDARDISED,
     "wangyi111/softcon/resolve/62ff465b2e7467dbfc70758ec1e9d08ab87fc46b/B13_rn50_softcon.pth"),
    ("SENTINEL2_RGB_MOCO", "resnet50", SENTINEL2_RGB,
     "torchgeo/resnet50_sentinel2_rgb_moco/resolve/efd9723b59a88e9dc1420dc1e96afb25b0630a3c/"
     "resnet50_sentinel2_rgb_moco-2b57ba8b.pth"),
    ("SENTINEL2_ALL_MOCO", _VIT_SMALL, SENTINEL2_ALL,
     "torchgeo/vit_small_patch16_224_sentinel2_all_moco/resolve/1cb683f6c14739634cdfaaceb076529adf898c74/"
     "vit_small_patch16_224_sentinel2_all_moco-67c9032d.pth"),
    ("SENTINEL2_ALL_DINO", _VIT_SMALL, SENTINEL2_ALL,
     "torchgeo/vit_small_patch16_224_sentinel2_all_dino/resolve/5b41dd418a79de47ac9f5be3e035405a83818a62/"
     "vit_small_patch16_224_sentinel2_all_dino-36bcc127.pth"),
    ("SENTINEL2_ALL_MAE", _VIT_SMALL, SENTINEL2_ALL,
     "wangyi111/SSL4EO-S12/resolve/75c72195d35201dc1fb210818993518c25da566b/B13_vits16_mae_ep99_enc.pth"),
)  # fmt: skip
_SENTINEL1_SETS = (
    ("SENTINEL1_GRD_MOCO", "resnet50",
     "torchgeo/resnet50_sentinel1_all_moco/resolve/e79862c667853c10a709bdd77ea8ffbad0e0f1cf/"
     "resnet50_sentinel1_all_moco-906e4356.pth"),
    ("SENTINEL1_GRD_DECUR", "resnet50",
     "torchgeo/decur/resolve/9328eeb90c686a88b30f8526ed757b4bc0f12027/"
     "rn50_ssl4eo-s12_sar_decur_ep100-f0e69ba2.pth"),
    ("SENTINEL1_GRD_SOFTCON", "resnet50",
     "wangyi111/softcon/resolve/62ff465b2e7467dbfc70758ec1e9d08ab87fc46b/B2_rn50_softcon.pth"),
    ("SENTINEL1_GRD_MAE", _VIT_SMALL,
     "wangyi111/SSL4EO-S12/resolve/75c72195d35201dc1fb210818993518c25da566b/B2_vits16_mae_ep99_enc.pth"),
)  # fmt: skip


def _all_weights() -> Iterator[EOWeights]:
    for name, encoder, bands, path in _SENTINEL2_SETS:
        yield EOWeights(name, encoder, f"https://hf.co/{path}", "sentinel2", "reflectance", bands)
    for name, encoder, path in _SENTINEL1_SETS:
        yield EOWeights(name, encoder, f"https://hf.co/{path}", "sentinel1", "decibel", SENTINEL1_GRD)


EO_WEIGHTS: tuple[EOWeights, ...] = tuple(_all_weights())
"""All weights that are known by name."""

_CLASS_PREFIX = re.compile(r"\w+_Weights\.")


def short_name(name: str) -> str:
    """Return torchgeo's name without its class: SENTINEL2_ALL_MOCO of ResNet50_Weights.SENTINEL2_ALL_MOCO."""
    return _CLASS_PREFIX.sub("", name, count=1)


def eo_weights_of(encoder: str) -> Sequence[EOWeights]:
    """Return the weights from satellite images that there are for an encoder."""
    return [weights for weights in EO_WEIGHTS if weights.encoder == encoder]


def find_eo_weights(encoder: str, name: str) -> EOWeights | None:
    """Find an encoder's weights by torchgeo's name, or by the published name of their file."""
    wanted = (short_name(name), PurePath(name).name)
    return next(
        (
            weights
            for weights in eo_weights_of(encoder)
            if weights.name == wanted[0] or weights.file_name == wanted[1]
        ),
        None,
    )
