"""``map.html``: the map of an area on one page that needs no network."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor

from esdseg.report.gallery import CONFIDENCE_LEVELS, UNKNOWN_STYLE, confidence_levels, embed
from esdseg.report.templates import page_colors, shared_parts, templates
from esdseg.sensors.classes import CLASSES, NUM_CLASSES, UNKNOWN_LABEL, UNKNOWN_RGB
from esdseg.system.files import write_text

MAP_PAGE_NAME = "map.html"

PICTURE_SIDE_PX = 2000
"""Longer side of the satellite picture in the page, at most."""

LISTED_SETTLEMENTS = 300
"""Settlements in the list, at most; a browser takes long over more."""

CELL_SIDE_KM = 0.5


@dataclass(frozen=True)
class ListedSettlement:
    """A settlement in the list.

    Attributes:
        rank: Its rank, from 1.
        code: Its class code, 1 or 3.
        box: Its first row, first column, rows and columns on the grid.
        longitude: In degrees.
        latitude: In degrees.
        area_km2: Its area.
        probability: Mean over its cells.
        population: People in it, where that is known.
        distance_to_light_km: To the nearest cell with electricity, where there is one.
        distance_to_grid_km: To the electricity grid, where that is known.
    """

    rank: int
    code: int
    box: tuple[int, int, int, int]
    longitude: float
    latitude: float
    area_km2: float
    probability: float
    population: float | None
    distance_to_light_km: float | None
    distance_to_grid_km: float | None


@dataclass(frozen=True)
class MapPage:
    """What the page shows.

    Attributes:
        area: The area's name.
        run: The network's name.
        checkpoints: Paths of the checkpoints.
        made_at: When the map was made.
        notes: Sentences that a reader should know.
        dates: The dates that were used, by the title of the sensor.
        reference_system: Of the map, by its name.
        corners: Longitude and latitude of the lower left and the upper right corner, in degrees.
        labels: Label indices (R, C), 0 to 3; 255 is no data.
        probabilities: Of the classes, (4, R, C); NaN is no data.
        picture: The ground in true colours, (H, W, 3) uint8, over the same area; 0 where nothing was seen.
        settlements: All settlements, by rank.
        ranked_by: What ranks follow, in words.
    """

    area: str
    run: str
    checkpoints: tuple[str, ...]
    made_at: datetime
    notes: tuple[str, ...]
    dates: Mapping[str, tuple[date, ...]]
    reference_system: str
    corners: tuple[tuple[float, float], tuple[float, float]]
    labels: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.float32]
    picture: npt.NDArray[np.uint8]
    settlements: Sequence[ListedSettlement]
    ranked_by: str


def write_map_page(folder: Path, page: MapPage) -> Path:
    """Write ``map.html``: satellite picture, classes and confidence above each other, and the settlements.

    Raises:
        InputDataError: The page cannot be written.
        MissingResourceError: There is no space left.
    """
    rows, columns = page.labels.shape
    mapped = page.labels != UNKNOWN_LABEL
    dark = [settlement for settlement in page.settlements if settlement.code == CLASSES[0].code]
    people = [settlement.population for settlement in dark if settlement.population is not None]
    html = (
        templates()
        .get_template("map.html.j2")
        .render(
            **shared_parts(("page.css", "map.css"), "map.js"),
            title=f"{page.area}: esdseg map",
            page=page,
            days=[day for dates in page.dates.values() for day in dates],
            rows=rows,
            columns=columns,
            cell_km=CELL_SIDE_KM,
            picture=embed(_with_grey_gaps(page.picture), PICTURE_SIDE_PX),
            class_image=_class_image(page.labels, [label_class.color for label_class in CLASSES]),
            safe_class_image=_class_image(page.labels, [label_class.safe_color for label_class in CLASSES]),
            confidence_image=_confidence_image(page.probabilities),
            counts=np.bincount(page.labels[mapped], minlength=NUM_CLASSES).tolist(),
            mapped_cells=int(mapped.sum()),
            mean_confidence=float(page.probabilities.max(axis=0)[mapped].mean(dtype=np.float64)),
            dark=dark,
            people=sum(people) if people else None,
            listed=page.settlements[:LISTED_SETTLEMENTS],
            has_people=bool(people),
            has_grid=any(settlement.distance_to_grid_km is not None for settlement in page.settlements),
        )
    )
    write_text(folder / MAP_PAGE_NAME, html)
    return folder / MAP_PAGE_NAME


def _with_grey_gaps(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.where(picture.any(axis=-1, keepdims=True), picture, np.array(UNKNOWN_RGB, np.uint8))


def _class_image(labels: npt.NDArray[np.uint8], colors: Sequence[str]) -> str:
    """Return a pixel a cell in the colours of the classes, cells without data grey, as a data URI."""
    palette = [*(ImageColor.getrgb(color) for color in colors), UNKNOWN_RGB]
    return _embed_indices(np.where(labels < NUM_CLASSES, labels, NUM_CLASSES).astype(np.uint8), palette)


def _confidence_image(probabilities: npt.NDArray[np.float32]) -> str:
    levels, colors = confidence_levels(probabilities), page_colors()
    names = [*(f"level-{level}" for level in range(CONFIDENCE_LEVELS)), UNKNOWN_STYLE]
    indices = np.where(levels == UNKNOWN_LABEL, CONFIDENCE_LEVELS, levels).astype(np.uint8)
    return _embed_indices(indices, [ImageColor.getrgb(colors[name]) for name in names])


def _embed_indices(indices: npt.NDArray[np.uint8], palette: Sequence[tuple[int, ...]]) -> str:
    image = Image.fromarray(indices, mode="P")
    image.putpalette([value for color in palette for value in color[:3]])
    content = io.BytesIO()
    image.save(content, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
