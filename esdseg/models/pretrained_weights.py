"""Pretrained weights: from a download or a file, spread over many bands, and kept from learning at first."""

import contextlib
import re
import sys
import warnings
from collections.abc import Collection, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from esdseg.config.eo_weights import eo_weights_of
from esdseg.config.models import FCNResNet101Config
from esdseg.config.zoo import TIMM_PREFIX, SMPConfig, weights_of
from esdseg.errors import ConfigError, InputDataError, MissingResourceError
from esdseg.models.eo_weights import turn_encoder
from esdseg.models.normalization import NetworkInput
from esdseg.models.tensor_file import describe_misfit, read_torch_file
from esdseg.models.zoo import Recipe, SMPNetwork
from esdseg.sensors.channels import Channel


@runtime_checkable
class PretrainedBackbone(Protocol):
    """What a network with a pretrained backbone offers."""

    frozen_backbone_epochs: int
    """Epochs at the start in which the backbone does not learn."""

    def freeze_backbone(self) -> None:
        """Let only the new layers learn."""

    def unfreeze_backbone(self) -> None:
        """Let all layers learn."""


def schedule_backbone(network: nn.Module, epoch: int) -> None:
    """Freeze or release a network's backbone at the start of an epoch, also after a resume.

    Args:
        network: Any network; one without a pretrained backbone is left as it is.
        epoch: The epoch that starts, counted from 0.
    """
    if not isinstance(network, PretrainedBackbone):
        return
    if epoch < network.frozen_backbone_epochs:
        network.freeze_backbone()
    else:
        network.unfreeze_backbone()


COLORS = ("red", "green", "blue")
"""Inputs of a pretrained first layer, in its order."""


def inflate_first_layer(weight: Tensor, channels: Sequence[Channel]) -> Tensor:
    """Spread the filters of a first convolution for RGB images over the channels of an image.

    Each colour's filter goes to every channel of that colour (any sensor, any date) in equal parts, so an
    RGB image that stands in all red, green and blue channels, with nothing in the others, gives exactly the
    original response; standing in one of ``n`` dates alone, it gives ``1 / n`` of it. The other channels
    share the mean of the three filters in equal parts: once, so that together they weigh as much as one
    colour, or once for each colour that has no channel at all. Where no channel is a colour, the
    same grey picture in all channels still gives the original response. Either way the response of
    standardised channels keeps the size that the layers behind it were trained on.

    Args:
        weight: Filters (out, 3, height, width) for red, green and blue.
        channels: The C channels of the image.

    Returns:
        Filters (out, C, height, width), same type and device.

    Raises:
        ValueError: The filters are not for three colours.
    """
    if weight.ndim != 4 or weight.shape[1] != len(COLORS):
        raise ValueError(f"expected filters (out, 3, height, width), found {tuple(weight.shape)}")
    roles = [channel.sensor_band.role if channel.sensor_band else "other" for channel in channels]
    missing = sum(color not in roles for color in COLORS)
    others = sum(role not in COLORS for role in roles)
    inflated = weight.new_empty((weight.shape[0], len(channels), *weight.shape[2:]))
    for index, role in enumerate(roles):
        if role in COLORS:
            inflated[:, index] = weight[:, COLORS.index(role)] / roles.count(role)
        else:
            inflated[:, index] = weight.mean(dim=1) * max(missing, 1) / others
    return inflated


def inflate_first_layers(
    state: Mapping[str, Tensor], first_layers: Collection[str], channels: Sequence[Channel]
) -> dict[str, Tensor]:
    """Spread all first filters of a network for RGB images, of which some have several side by side.

    Args:
        state: The network's tensors by name.
        first_layers: Names of the filters that see the image.
        channels: The channels of the image.

    Returns:
        The tensors, those of the first layers as :func:`inflate_first_layer` spreads them.

    Raises:
        ValueError: A first layer is no convolution over three colours.
    """
    return {
        name: inflate_first_layer(value, channels) if name in first_layers else value
        for name, value in state.items()
    }


SAFETENSORS_SUFFIX = ".safetensors"
_BATCH_COUNTER = "num_batches_tracked"
"""End of the names of tensors that nothing reads, and older files lack."""


