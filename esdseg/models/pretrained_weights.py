"""Loading pretrained weights from a download or a file, and freezing them at the start of a training."""

import contextlib
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from esdseg.config.eo_weights import eo_weights_of
from esdseg.config.models import FCNResNet101Config, OlmoEarthConfig
from esdseg.config.section import require_weights_file
from esdseg.config.zoo import TIMM_PREFIX, SMPConfig, weights_of
from esdseg.errors import ConfigError, InputDataError, MissingResourceError
from esdseg.models.first_layers import COLORS, adapt_encoder, inflate_first_layer, inflate_first_layers
from esdseg.models.normalization import NetworkInput
from esdseg.models.olmoearth import OlmoEarthNetwork, product_of, set_scale
from esdseg.models.tensor_file import describe_misfit, read_torch_file
from esdseg.models.zoo import Recipe, SMPNetwork
from esdseg.sensors.channels import Channel, sensor_names


@runtime_checkable
class PretrainedBackbone(Protocol):
    """What a network with a pretrained backbone offers."""

    frozen_backbone_epochs: int
    """Epochs at the start in which the backbone does not learn."""

    def set_frozen(self, frozen: bool) -> None:
        """Let only the new layers learn, or all layers."""


def schedule_backbone(network: nn.Module, epoch: int) -> None:
    """Freeze or release a network's backbone at the start of an epoch, also after a resume.

    Args:
        network: Any network; one without a pretrained backbone is left as it is.
        epoch: The epoch that starts, counted from 0.
    """
    if isinstance(network, PretrainedBackbone):
        network.set_frozen(epoch < network.frozen_backbone_epochs)


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
    require_weights_file(path, choices)
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
        turned, notes = adapt_encoder(state, first_layer, satellite, seen)
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


_OLMOEARTH_PREFIX = "encoder."
"""Start of the names of the encoder's tensors in a published file; others are of the pretraining."""
_NOT_FOR_FEATURES = re.compile(r"project_and_aggregate\..*|composite_encodings\.pos_embed")
"""Tensors of the pretraining's loss, and a table that older files hold and the package computes."""
_OF_MODALITY = re.compile(
    r"(?:patch_embeddings\.per_modality_embeddings|composite_encodings\.per_modality_channel_embeddings)\."
    r"(\w+?)(?:\..*)?"
)
_OLMOEARTH_FILE = "weights.pth"


def load_olmoearth_weights(
    network: nn.Module, config: OlmoEarthConfig, seen: NetworkInput
) -> tuple[str, ...]:
    """Set the scale of the encoder's inputs, and fill in its weights unless there are none.

    Args:
        network: An :class:`OlmoEarthNetwork`.
        config: Its settings.
        seen: What the network sees.

    Returns:
        Sentences for the user on what encoder and data do not share.

    Raises:
        MissingResourceError: The weights are to be downloaded and cannot be.
        InputDataError: The file is missing or does not hold weights of this encoder.
        ConfigError: The store holds values without a physical unit.
    """
    assert isinstance(network, OlmoEarthNetwork)
    set_scale(network, seen)
    owner = f"OlmoEarth {config.version} {config.size.capitalize()}"
    if config.weights != "none":
        path = _fetched_olmoearth(config, owner) if config.weights == "auto" else Path(config.weights)
        _load_olmoearth_encoder(network, path, owner)
    return _olmoearth_notes(owner, network, seen.channels)


def _load_olmoearth_encoder(network: OlmoEarthNetwork, path: Path, owner: str) -> None:
    state = read_weights(path, "auto, none", owner)
    modalities = [part.product.modality for part in network.product_inputs]
    kept = {
        name.removeprefix(_OLMOEARTH_PREFIX): value
        for name, value in state.items()
        if name.startswith(_OLMOEARTH_PREFIX) and _is_used(name.removeprefix(_OLMOEARTH_PREFIX), modalities)
    }
    misfit = describe_misfit(kept, network.encoder.state_dict())
    if misfit is not None:
        raise InputDataError(f"{path}: not the weights of {owner}; {_olmoearth_held(state) or misfit}.")
    network.encoder.load_state_dict(kept)


def _is_used(name: str, modalities: Sequence[str]) -> bool:
    """Return whether a tensor of the published encoder is one of the network's."""
    modality = _OF_MODALITY.fullmatch(name)
    if modality is not None:
        return modality[1] in modalities
    return _NOT_FOR_FEATURES.fullmatch(name) is None


def _olmoearth_held(state: Mapping[str, Tensor]) -> str:
    """Say which encoder a file holds instead, and how it is used; nothing where it holds none."""
    norm = state.get(f"{_OLMOEARTH_PREFIX}norm.weight")
    size = {128: "nano", 192: "tiny", 384: "small", 768: "base", 1024: "large"}.get(
        0 if norm is None else norm.numel()
    )
    if size is None:
        return ""
    if any("attention_pooler" in name for name in state):
        version = "v1.3"
    elif any("rope_mixed_freqs" in name for name in state):
        version = "v1.2"
    else:
        version = "v1.1" if any("pixel_proj" in name for name in state) else "v1"
    return f"it holds those of {version} {size.capitalize()}: see model.version and model.size"


def _fetched_olmoearth(config: OlmoEarthConfig, owner: str) -> Path:
    from huggingface_hub import hf_hub_download, hf_hub_url

    try:
        return Path(hf_hub_download(config.repository, _OLMOEARTH_FILE))
    # The hub's errors are of this kind, and say for themselves what failed.
    except OSError as error:
        url = hf_hub_url(config.repository, _OLMOEARTH_FILE)
        by_hand = f"fetch {url} and name it with --set model.weights=FILE"
        raise missing_weights(owner, error, by_hand) from None


def _olmoearth_notes(owner: str, network: OlmoEarthNetwork, channels: Sequence[Channel]) -> tuple[str, ...]:
    stand_in = (
        "the band next to it" if owner.startswith("OlmoEarth v1 ") else "a band dropped in its training"
    )
    notes = []
    for part in network.product_inputs:
        held = {channel.band.upper() for channel in channels if channel.sensor.name == part.product.sensor}
        missing = [band for band in part.bands if band not in held]
        if missing:
            notes.append(
                f"{owner} expects {len(part.bands)} bands of {part.product.sensor}; the data lack "
                f"{', '.join(missing)}. A missing band counts as {stand_in}."
            )
    unread = [
        channel
        for channel in channels
        if channel.sensor.kind != "night_light" and product_of(channel) is None
    ]
    if unread:
        notes.append(f"{owner} does not read {', '.join(sensor_names(unread))}: the network ignores it.")
    return tuple(notes)
