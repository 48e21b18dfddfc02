"""Pretrained weights of FCN-ResNet101: torchvision's download, or a file of the same form."""

import sys
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

import torch
from torch import nn

from esdseg.config.models import FCNResNet101Config
from esdseg.errors import InputDataError
from esdseg.models.inflation import COLORS, inflate_first_layer
from esdseg.models.state_fit import describe_misfit
from esdseg.models.weights_file import missing_weights, read_weights, without_counters
from esdseg.sensors.channels import Channel

FIRST_FILTERS = "backbone.conv1.weight"
"""Inflated from red, green and blue to the channels at hand."""
LAST_LAYER = "classifier.4."
"""Of the pretrained task's classes; the network keeps its new one."""
AUXILIARY_CLASSIFIER = "aux_classifier."
"""A helper of the pretraining that the network does not have."""


def load_fcn_weights(network: nn.Module, config: FCNResNet101Config, channels: Sequence[Channel]) -> None:
    """Fill in the weights that ``config.weights`` names; ``none`` leaves the network as it is.

    Args:
        network: An :class:`esdseg.models.fcn_resnet101.FCNResNet101` for ``channels``.
        config: Its settings.
        channels: The channels of the image.

    Raises:
        MissingResourceError: The weights are to be downloaded and cannot be.
        InputDataError: The file is missing or does not hold weights of this network.
    """
    if config.weights == "none":
        return
    origin = _fetched() if config.weights == "coco" else Path(config.weights)
    weights = read_weights(origin, "coco, none", "torchvision's FCN-ResNet101")
    kept = {
        name: value
        for name, value in without_counters(weights).items()
        if not name.startswith((LAST_LAYER, AUXILIARY_CLASSIFIER))
    }
    expected = {
        name: value
        for name, value in without_counters(network.state_dict()).items()
        if not name.startswith(LAST_LAYER)
    }
    expected[FIRST_FILTERS] = expected[FIRST_FILTERS][:, :1].expand(-1, len(COLORS), -1, -1)
    misfit = describe_misfit(kept, expected)
    if misfit is not None:
        raise InputDataError(f"{origin}: not the weights of torchvision's FCN-ResNet101; {misfit}.")
    kept[FIRST_FILTERS] = inflate_first_layer(kept[FIRST_FILTERS], channels)
    network.load_state_dict(kept, strict=False)


def _fetched() -> Path:
    """Return torchvision's file from PyTorch's cache, downloaded if it is not there yet."""
    from torchvision.models.segmentation import FCN_ResNet101_Weights

    url = FCN_ResNet101_Weights.COCO_WITH_VOC_LABELS_V1.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if path.is_file():
        return path
    # The name ends with the beginning of the file's hash.
    digest = path.stem.rpartition("-")[2]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), digest, progress=sys.stderr.isatty())
    # RuntimeError: what arrived does not have that hash.
    except (OSError, HTTPException, RuntimeError) as error:
        by_hand = f"fetch {url}, and put it into {path.parent} or name it with --set model.weights=FILE"
        raise missing_weights("fcn_resnet101", error, by_hand) from None
    return path