def read_weights(path: Path, choices: str, owner: str) -> dict[str, Tensor]:
    """Read tensors by name from a file of ``torch.save`` or safetensors, without running code from it.

    Args:
        path: The file.
        choices: What else ``model.weights`` may be, for the message where the file is missing.
        owner: Whose weights they should be, for messages.

    Raises:
        InputDataError: The file is missing or holds something else.
    """
    if not path.exists():
        raise InputDataError(
            f"{path}: there is no such weights file; model.weights is {choices} or the path of a file."
        )
    if path.suffix == SAFETENSORS_SUFFIX:
        return _read_safetensors(path)
    content = read_torch_file(path, "weights file")
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise InputDataError(
            f"{path}: does not hold the tensors of a network by name (a state_dict), as a file of {owner} "
            "does."
        )
    return content


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise InputDataError(f"{path}: is not a safetensors file: {error}.") from None


def without_counters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without the counters of batches."""
    return {name: value for name, value in state.items() if not name.endswith(_BATCH_COUNTER)}


def missing_weights(owner: str, error: Exception, by_hand: str) -> MissingResourceError:
    """Word that weights could not be downloaded, and the ways out.

    Args:
        owner: Whose weights they are.
        error: What the download ended with.
        by_hand: How they are brought here otherwise.
    """
    reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
    return MissingResourceError(
        f"The pretrained weights of {owner} cannot be downloaded ({reason}). Run once where there is a "
        f"network; or {by_hand}; or train from scratch with --set model.weights=none."
    )


FIRST_FILTERS = "backbone.conv1.weight"
"""Inflated from red, green and blue to the channels at hand."""
LAST_LAYER = "classifier.4."
"""Of the pretrained task's classes; the network keeps its new one."""
AUXILIARY_CLASSIFIER = "aux_classifier."
"""A helper of the pretraining that the network does not have."""


def load_fcn_weights(network: nn.Module, config: FCNResNet101Config, seen: NetworkInput) -> tuple[str, ...]:
    """Fill in the weights that ``config.weights`` names; ``none`` leaves the network as it is.

    Args:
        network: An :class:`esdseg.models.course_networks.FCNResNet101`.
        config: Its settings.
        seen: What the network sees.

    Returns:
        Sentences for the user, of which there are none.

    Raises:
        MissingResourceError: The weights are to be downloaded and cannot be.
        InputDataError: The file is missing or does not hold weights of this network.
    """
    if config.weights == "none":
        return ()
    origin = _fetched_fcn() if config.weights == "coco" else Path(config.weights)
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
    kept[FIRST_FILTERS] = inflate_first_layer(kept[FIRST_FILTERS], seen.channels)
    network.load_state_dict(kept, strict=False)
    return ()


def _fetched_fcn() -> Path:
    from torchvision.models.segmentation import FCN_ResNet101_Weights

    return fetched(FCN_ResNet101_Weights.COCO_WITH_VOC_LABELS_V1.url, "fcn_resnet101")


_DIGEST = re.compile(r"-([0-9a-f]{8})\.pth$")
"""End of the names of files: the beginning of their SHA-256. Some have none."""


def fetched(url: str, owner: str) -> Path:
    """Return a file from PyTorch's cache, downloaded if it is not there yet.

    Args:
        url: Where it lies.
        owner: Whose weights they are, for the message.

    Raises:
        MissingResourceError: It cannot be downloaded.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if path.is_file():
        return path
    found = _DIGEST.search(url)
    digest = found[1] if found else None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), digest, progress=sys.stderr.isatty())
    # RuntimeError: what arrived does not have that hash.
    except (OSError, HTTPException, RuntimeError) as error:
        by_hand = f"fetch {url}, and put it into {path.parent} or name it with --set model.weights=FILE"
        raise missing_weights(owner, error, by_hand) from None
    return path


ENCODER_PREFIX = "library.encoder."
"""Of the encoder's tensors among those of the network."""


