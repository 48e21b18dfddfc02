"""What a shared network takes, as ``inputs.json``: its channels, and how rasters become their values."""

from collections.abc import Sequence
from datetime import date

from pydantic import JsonValue

from esdseg.models.checkpoint import LoadedCheckpoint
from esdseg.sensors.channels import Channel
from esdseg.sensors.classes import CELL_SIZE_PX, CLASSES
from esdseg.sensors.sensors import RASTER_ENDINGS, Sensor
from esdseg.tiles.clouds import SKY_ROLES, sky_bands
from esdseg.tiles.values import changes_offset

INPUTS_NAME = "inputs.json"


def why_rasters_need_esdseg(checkpoints: Sequence[LoadedCheckpoint]) -> str | None:
    """Say why rasters cannot be converted by the few lines of ``predict.py``; ``None`` where they can."""
    sensors = {channel.sensor.name for checkpoint in checkpoints for channel in checkpoint.channels}
    first = checkpoints[0].metadata
    for checkpoint in checkpoints:
        recipe, own = checkpoint.metadata.recipe, checkpoint.metadata
        if recipe.scale_by == "tile":
            return "its recipe scales each tile by the tile's own values"
        if any(recipe.steps(sensor).smoothing_sigma_px for sensor in sensors):
            return "its recipe smooths the rasters"
        if (own.sensors, own.reflectance_offset) != (first.sensors, first.reflectance_offset):
            return "its networks were trained with different descriptions of the sensors"
    scaled = [channel.sensor for checkpoint in checkpoints for channel in checkpoint.channels]
    if any(sensor.file_scale for sensor in scaled):
        return "some of its sensors' files carry scales of their own"
    return None


def describe_inputs(
    checkpoints: Sequence[LoadedCheckpoint], channels: Sequence[Channel], window_size: int
) -> dict[str, JsonValue]:
    """Return the content of ``inputs.json``.

    Args:
        checkpoints: The networks.
        channels: The channels of the images, in their order.
        window_size: Label cells along each side of the images.
    """
    sensors = {channel.sensor.name: channel.sensor for channel in channels}
    offset = checkpoints[0].metadata.reflectance_offset
    return {
        "window_px": window_size * CELL_SIZE_PX,
        "cell_px": CELL_SIZE_PX,
        "classes": {str(label_class.code): label_class.title for label_class in CLASSES},
        "colors": {str(label_class.code): [*label_class.rgb, 255] for label_class in CLASSES},
        "channels": [
            {
                "name": channel.name,
                "sensor": channel.sensor.name,
                "band": channel.band,
                "place": channel.place,
                "order": channel.order,
            }
            for channel in channels
        ],
        "sensors": {name: _describe_sensor(sensor, wanted_offset=offset) for name, sensor in sensors.items()},
    }


def _describe_sensor(sensor: Sensor, wanted_offset: str) -> dict[str, JsonValue]:
    conversion = sensor.conversion
    offset, since = conversion.offset, conversion.offset_since
    if changes_offset(sensor) and wanted_offset == "keep":
        offset = 0.0
    if wanted_offset == "subtract":
        since = None
    return {
        "title": sensor.title,
        "kind": sensor.kind,
        "bands": list(sensor.band_names),
        "files": [
            {
                "pattern": pattern.regular_expression(sensor.band_names) + RASTER_ENDINGS,
                "date_format": pattern.date_format,
                "bands": list(pattern.bands) if pattern.bands else _only_band(sensor, pattern.name),
            }
            for pattern in sensor.files
        ],
        "fill_value": sensor.fill_value,
        "conversion": conversion.name,
        "scale": conversion.scale,
        "offset": offset,
        "offset_since": str(since) if isinstance(since, date) else None,
        "sky": _describe_sky(sensor),
        "projections": {name: sensor.projection_of(name) for name in sensor.projection_names},
    }


def _only_band(sensor: Sensor, pattern: str) -> list[JsonValue] | None:
    """Return the band of files whose names do not say it; ``None`` where they do."""
    return None if "{band}" in pattern else [sensor.band_names[0]]


def _describe_sky(sensor: Sensor) -> dict[str, JsonValue] | None:
    """Return the bands that tell clouds, and how their numbers become reflectance, but for dated offsets."""
    line = sensor.reflectance(has_offset=False)
    if not sky_bands(sensor) or line is None:
        return None
    bands = {role: sensor.band_with(role) for role in SKY_ROLES}
    return {
        "bands": {role: band for role, band in bands.items() if band is not None},
        "scale": line.scale,
        "offset": line.offset,
    }
