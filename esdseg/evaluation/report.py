"""``report.html``: the results of one evaluation on one self-contained page."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image
from pydantic import JsonValue

from esdseg.evaluation.baselines import BASELINE_TITLES
from esdseg.evaluation.files import write_text
from esdseg.evaluation.score_table import build_score_table, show, show_interval
from esdseg.evaluation.scores import number_at

REPORT_NAME = "report.html"
TEMPLATE_NAME = "report.html.j2"

PICTURE_WIDTH_PX = 1200
PICTURE_QUALITY = 82
"""Of the pictures inside the report; the full ones lie beside it."""


@dataclass(frozen=True)
class GalleryTile:
    """A tile in the report's gallery.

    Attributes:
        tile: The tile's name.
        picture: Its comparison picture.
    """

    tile: str
    picture: Path


def write_report(
    path: Path,
    metrics: dict[str, JsonValue],
    config: str,
    confusion_picture: Path,
    gallery: Sequence[GalleryTile],
    pictures: Mapping[str, Path] | None = None,
) -> Path:
    """Write the report; every number in it comes from ``metrics.json``.

    Args:
        path: The file to write.
        metrics: Content of ``metrics.json``.
        config: The resolved configuration as YAML.
        confusion_picture: The confusion matrix's picture.
        gallery: The tiles to show.
        pictures: Further pictures by name: ``reliability``, ``coverage_risk`` and ``errors``, where there are
            any.
    """
    environment = Environment(
        loader=PackageLoader("esdseg.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    table = build_score_table(metrics)
    details = metrics["tiles_detail"]
    assert isinstance(details, dict)
    page = environment.get_template(TEMPLATE_NAME).render(
        metrics=metrics,
        table=table,
        headline=table.headline[0],
        baseline_titles=BASELINE_TITLES,
        show=show,
        show_interval=show_interval,
        confusion_picture=embed_picture(confusion_picture),
        gallery=[
            {
                "tile": one.tile,
                "picture": embed_picture(one.picture),
                "accuracy": number_at(details, one.tile, "accuracy"),
                "contest_f1": number_at(details, one.tile, "contest_f1"),
            }
            for one in gallery
        ],
        pictures={name: embed_picture(picture) for name, picture in (pictures or {}).items()},
        config=config,
        facts=_facts(metrics),
    )
    return write_text(path, page)


def embed_picture(path: Path) -> str:
    """Return a picture as a data URI, small enough for a page of many."""
    with Image.open(path) as picture:
        smaller = picture.convert("RGB")
    if smaller.width > PICTURE_WIDTH_PX:
        height = round(smaller.height * PICTURE_WIDTH_PX / smaller.width)
        smaller = smaller.resize((PICTURE_WIDTH_PX, height), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    smaller.save(content, format="WEBP", quality=PICTURE_QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"


def _facts(metrics: Mapping[str, JsonValue]) -> dict[str, str]:
    """Return where the scores come from: data, seeds and versions, one text each."""
    facts: dict[str, str] = {}
    for section in ("data", "bootstrap", "versions"):
        values = metrics[section]
        assert isinstance(values, dict)
        for name, value in values.items():
            text = value if isinstance(value, str) else json.dumps(value)
            facts[f"{section}: {name.replace('_', ' ')}"] = text
    return facts
