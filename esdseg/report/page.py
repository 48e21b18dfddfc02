"""``report.html``: every number in it comes from the scorecard, every map from the files beside it."""

import json
from pathlib import Path

import yaml

from esdseg.metrics.score_table import (
    BASELINE_TITLES,
    THRESHOLD_SCORE,
    build_score_table,
    describe_tiles,
    show,
    show_interval,
)
from esdseg.metrics.scorecard import Scorecard
from esdseg.prediction.places import places_table
from esdseg.report.error_picture import OUTCOMES
from esdseg.report.gallery import read_gallery
from esdseg.report.look import to_svg
from esdseg.report.score_pictures import draw_scores, write_score_pictures
from esdseg.report.templates import shared_parts, show_place, templates
from esdseg.report.training_curves import draw_histories
from esdseg.sensors.classes import CLASSES, CONTEST_CLASS
from esdseg.system.files import write_text

REPORT_NAME = "report.html"
SHOWN_TILES = 8
"""Tiles that are named at the top of the page."""

CONFIDENCE_TITLES = {
    "expected_calibration_error": "Expected calibration error",
    "brier": "Brier score, all classes",
    "brier_contest": f"Brier score, {CONTEST_CLASS.title.lower()}",
    "mean_confidence": "Mean confidence",
}
"""Scores of the probabilities that are shown without and with a temperature."""

DESCRIPTIONS = {
    "roc": "ROC: share of a class' cells that are found over the share of other cells that are taken for it",
    "precision_recall": "Precision over recall: share of right cells among those that are mapped as a class, "
    "over the share of the class' cells that are found",
    "reliability": "Reliability: share of right cells over their confidence, and how many cells there are",
    "coverage_risk": "Scores of the most confident cells alone, over their share of all cells",
    "loss": "Loss over the epochs",
    "scores": "Scores on the validation tiles, over the epochs",
}
"""What each chart shows, for those who do not see it."""


def write_report(folder: Path, card: Scorecard, config: str) -> Path:
    """Write ``report.html``, and the pictures of the scores as PNG, beside the tiles' maps.

    Args:
        folder: The results' folder, with a folder for each tile in it.
        card: The scores.
        config: The settings of the evaluation as YAML.

    Returns:
        The page.

    Raises:
        InputDataError: A tile's files are missing or damaged, or their maps are not those that were scored.
    """
    gallery = read_gallery(folder, card)
    table = build_score_table(card)
    scores, training = draw_scores(card), draw_histories(card.history, card.run)
    write_score_pictures(folder, scores)
    drawn = {**scores, **training}
    page = (
        templates()
        .get_template("page.html.j2")
        .render(
            **shared_parts(("page.css",), "page.js"),
            title=f"{card.run} on {'held-out' if card.split == 'fold' else card.split} tiles: esdseg report",
            card=card,
            headline=table.headline[0],
            at_threshold=next((row for row in table.headline if row.name == THRESHOLD_SCORE), None),
            verdict=card.verdict.sentence() if card.verdict else None,
            table=table,
            gallery=gallery,
            anchors={tile.name: tile.anchor for tile in gallery.tiles},
            charts={name: to_svg(figure, name, _describe(name, card)) for name, figure in drawn.items()},
            training_charts=tuple(training),
            class_by_name={label_class.name: label_class for label_class in CLASSES},
            baselines={name: card.baselines[name] for name in BASELINE_TITLES if name in card.baselines},
            baseline_titles=BASELINE_TITLES,
            outcomes=[title for title, _ in OUTCOMES],
            confidence_titles=CONFIDENCE_TITLES,
            describe_tiles=describe_tiles,
            shown_tiles=SHOWN_TILES,
            area=_describe_area(card),
            show=show,
            show_interval=show_interval,
            facts=_facts(card),
            config=config,
            training_config=yaml.safe_dump(card.training_config, sort_keys=False, allow_unicode=True),
        )
    )
    write_text(folder / REPORT_NAME, page)
    return folder / REPORT_NAME


def _describe(name: str, card: Scorecard) -> str:
    """Return what a chart shows in words; of the confusion matrix all counts."""
    if name != "confusion_matrix":
        return DESCRIPTIONS[name]
    rows = [
        f"of {label_class.title_with_code} {', '.join(f'{count:,}' for count in counts)}"
        for label_class, counts in zip(CLASSES, card.confusion_matrix, strict=True)
    ]
    return f"Confusion matrix, cells by predicted class in the order of the codes: {'; '.join(rows)}"


def _describe_area(card: Scorecard) -> str | None:
    """Return in words where the middles of the tiles lie, where all are known."""
    if not card.coordinates or set(card.coordinates) != set(card.tiles):
        return None
    if len(card.tiles) == 1:
        return f"its middle lies at {show_place(card.coordinates[card.tiles[0]])}"
    longitudes, latitudes = zip(*card.coordinates.values(), strict=True)
    south_west, north_east = (min(longitudes), min(latitudes)), (max(longitudes), max(latitudes))
    return f"their middles lie between {show_place(south_west)} and {show_place(north_east)}"


def _facts(card: Scorecard) -> dict[str, str]:
    """Return where the scores come from: data, seeds and versions, one text each."""
    facts = {
        "checkpoint": card.checkpoint,
        "learned numbers": f"{card.model_parameters:,}",
        "time to predict a tile": f"{card.seconds_per_tile:.2f} s",
    }
    sections = {"data": card.data, "bootstrap": card.bootstrap, "version": card.versions}
    for section, values in sections.items():
        for name, value in values.model_dump(mode="json").items():
            text = value if isinstance(value, str) else json.dumps(value)
            facts[f"{section}: {name.replace('_', ' ')}"] = text
    for sensor, dates, tiles in places_table(card.places).rows:
        # Tiles of other dates come after those of the first.
        name = f"dates of {sensor}, by place"
        facts[name] = f"{facts[name]}; {dates} ({tiles})" if name in facts else f"{dates} ({tiles})"
    return facts
