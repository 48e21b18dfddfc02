import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import chain, pairwise
from pathlib import Path

import pytest

from esdseg.metrics.score_table import build_score_table, show
from esdseg.metrics.scorecard import Scorecard, Verdict, read_scorecard
from esdseg.scoring.results import make_report
from esdseg.sensors.classes import CLASSES
from tests.conftest import without_drawing
from tests.report.hostile import HOSTILE_RUN, HOSTILE_TILE, make_hostile
from tests.report.made_folder import TILES, read_json, write_json

ADDRESSES = ("src", "href", "srcset", "data", "action", "poster", "xlink:href")
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")


class Page(HTMLParser):
    """The tags, addresses, attributes and texts of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.content = ""
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))
        self.addresses += [value or "" for name, value in attrs if name in ADDRESSES]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] not in (["style"], ["script"]):
            self.content += data

    @property
    def words(self) -> str:
        return " ".join(self.content.split())


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page(folder / "report.html")


@pytest.fixture
def words_alone() -> Iterator[None]:
    """Pages are made without their pictures."""
    with without_drawing():
        yield


@pytest.mark.usefixtures("words_alone")
def test_the_page_shows_scores_tiles_notes_and_origin(own_folder: Path) -> None:
    write_json(own_folder, {**read_json(own_folder), "notes": ["A note."], "history": []})
    page = Page(make_report(str(own_folder)))

    card = read_scorecard(own_folder / "metrics.json")
    for row in build_score_table(card).headline:
        assert row.title in page.content
        assert show(row.value) in page.content
    for label_class in CLASSES:
        assert label_class.title in page.content
    for text in (*TILES, "A note.", "bootstrap_resamples: 100", "true colour", card.data.manifest_hash):
        assert text in page.content
    assert "No metrics.csv lay beside the checkpoint" in page.content


def test_the_headline_comes_with_interval_baselines_and_meaning(folder: Path, page: Page) -> None:
    metrics = read_json(folder)
    start = page.words.index("Contest F1: settlement without electricity")
    headline = page.words[start : page.words.index("Scores", start)]

    low, high = metrics["intervals"]["contest_f1"]
    assert (
        f"{show(metrics['contest_f1'])} 95 % interval {show(low)} to {show(high)}, tiles resampled."
        in headline
    )
    for name in ("majority", "all_class_1"):
        assert show(metrics["baselines"][name]["contest_f1"]) in headline
    assert "Most frequent class of the network's 9 training tiles0.000" in headline
    precision = metrics["precision"]["per_class"]["settlement_dark"]
    assert f"mapped as settlements without electricity, {100 * precision:.0f} % are" in headline


@pytest.mark.usefixtures("words_alone")
def test_the_page_says_when_and_on_which_tiles_it_was_made_and_where_they_lie(own_folder: Path) -> None:
    metrics = read_json(own_folder)
    words = Page(make_report(str(own_folder))).words
    assert "Tile1, Tile2, Tile3, Tile4." in words[:400]
    assert "Evaluated on" not in words, "older scores do not say when"
    assert "lie between" not in words, "nor where"

    places = {"Tile1": (33.904, -9.526), "Tile2": (34.2, -9.1), "Tile3": (33.95, -9.3), "Tile4": (-1, 0.5)}
    changed = {"evaluated_at": "2026-11-29T09:05:00Z", "coordinates": places}
    write_json(own_folder, {**metrics, **changed})
    words = Page(make_report(str(own_folder))).words
    assert (
        "Tile1, Tile2, Tile3, Tile4; their middles lie between 9.53° S, 1.00° W and 0.50° N, 34.20° E. "
        "Evaluated on 2026-11-29 at 09:05 UTC." in words[:500]
    )
    assert "Its middle lies at 0.50° N, 1.00° W" in words

    write_json(own_folder, {**metrics, "coordinates": {"Tile1": (33.9, -9.5)}})
    words = Page(make_report(str(own_folder))).words
    assert "lie between" not in words, "the others may lie anywhere"
    assert words.count("Its middle lies at 9.50° S, 33.90° E") == 1


def test_pooled_folds_are_named_beside_their_tiles(page: Page) -> None:
    assert "scored on 4 tiles held out by the folds" in page.words
    assert "predicted by fold 2/2" in page.words
    assert "checkpoints/b/best.ckpt: Tile2, Tile3" in page.words
    assert page.words.count("fold 1/2") > page.words.count("predicted by fold 1/2"), "curves too"


@pytest.mark.usefixtures("words_alone")
def test_the_verdict_stands_at_the_top_alone(folder: Path, own_folder: Path) -> None:
    verdict = Verdict.model_validate(read_json(folder)["verdict"])
    page = Page(folder / "report.html")
    assert verdict.sentence() in page.words[:1500]
    assert ("p", {"class": "verdict"}) in page.attributes

    unsettled = verdict.model_copy(update={"answer": "not settled"})
    changed = {"verdict": unsettled.model_dump(), "notes": [unsettled.sentence(), "Another note."]}
    write_json(own_folder, {**read_json(folder), **changed})
    page = Page(make_report(str(own_folder)))
    assert "These tiles do not settle whether this beats" in page.words[:1500]
    assert ("p", {"class": "warning"}) in page.attributes
    assert page.words.count(unsettled.sentence()) == 1, "not again among the notes"
    assert "Another note." in page.words


@pytest.mark.usefixtures("words_alone")
def test_the_threshold_stands_beside_the_headline_never_instead(folder: Path, own_folder: Path) -> None:
    metrics = read_json(folder)
    words = Page(folder / "report.html").words
    assert words.index(f"settlement without electricity {show(metrics['contest_f1'])}") < words.index("0.432")
    assert "each fold's own probability on rather than where that class is likeliest: 0.432, 95 %" in words
    assert "0.432, 95 % interval 0.211 to 0.654. Chosen on inner tiles of the fold." in words
    assert "Tile2, Tile3; temperature 2.50, threshold 0.625" in words

    one = {"threshold": 0.375, "interval": None, "selection_bias": True}
    write_json(own_folder, {**metrics, "threshold_contest_f1": {**metrics["threshold_contest_f1"], **one}})
    page = Page(make_report(str(own_folder)))
    assert "a probability of 0.375 on rather than where that class is likeliest: 0.432. Chosen" in page.words
    assert ("p", {"class": "warning"}) in page.attributes


@pytest.mark.usefixtures("words_alone")
def test_calibration_is_told_without_and_with_the_temperature(folder: Path, own_folder: Path) -> None:
    metrics = read_json(folder)
    page = Page(folder / "report.html")
    assert "Each fold's own temperature acts on these probabilities; chosen on inner tiles" in page.words
    after = metrics["calibration"]
    for title, before, name in (
        ("Expected calibration error", "0.234", "expected_calibration_error"),
        ("Brier score, all classes", "0.988", "brier"),
        ("Brier score, settlement without electricity", "0.346", "brier_contest"),
        ("Mean confidence", "0.876", "mean_confidence"),
    ):
        assert f"{title}</th><td>{before}</td><td>{show(after[name])}</td>" in page.text

    write_json(own_folder, {**metrics, "temperature": {**metrics["temperature"], "value": 1.5}})
    assert "A temperature of 1.50 acts on" in Page(make_report(str(own_folder))).words


@pytest.mark.usefixtures("words_alone")
def test_without_calibration_and_simple_models_nothing_is_said_of_them(own_folder: Path) -> None:
    metrics = read_json(own_folder)
    for name in ("threshold_contest_f1", "temperature", "verdict"):
        metrics[name] = None
    metrics["calibration"]["uncalibrated"] = None
    write_json(own_folder, metrics)

    words = Page(make_report(str(own_folder))).words

    for text in ("likeliest", "emperature acts", "simple model"):
        assert text not in words


@pytest.mark.usefixtures("words_alone")
def test_tiles_that_chose_the_checkpoint_are_told_at_the_top(own_folder: Path) -> None:
    scores = dict.fromkeys(("accuracy", "jaccard_macro", "f1_macro", "auc_macro"), 0.5)
    last = {"checkpoint": "last.ckpt", "contest_f1": 0.123, **scores}
    biased = {"selection_bias": True, "tiles_known_by": "content", "last_checkpoint": last}
    write_json(own_folder, {**read_json(own_folder), **biased})

    words = Page(make_report(str(own_folder))).words

    assert "too good for new tiles. The last checkpoint, which no score chose: 0.123." in words[:1500]


def test_the_page_is_complete_in_itself(page: Page) -> None:
    inner = [address for address in page.addresses if not address.startswith("#")]

    assert len(inner) >= 3
    assert all(address.startswith("data:image/webp;base64,") for address in inner)
    assert not {"link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert page.tags.count("script") == 1
    # Charts are clipped to their own frames.
    text = re.sub(r'clip-path="url\(#\w+\)"', "", page.text)
    for outside in ("http:", "https:", "url(", "@import"):
        assert outside not in text


def test_links_lead_to_places_in_the_page_and_no_two_have_one_name(page: Page) -> None:
    targets = {address.removeprefix("#") for address in page.addresses if address.startswith("#")}

    assert targets
    assert targets <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)


def test_the_page_can_be_heard(page: Page) -> None:
    found = dict.fromkeys(page.tags)
    assert ("html", {"lang": "en"}) in page.attributes
    assert any(attributes.get("name") == "viewport" for tag, attributes in page.attributes if tag == "meta")
    assert {"title", "main", "header", "nav", "caption"} <= set(found)

    levels = [int(tag[1]) for tag in page.tags if tag in HEADINGS]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))

    for tag, attributes in page.attributes:
        match tag:
            case "img":
                assert attributes.get("alt")
            case "svg":
                assert attributes.get("role") == "img"
                assert attributes.get("aria-label")
            case "th":
                assert attributes.get("scope") in ("row", "col")
            case "input":
                assert attributes.get("aria-label") or attributes.get("id") == "safe-colors"
    assert page.text.count("<label") == page.tags.count("select") + 1


def test_what_comes_from_outside_is_escaped(own_folder: Path) -> None:
    page = Page(make_report(str(make_hostile(own_folder))))

    assert page.tags.count("script") == 1
    assert not [names for _, names in page.attributes if any(name.startswith("on") for name in names)]
    assert page.content.count(HOSTILE_TILE) >= 3
    assert page.content.count(HOSTILE_RUN) >= 8


def test_undefined_scores_are_dashes_never_none(own_folder: Path) -> None:
    metrics = read_json(own_folder)
    undefined: dict[str, object] = {
        "contest_f1": None,
        "intervals": dict.fromkeys(metrics["intervals"]),
        "history": [],
        "worst_cells": [],
        "folds": None,
    }
    for place in ("precision", "recall", "auc"):
        metrics[place]["per_class"] = dict.fromkeys(metrics[place]["per_class"])
    for place in ("roc", "precision_recall"):
        metrics[place] = dict.fromkeys(metrics[place])
    calibration = {**metrics["calibration"], "expected_calibration_error": None, "brier": None}
    write_json(own_folder, {**metrics, **undefined, "calibration": calibration})

    page = Page(make_report(str(own_folder)))

    assert "None" not in page.text
    assert "nan" not in page.content.lower().split()
    assert "No interval" in page.content
    assert "No curve" in page.content
    assert "No cell is wrong" in page.content


def test_every_number_of_the_tables_is_that_of_the_scores(folder: Path, page: Page) -> None:
    metrics = read_json(folder)

    for table in build_score_table(Scorecard.model_validate(metrics)).tables(""):
        for row in table.rows:
            assert all(cell.strip() in page.words for cell in row)
    for count in chain.from_iterable(metrics["confusion_matrix"]):
        assert f"{count:,}" in page.words
    for cell in metrics["worst_cells"]:
        assert f"{cell['tile']}, row {cell['row']}, column {cell['column']}" in page.words
    for tile in TILES:
        assert show(metrics["tiles_detail"][tile]["contest_f1"]) in page.words
