"""The network as a STAC item with the Machine Learning Model extension: ``mlm.json``.

STAC 1.1 (stacspec.org); MLM 1.4 (stac-extensions.github.io/mlm).
"""

import re
from collections.abc import Sequence
from datetime import datetime

import torch
from pydantic import JsonValue

from esdseg.mapping.stac import class_entries, moment, period
from esdseg.metrics.scorecard import Score
from esdseg.prediction.channel_share import MIN_CHANNEL_SHARE
from esdseg.sensors.channels import Channel
from esdseg.sensors.classes import CELL_SIZE_PX, NUM_CLASSES
from esdseg.sharing.formats import INPUT_NAME, OUTPUT_NAME
from esdseg.sharing.shared_network import SharedNetwork
from esdseg.store.folds import tile_bounds

ITEM_NAME = "mlm.json"
STAC_VERSION = "1.1.0"
EXTENSIONS = (
    "https://stac-extensions.github.io/mlm/v1.4.0/schema.json",
    # MLM asks for the bands of an input in this place; STAC 1.1 itself allows none in an item's properties.
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
)

MODEL_FILES = {
    "model.onnx": ("application/octet-stream; application=onnx", "onnx"),
    "model.pt2": ("application/zip; application=pytorch", "torch.export.save"),
}
"""Media type and artifact type of the files that hold the network."""

OTHER_FILES = {
    "README.md": ("text/markdown", "metadata"),
    "inputs.json": ("application/json", "metadata"),
    "bundle.json": ("application/json", "metadata"),
    "predict.py": ("text/x-python; application=ml", "code"),
}


def describe_item(network: SharedNetwork, files: Sequence[str], made_at: datetime) -> dict[str, JsonValue]:
    """Return the content of ``mlm.json``.

    Args:
        network: What is shared.
        files: Names of the files of the bundle, but for the item itself and the checkpoints.
        made_at: When the bundle was made, with a time zone.
    """
    bounds = _bounds(network)
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": list(EXTENSIONS),
        "id": f"esdseg-{_identifier(network.name)}",
        # Null where nothing says where the training tiles lie, as in the contest's data.
        "geometry": _rectangle(*bounds) if bounds else None,
        **({"bbox": list(bounds)} if bounds else {}),
        "properties": {
            "title": network.name,
            "description": (
                "Maps settlements without electricity in cells of 500 m from satellite rasters. Geometry and "
                "time are those of the training tiles, where they are known."
            ),
            **_times(network, made_at),
            "created": moment(made_at),
            "license": "other" if network.license == "unknown" else network.license,
            **_model(network),
            **_scores(network),
        },
        "links": [],
        "assets": {
            **{name: _asset(name, network) for name in files},
            **{
                name: {
                    "href": f"./{name}",
                    "type": "application/zip; application=pytorch",
                    "title": "Checkpoint of esdseg",
                    "roles": ["mlm:checkpoint", "mlm:weights"],
                }
                for name in network.names_in_bundle()
            },
        },
    }


def _model(network: SharedNetwork) -> dict[str, JsonValue]:
    """Return the fields of the extension."""
    side, cells = network.window_size * CELL_SIZE_PX, network.window_size
    models = [checkpoint.config.model for checkpoint in network.checkpoints]
    weights = {str(getattr(model, "weights", "none")) for model in models} - {"none"}
    return {
        "mlm:name": f"esdseg-{_identifier(network.name)}",
        "mlm:architecture": network.model_names,
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:framework": "PyTorch",
        "mlm:framework_version": str(torch.__version__),
        "mlm:total_parameters": network.parameters,
        "mlm:pretrained": bool(weights),
        "mlm:pretrained_source": ", ".join(sorted(weights)) or None,
        "mlm:batch_size_suggestion": max(1, 32 // network.window_size**2),
        "mlm:input": [
            {
                "name": INPUT_NAME,
                "description": "Physical values, NaN where there is no data; any number of windows.",
                "bands": [channel.name for channel in network.channels],
                "input": {
                    "shape": [-1, len(network.channels), side, side],
                    "dim_order": ["batch", "bands", "height", "width"],
                    "data_type": "float32",
                },
                # The scale lies inside the network.
                "value_scaling": None,
                "resize_type": None,
            }
        ],
        "mlm:output": [
            {
                "name": OUTPUT_NAME,
                "description": (
                    "Probabilities of the classes in each cell of 500 m, with the temperature; NaN in cells "
                    f"with less than {MIN_CHANNEL_SHARE:.0%} of the channels."
                ),
                "tasks": ["semantic-segmentation"],
                "result": {
                    "shape": [-1, NUM_CLASSES, cells, cells],
                    "dim_order": ["batch", "class", "height", "width"],
                    "data_type": "float32",
                },
                "classification:classes": class_entries(),
                "post_processing_function": None,
            }
        ],
        "mlm:hyperparameters": network.metadata.config.model_dump(mode="json", exclude={"tracking"}),
    }


def _band(channel: Channel) -> dict[str, JsonValue]:
    place = "over all nights" if channel.place is None else f"place {channel.place} by {channel.order}"
    band = channel.sensor_band
    described: dict[str, JsonValue] = {
        "name": channel.name,
        "description": f"{channel.sensor.title}, {channel.band}, {place}",
        "data_type": "float32",
        "nodata": "nan",
    }
    return described if band is None else {**described, "spatial_resolution": band.native_size_m}


def _scores(network: SharedNetwork) -> dict[str, JsonValue]:
    card = network.card
    if card is None:
        return {}
    values: dict[str, Score] = dict(card.headline())
    return {
        "esdseg:split": card.split,
        "esdseg:selection_bias": card.selection_bias,
        "esdseg:scores": dict(values),
        "esdseg:intervals": {
            name: None if interval is None else list(interval) for name, interval in card.intervals.items()
        },
    }


def _times(network: SharedNetwork, made_at: datetime) -> dict[str, JsonValue]:
    """Return from when to when the training tiles were seen; without that, the moment of the export."""
    store, tiles = network.store, network.known_tiles(trained=True)
    days = set() if store is None else {seen.acquired for tile in tiles for seen in store.acquisitions(tile)}
    return period(days, made_at)


def _bounds(network: SharedNetwork) -> tuple[float, float, float, float] | None:
    if network.store is None:
        return None
    entries = network.store.manifest.tiles
    return tile_bounds({tile: entries[tile].georeference for tile in network.known_tiles(trained=True)})


def _rectangle(west: float, south: float, east: float, north: float) -> JsonValue:
    corners = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [[list(corner) for corner in corners]]}


def _asset(name: str, network: SharedNetwork) -> dict[str, JsonValue]:
    asset: dict[str, JsonValue] = {"href": f"./{name}"}
    if name in MODEL_FILES:
        media_type, artifact = MODEL_FILES[name]
        bands: list[JsonValue] = [_band(channel) for channel in network.channels]
        asset |= {"type": media_type, "roles": ["mlm:model"], "mlm:artifact_type": artifact}
        return {**asset, "raster:bands": bands}
    media_type, role = OTHER_FILES[name]
    asset |= {"type": media_type, "roles": [role]}
    return asset | ({"mlm:entrypoint": "predict.py"} if role == "code" else {})


def _identifier(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "network"