def load_smp_weights(network: nn.Module, config: SMPConfig, seen: NetworkInput) -> tuple[str, ...]:
    """Fill in the encoder's weights that ``config.weights`` names, their first filters spread over the bands.

    Args:
        network: An :class:`SMPNetwork`.
        config: Its settings.
        seen: What the network sees.

    Returns:
        Sentences for the user on what weights and data do not share.

    Raises:
        MissingResourceError: The weights are to be downloaded and cannot be.
        InputDataError: The file is missing or does not hold weights of this encoder.
        ConfigError: The encoder's first layer cannot be spread over the channels.
    """
    assert isinstance(network, SMPNetwork)
    if config.weights == "none":
        return ()
    notes: tuple[str, ...] = ()
    satellite = config.eo_weights
    if satellite is not None:
        path = config.weights_file or fetched(satellite.url, satellite.name)
        state = _read(path, config, network.recipe, len(satellite.bands))
        (first_layer,) = network.first_layers
        turned, notes = turn_encoder(state, first_layer, satellite, seen)
    else:
        if config.weights_file is not None:
            origin = config.weights
            state = _read(config.weights_file, config, network.recipe, len(COLORS))
        elif config.named_weights is not None:
            state, origin = _download(network.recipe, config.named_weights), config.named_weights
        else:
            return ()
        try:
            turned = inflate_first_layers(without_counters(state), network.first_layers, seen.channels)
        except ValueError as error:
            raise ConfigError(
                f"model {config.name}: its pretrained first layer cannot be spread over the bands ({error}); "
                "train from scratch with --set model.weights=none, or use another encoder."
            ) from None
        misfit = describe_misfit(turned, without_counters(network.encoder.state_dict()))
        if misfit is not None:
            raise InputDataError(f"{origin}: not weights of the encoder {config.encoder}; {misfit}.")
    network.load_state_dict(
        {f"{ENCODER_PREFIX}{name}": value for name, value in turned.items()}, strict=False
    )
    return notes


def _download(recipe: Recipe, weights: str) -> Mapping[str, Tensor]:
    try:
        state = recipe.make(len(COLORS), weights).get_submodule("encoder").state_dict()
    # The hub's errors are of this kind, and say for themselves what failed.
    except OSError as error:
        raise _missing(recipe.encoder, weights, error) from None
    return state


def _missing(encoder: str, weights: str, error: Exception) -> MissingResourceError:
    from huggingface_hub import constants, hf_hub_url
    from segmentation_models_pytorch.encoders import encoders

    by_hand = f"bring the cache {constants.HF_HUB_CACHE} from there"
    if not encoder.startswith(TIMM_PREFIX):
        place = encoders[encoder]["pretrained_settings"][weights]
        url = hf_hub_url(place["repo_id"], "model.safetensors", revision=place["revision"])
        by_hand += f"; or fetch {url} and name it with --set model.weights=FILE.safetensors"
    return missing_weights(f"the encoder {encoder} ({weights})", error, by_hand)


def _read(path: Path, config: SMPConfig, recipe: Recipe, n_bands: int) -> Mapping[str, Tensor]:
    """Read an encoder's tensors for images of so many bands."""
    choices = ", ".join((*weights_of(config.encoder), "auto", "none"))
    state = read_weights(path, choices, f"the encoder {recipe.encoder}")
    with torch.device("meta"):
        encoder = recipe.make(n_bands).get_submodule("encoder")
    if config.eo_weights is not None:
        return _checked_features(state, encoder, config, path)
    with contextlib.suppress(RuntimeError), warnings.catch_warnings():
        # It drops layers for classification and turns older names into its own, in place, before it looks
        # whether all fit, which the message below says better; the meta device takes no values.
        warnings.simplefilter("ignore")
        encoder.load_state_dict(state)
    misfit = describe_misfit(without_counters(state), without_counters(encoder.state_dict()))
    if misfit is not None:
        names = " or ".join(weights.name for weights in eo_weights_of(config.encoder))
        hint = f" If it is a file of torchgeo, say which: --set model.weights_name={names}." if names else ""
        raise InputDataError(f"{path}: not weights of the encoder {config.encoder}; {misfit}.{hint}")
    return state


_HEAD = re.compile(r"(?:model\.)?(?:fc|head|norm)\.(?:weight|bias)")
"""Tensors behind the features, which no decoder reads. Files of torchgeo have them or lack them."""


def _checked_features(
    state: Mapping[str, Tensor], encoder: nn.Module, config: SMPConfig, path: Path
) -> dict[str, Tensor]:
    """Return the tensors of a file of torchgeo by the library's names, without those behind the features."""
    # The library keeps a model of timm in one of its own.
    prefix = "model." if config.encoder.startswith(TIMM_PREFIX) else ""
    features = _without_head({f"{prefix}{name}": value for name, value in state.items()})
    misfit = describe_misfit(features, _without_head(encoder.state_dict()))
    if misfit is not None:
        assert config.eo_weights is not None
        raise InputDataError(
            f"{path}: not the weights {config.eo_weights.name} of the encoder {config.encoder}; {misfit}."
        )
    return features


def _without_head(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in without_counters(state).items() if not _HEAD.fullmatch(name)}
