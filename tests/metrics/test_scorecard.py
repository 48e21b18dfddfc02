from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from esdseg.errors import InputDataError
from esdseg.metrics.scorecard import Scorecard, Verdict, WorstCell, read_scorecard
from tests.report.made_folder import made_folder, read_json
from tests.scoring.scored_runs import made_card, made_tiles

Damage = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_folder(tmp_path_factory.mktemp("predictions") / "crossed")


def test_the_dump_is_read_as_the_same_scorecard(tmp_path: Path) -> None:
    card = made_card(made_tiles(3))
    (tmp_path / "metrics.json").write_text(card.dump())

    assert read_scorecard(tmp_path / "metrics.json") == card
    assert card.networks() == (0, 0, 0)


def test_the_networks_of_folds_are_told_apart(folder: Path) -> None:
    card = read_scorecard(folder / "metrics.json")

    assert card.tiles == ("Tile1", "Tile2", "Tile3", "Tile4")
    assert card.networks() == (0, 1, 1, 0)
    assert [card.fold_of(tile) for tile in card.tiles] == ["1/2", "2/2", "2/2", "1/2"]


def test_a_verdict_says_by_how_much_against_what_and_which_checkpoint_was_judged() -> None:
    difference = {"value": 0.1, "interval": (0.08, 0.12), "win_probability": 0.9}
    verdict = Verdict.model_validate(
        {
            "answer": "beats",
            "against": "cell_logistic",
            "checkpoint": "runs/a/last.ckpt",
            "differences": {"contest_f1": difference, "f1_macro": {**difference, "interval": None}},
        }
    )

    assert verdict.sentence() == (
        "Beats the best simple model, logistic regression on cell statistics (cell_logistic): contest F1 "
        "+0.100 (95 % interval +0.080 to +0.120), macro F1 +0.100. Judged by runs/a/last.ckpt, which these "
        "tiles did not choose."
    )
    open_question = verdict.model_copy(update={"answer": "not settled"}).sentence()
    assert open_question.startswith("These tiles do not settle whether this beats the best simple model")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"accuracy": NaN}', b'{"accuracy": 1}']
)
def test_what_is_no_scorecard_is_refused_with_what_mends_it(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_bytes(content)

    with pytest.raises(InputDataError, match=r"metrics\.json is no metrics\.json of this version.*evaluate"):
        read_scorecard(tmp_path / "metrics.json")


def test_a_number_that_is_none_is_refused_with_its_place(tmp_path: Path) -> None:
    text = made_card(made_tiles(2)).dump().replace('"accuracy": 0', '"accuracy": NaN, "x": 0', 1)
    (tmp_path / "metrics.json").write_text(text)

    with pytest.raises(InputDataError, match="at 'accuracy'"):
        read_scorecard(tmp_path / "metrics.json")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda metrics: metrics.pop("roc"), "roc"),
        (lambda metrics: metrics["roc"].pop("empty_lit"), "its classes are not"),
        (lambda metrics: metrics["baselines"].pop("majority"), "majority is missing"),
        (lambda metrics: metrics["verdict"]["differences"].pop("f1_macro"), "its scores are not"),
        (lambda metrics: metrics["tiles_detail"]["Tile2"].update(confusion_matrix=[[1]]), "Tile2.confusion"),
        (lambda metrics: metrics["confusion_matrix"][0].__setitem__(0, 9), "do not add up"),
        (lambda metrics: metrics["confusion_matrix"][0].__setitem__(0, -1), "greater than or equal to 0"),
        (lambda metrics: metrics["intervals"].update(accuracy="wide"), "intervals.accuracy"),
        (lambda metrics: metrics["data"].pop("manifest_hash"), "data.manifest_hash"),
        (lambda metrics: metrics.update(beats_cell_boosting=True), "beats_cell_boosting"),
        (lambda metrics: metrics["tiles"].append("../elsewhere"), "names no folder"),
        (lambda metrics: metrics["errors"]["ranking"].pop(), "does not name the same tiles"),
        (lambda metrics: metrics["tiles_detail"].pop("Tile2"), "tiles_detail does not name the same tiles"),
        (lambda metrics: metrics["errors"]["best"].append("Tile9"), "'Tile9' is none of its tiles"),
        (lambda metrics: metrics["worst_cells"][0].update(truth="village"), "'village' is no class"),
        (lambda metrics: metrics["worst_cells"][0].update(row=16), "less than 16"),
        (
            lambda metrics: metrics["errors"]["class_1"]["missed"]["by_distance"].pop("1"),
            "its distances are not",
        ),
    ],
)
def test_a_damaged_scorecard_is_refused(folder: Path, damage: Damage, message: str) -> None:
    metrics = read_json(folder)
    damage(metrics)

    with pytest.raises(ValidationError, match=message):
        Scorecard.model_validate(metrics)


def test_a_share_that_rounding_moved_past_1_is_1() -> None:
    cell = made_card(made_tiles(2)).worst_cells[0].model_dump()

    assert WorstCell.model_validate({**cell, "confidence": 1 + 2e-7}).confidence == 1
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        WorstCell.model_validate({**cell, "confidence": 1.01})
