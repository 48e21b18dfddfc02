from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from esdseg.classes import CLASSES
from esdseg.evaluation import EvaluationResult
from esdseg.evaluation.confusion_picture import write_confusion_matrix
from esdseg.evaluation.report import GalleryTile, write_report
from esdseg.evaluation.score_table import show


class Page(HTMLParser):
    """The tags, addresses and texts of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.content = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]

    def handle_data(self, data: str) -> None:
        self.content += data


def test_the_page_shows_scores_tiles_notes_and_origin(evaluated: EvaluationResult) -> None:
    page = Page(evaluated.report_path)

    for row in evaluated.score_table.headline:
        assert row.title in page.content
        assert show(row.value) in page.content
    for label_class in CLASSES:
        assert label_class.title in page.content
    for tile in ("Tile3", "Tile10"):
        assert tile in page.content
    for note in evaluated.notes:
        assert note in page.content
    data = evaluated.metrics["data"]
    assert isinstance(data, dict)
    assert str(data["manifest_hash"]) in page.content
    assert "bootstrap_resamples: 200" in page.content
    assert "tiles resampled. For comparison: most frequent class" in " ".join(page.content.split())


def test_the_page_is_complete_in_itself(evaluated: EvaluationResult) -> None:
    page = Page(evaluated.report_path)

    assert len(page.addresses) == 4 + len(evaluated.pictures)
    assert all(address.startswith("data:image/webp;base64,") for address in page.addresses)
    assert not {"script", "link", "iframe"} & set(page.tags)
    text = evaluated.report_path.read_text(encoding="utf-8")
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text


def test_what_comes_from_outside_is_escaped(evaluated: EvaluationResult, tmp_path: Path) -> None:
    hostile = '<script>alert("1")</script>'
    details = evaluated.metrics["tiles_detail"]
    assert isinstance(details, dict)
    errors = evaluated.metrics["errors"]
    assert isinstance(errors, dict)
    of_tiles = errors["tiles"]
    assert isinstance(of_tiles, dict)
    metrics: dict[str, JsonValue] = {
        **evaluated.metrics,
        "run": hostile,
        "checkpoint": hostile,
        "notes": [hostile],
        "tiles_detail": {**details, hostile: details["Tile3"]},
        "errors": {
            **errors,
            "ranking": [hostile],
            "best": [hostile],
            "worst": [hostile],
            "tiles": {**of_tiles, hostile: of_tiles["Tile3"]},
        },
    }
    matrix = write_confusion_matrix(tmp_path, np.eye(4, dtype=int))

    page = Page(
        write_report(
            tmp_path / "report.html", metrics, hostile, matrix, [GalleryTile(hostile, evaluated.pictures[0])]
        )
    )

    assert "script" not in page.tags
    assert page.content.count(hostile) == 9


def test_undefined_scores_are_dashes_never_none(evaluated: EvaluationResult, tmp_path: Path) -> None:
    metrics = {**evaluated.metrics, "contest_f1": None, "intervals": {}}
    matrix = write_confusion_matrix(tmp_path, np.eye(4, dtype=int))

    page = Page(write_report(tmp_path / "report.html", metrics, "", matrix, []))

    assert "None" not in page.content
    assert "nan" not in page.content.lower().split()
    assert "No interval" in page.content


def test_the_page_says_how_far_probabilities_can_be_believed(evaluated: EvaluationResult) -> None:
    text = " ".join(Page(evaluated.report_path).content.split())

    calibration = evaluated.metrics["calibration"]
    assert isinstance(calibration, dict)
    for name in ("expected_calibration_error", "brier", "brier_contest"):
        value = calibration[name]
        assert isinstance(value, float)
        assert show(value) in text.split("can be believed")[1]


def test_the_page_says_what_was_missed(evaluated: EvaluationResult) -> None:
    text = " ".join(Page(evaluated.report_path).content.split()).split("What was missed")[1]

    errors = evaluated.metrics["errors"]
    assert isinstance(errors, dict)
    assert "tile, best first" in text
    class_1 = errors["class_1"]
    assert isinstance(class_1, dict)
    settlements = class_1["settlements"]
    assert isinstance(settlements, dict)
    assert f"Of {settlements['true']} settlements without electricity" in text
