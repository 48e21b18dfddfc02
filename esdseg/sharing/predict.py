"""Map one tile with model.onnx, without esdseg and PyTorch: python predict.py TILE_FOLDER OUT_FOLDER.

The tile's rasters lie in one folder, all on one grid of 10 m pixels, under names that inputs.json knows.
Which date fills which place is printed; SENSOR=DATE,DATE behind the folders puts dates in another order.
Needed are numpy, onnxruntime and rasterio.
"""

import json
import re
import sys
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import rasterio

HERE = Path(__file__).parent
Image = np.ndarray[Any, Any]


def read_rasters(folder: Path, sensors: Any) -> tuple[dict[tuple[str, str, str], Image], Any]:
    """Return raw numbers by sensor, date and band, NaN where nothing was measured, and where they lie."""
    rasters, place = {}, None
    for path in sorted(folder.iterdir()):
        for name, sensor in sensors.items():
            for file in sensor["files"]:
                match = re.fullmatch(file["pattern"], path.name, re.IGNORECASE | re.ASCII)
                if match is None:
                    continue
                day = f"{datetime.strptime(match['date'], file['date_format']):%Y-%m-%d}"
                spelled = {band.upper(): band for band in sensor["bands"]}
                with rasterio.open(path) as source:
                    place = place or source.profile
                    for index, band in enumerate(file["bands"] or [spelled[match["band"].upper()]], 1):
                        numbers = source.read(index, masked=True).astype(np.float32).filled(np.nan)
                        numbers[numbers == sensor["fill_value"]] = np.nan
                        rasters[name, day, band] = numbers
    return rasters, place


def order_dates(name: str, order: str, sensor: Any, rasters: dict[tuple[str, str, str], Image]) -> list[str]:
    """Return a sensor's dates: the oldest, the darkest night, or the one with most ground in sight first."""
    days = sorted({day for own, day, _ in rasters if own == name and day})
    rank = dict.fromkeys(days, 0.0)
    if order == "darkest":
        rank = {day: round(2 * float(np.nanmedian(rasters[name, day, sensor["bands"][0]]))) for day in days}
        # The moon lights up nights that are more than 5 above the darkest.
        days = [day for day in days if rank[day] <= min(rank.values()) + 2 * 5]
    if order == "clearest" and sensor["sky"]:
        hidden = hidden_shares(name, sensor, rasters)
        rank = {day: round(hidden.get(day, 9.0) / 0.01) for day in days}
    return sorted(days, key=rank.__getitem__)


def hidden_shares(name: str, sensor: Any, rasters: dict[tuple[str, str, str], Image]) -> dict[str, float]:
    """Return the share of each date that clouds, their shadows, haze and missing pixels hide."""
    seen: dict[str, dict[str, Image]] = {"blue": {}, "near_infrared": {}, "cirrus": {}}
    for role, band in sensor["sky"]["bands"].items():
        for day in sorted({key[1] for key in rasters if key[0] == name and key[2] == band and key[1]}):
            numbers = rasters[name, day, band][2::4, 2::4]
            offset = sensor["sky"]["offset"] + offset_on(day, sensor) / sensor["scale"]
            seen[role][day] = np.where(numbers == 0, np.nan, numbers * sensor["sky"]["scale"] + offset)
    blue, ground = seen["blue"], {}
    if len(blue) < 2:
        return {}
    ranked = np.sort(np.stack(list(blue.values())), axis=0)
    reference = ranked[0 if len(blue) == 2 else 1]
    shares = {}
    for day, values in blue.items():
        known = np.isfinite(ranked[1]) & np.isfinite(values)
        cloud = known & (values - reference > 0.08)
        haze = np.nanmedian(seen["cirrus"][day]) >= 0.004 if day in seen["cirrus"] else False
        shares[day] = cloud.sum() / max(1, known.sum()) + np.isnan(values).mean() + 0.25 * haze
        if day in seen["near_infrared"]:
            ground[day] = np.where(cloud, np.nan, seen["near_infrared"][day]), cloud
    usual = np.nanmedian([values for values, _ in ground.values()], axis=0) if len(ground) > 1 else np.nan
    for day, (values, cloud) in ground.items():
        judged = cloud | np.isfinite(values * usual)
        shares[day] += (values < 0.5 * usual)[judged].sum() / max(1, judged.sum())
    return shares


def offset_on(day: str, sensor: Any) -> float:
    """Return what is added to a date's numbers before they are reflectance."""
    return float(sensor["offset"]) if day >= (sensor["offset_since"] or "") else 0.0


def clean_nights(nights: Image) -> Image:
    """Take out pixels (dates, height, width) that flash up on one of three dates or more."""
    above = nights - np.nanmedian(nights, axis=(1, 2), keepdims=True)
    ranked = np.sort(np.where(np.isnan(above), -np.inf, above), axis=0)
    is_flash = ranked[-1] > 20 + 4 * np.maximum(ranked[-2 if len(nights) > 1 else -1], 0)
    is_flash &= np.isfinite(nights).sum(axis=0) >= 3
    return np.where((above == ranked[-1]) & is_flash, np.float32(np.nan), nights)


