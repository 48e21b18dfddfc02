"""Maps of areas made by hand."""

from datetime import UTC, date, datetime

import numpy as np
import numpy.typing as npt

from esdseg.mapping.area_map import AreaMap
from esdseg.mapping.products import MapSource
from esdseg.sensors.classes import NUM_CLASSES, UNKNOWN_LABEL
from esdseg.tiles.area import CellGrid

UTM_36_SOUTH = "EPSG:32736"
LEFT_M, TOP_M = 400_000.0, 8_900_000.0
DATES = {"sentinel2": (date(2023, 8, 11), date(2023, 8, 16)), "viirs": (date(2023, 8, 9),)}
SOURCE = MapSource("Chipata", "first", ("checkpoints/first/best.ckpt",), datetime(2024, 5, 1, 12, tzinfo=UTC))


def make_area(
    codes: npt.ArrayLike,
    confidence: npt.ArrayLike = 0.7,
    light: npt.ArrayLike = 1.0,
    pixels_per_cell: int = 4,
) -> AreaMap:
    """Make a map of given codes 1 to 4, 0 for no data, (R, C), whose classes have a given probability."""
    codes = np.asarray(codes, np.uint8)
    rows, columns = codes.shape
    sure = np.broadcast_to(np.asarray(confidence, np.float32), codes.shape)
    probabilities = np.broadcast_to((1 - sure) / (NUM_CLASSES - 1), (NUM_CLASSES, rows, columns)).copy()
    labels = np.where(codes > 0, codes - 1, UNKNOWN_LABEL)
    for label in range(NUM_CLASSES):
        probabilities[label][labels == label] = sure[labels == label]
    probabilities[:, codes == 0] = np.nan
    shades = np.random.default_rng(0).integers(40, 200, (rows, columns, 3), dtype=np.uint8)
    shades[codes == 0] = 0
    return AreaMap(
        grid=CellGrid(UTM_36_SOUTH, LEFT_M, TOP_M, rows, columns),
        probabilities=probabilities.astype(np.float32),
        channel_share=np.where(codes > 0, 1.0, 0.1).astype(np.float32),
        light=np.broadcast_to(np.asarray(light, np.float32), codes.shape).copy(),
        picture=shades.repeat(pixels_per_cell, axis=0).repeat(pixels_per_cell, axis=1),
        dates=DATES,
    )


def random_codes(rows: int, columns: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Draw codes in patches, with the shares of the contest's classes and some cells without data."""
    generator = np.random.default_rng(seed)
    small = generator.choice(5, size=(rows // 2 + 1, columns // 2 + 1), p=(0.05, 0.38, 0.5, 0.05, 0.02))
    return small.repeat(2, axis=0).repeat(2, axis=1)[:rows, :columns].astype(np.uint8)