def to_physical(numbers: Image, sensor: Any, day: str) -> Image:
    """Convert raw numbers to the units that the network takes, in the precision that it learned from."""
    kind, scale = sensor["conversion"], sensor["scale"]
    if kind == "decibel":
        values = 10 * np.log10(
            np.where((numbers > 0) & np.isfinite(numbers), numbers, np.nan).astype(np.float64)
        )
    elif kind == "reflectance":
        values = (numbers + np.float32(offset_on(day, sensor))) / np.float32(scale)
    elif kind == "digital_number":
        values = np.where((numbers > 0) & (numbers <= 65535), numbers, np.nan) / np.float32(scale)
    else:
        values = np.log1p(numbers) if kind == "log1p" else numbers
    return values.astype(np.float16).astype(np.float32)


def read_tile(folder: Path, inputs: Any, asked: dict[str, list[str]]) -> tuple[Image, Any]:
    """Return the network's channels (C, height, width), NaN where the tile has no data, and where it lies."""
    rasters, place = read_rasters(folder, inputs["sensors"])
    if not rasters:
        sys.exit(f"{folder} holds no raster under a name that inputs.json knows.")
    for name, sensor in inputs["sensors"].items():
        nights = [key for key in sorted(rasters) if key[0] == name and sensor["kind"] == "night_light"]
        if nights:
            cleaned = clean_nights(np.stack([rasters[key] for key in nights]))
            rasters.update(zip(nights, cleaned, strict=True))
            for band, function in sensor["projections"].items():
                combine = np.fmax.reduce if function == "max" else np.nanmedian
                rasters[name, "", band] = combine(cleaned, axis=0)
    wanted = dict.fromkeys((channel["sensor"], channel["order"]) for channel in inputs["channels"])
    dates = {
        (name, order): asked.get(name) or order_dates(name, order, inputs["sensors"][name], rasters)
        for name, order in wanted
    }
    for (name, order), days in dates.items():
        print(f"{name}, {order}: {', '.join(days) or 'none'}")
    image = np.full((len(inputs["channels"]), place["height"], place["width"]), np.nan, np.float32)
    for position, channel in enumerate(inputs["channels"]):
        days = ["", *dates[channel["sensor"], channel["order"]]]
        day = days[channel["place"] or 0] if (channel["place"] or 0) < len(days) else None
        numbers = rasters.get((channel["sensor"], day or "", channel["band"]))
        if numbers is not None and day is not None:
            image[position] = to_physical(numbers, inputs["sensors"][channel["sensor"]], day)
    return image, place


def predict(image: Image, inputs: Any) -> Image:
    """Return the probabilities (4, rows, columns) of each cell; NaN where there is too little data."""
    session = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])
    side = inputs["window_px"]
    if image.shape[1] % side or image.shape[2] % side:
        sys.exit(
            f"The tile has {image.shape[1]} x {image.shape[2]} pixels; both must be multiples of {side}."
        )
    rows = []
    for top in range(0, image.shape[1], side):
        windows = np.stack(np.split(image[:, top : top + side], image.shape[2] // side, axis=2))
        (probabilities,) = session.run(["probabilities"], {"image": windows})
        rows.append(np.concatenate(list(probabilities), axis=2))
    return np.concatenate(rows, axis=1)


def write_maps(folder: Path, probabilities: Image, place: Any, inputs: Any) -> None:
    """Write prediction.tif (class codes, 0 is no data) and probabilities.tif on the label grid."""
    folder.mkdir(parents=True, exist_ok=True)
    cell = inputs["cell_px"]
    profile = {
        "driver": "GTiff",
        "height": probabilities.shape[1],
        "width": probabilities.shape[2],
        "crs": place["crs"],
        "transform": place["transform"] * rasterio.Affine.scale(cell),
    }
    codes = np.where(np.isnan(probabilities[0]), 0, np.nan_to_num(probabilities).argmax(axis=0) + 1).astype(
        np.uint8
    )
    with rasterio.open(folder / "prediction.tif", "w", count=1, dtype="uint8", nodata=0, **profile) as target:
        target.write(codes, 1)
        target.write_colormap(1, {int(code): tuple(color) for code, color in inputs["colors"].items()})
    with rasterio.open(
        folder / "probabilities.tif", "w", count=4, dtype="float32", nodata=np.nan, **profile
    ) as target:
        target.write(probabilities)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    warnings.simplefilter("ignore")
    description = json.loads((HERE / "inputs.json").read_text(encoding="utf-8"))
    given = {name: days.split(",") for name, _, days in (text.partition("=") for text in sys.argv[3:])}
    tile, where = read_tile(Path(sys.argv[1]), description, given)
    write_maps(Path(sys.argv[2]), predict(tile, description), where, description)
