import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from esdseg.errors import InputDataError, UsageError
from esdseg.metrics.score_table import SCORE_TITLES, show, show_interval, show_signed
from esdseg.prediction.maps import write_probabilities, write_truth
from esdseg.prediction.tile_prediction import TilePrediction, scored_tiles
from esdseg.report.comparison_picture import PictureRun, draw_comparison_picture
from esdseg.scoring.compare import Comparison, compare, picture_name
from esdseg.scoring.results import EvaluationResult
from esdseg.sensors.classes import UNKNOWN_LABEL
from tests.scoring.scored_runs import made_metrics, made_tiles, write_metrics


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    for name, share in (("first", 0.0), ("second", 0.2), ("third", 0.05)):
        write_run(folder / name, made_tiles(9, share))
    return folder


@pytest.fixture
def predictions(made: Path, tmp_path: Path) -> Path:
    """Three runs that a test may change."""
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True)


def write_run(folder: Path, tiles: list[TilePrediction]) -> Path:
    """Write scores and maps as ``evaluate`` leaves them."""
    write_metrics(folder, made_metrics(tiles))
    for tile in tiles:
        (folder / tile.tile).mkdir()
        write_truth(folder / tile.tile, tile, None)
        write_probabilities(folder / tile.tile, tile, None)
    return folder


def test_the_comparison_says_what_the_scores_say(predictions: Path) -> None:
    comparison = compare(["first", "second", "third"], predictions)

    written = json.loads((predictions / "second/metrics.json").read_text())
    first, second, _ = comparison.runs
    assert first.differences is None
    assert second.scores["f1_macro"] == written["f1"]["macro"]
    assert second.card.intervals["auc_macro"] == tuple(written["intervals"]["auc_macro"])
    assert second.card.f1.per_class == written["f1"]["per_class"]
    assert second.differences is not None
    assert set(second.differences) == set(SCORE_TITLES)
    assert second.differences["accuracy"].value == pytest.approx(
        (second.scores["accuracy"] or 0) - (first.scores["accuracy"] or 0)
    )
    as_json = comparison.to_json()
    assert json.loads(json.dumps(as_json, allow_nan=False)) == as_json
    assert as_json["reference"] == "first"


def test_the_tables_hold_every_run_and_score(predictions: Path) -> None:
    comparison = compare(["first", "second"], predictions)

    scores, classes, costs = comparison.tables
    second = comparison.runs[1]
    assert second.differences is not None
    accuracy = second.differences["accuracy"]
    assert accuracy.interval is not None
    assert [row[0] for row in scores.rows[::3]] == list(SCORE_TITLES.values())
    assert scores.rows[-1] == (
        "  second",
        show(second.scores["accuracy"]),
        show_interval(second.card.intervals["accuracy"]),
        show_signed(accuracy.value),
        f"{show_signed(accuracy.interval[0])} to {show_signed(accuracy.interval[1])}",
        "> 0.99",
    )
    assert all(len(row) == len(scores.header) for row in scores.rows)
    assert [row[0] for row in classes.rows] == ["first", "second"]
    assert costs.rows[0] == ("first", "unet", "1,234,567", "0.25 s")
    assert comparison.notes == ()


def test_the_paired_difference_of_the_auc_is_that_of_the_maps(predictions: Path) -> None:
    first, second, third = compare(["first", "second", "third"], predictions).runs

    for run in (second, third):
        assert run.differences is not None
        difference = run.differences["auc_macro"]
        assert difference.value == pytest.approx(
            (run.scores["auc_macro"] or 0) - (first.scores["auc_macro"] or 0)
        )
        assert difference.interval is not None
        assert difference.interval[0] < (difference.value or 0) < difference.interval[1]
    assert second.differences is not None
    assert second.differences["auc_macro"].win_probability == 2001 / 2002
    again = compare(["first", "second"], predictions, seed=7).runs[1].differences
    assert again is not None
    assert again["auc_macro"].value == second.differences["auc_macro"].value
    assert again["auc_macro"].interval != second.differences["auc_macro"].interval


def test_without_truths_beside_the_scores_the_auc_has_no_difference(predictions: Path) -> None:
    (predictions / "second/Tile3/truth.tif").unlink()

    comparison = compare(["first", "second", "third"], predictions)

    _, second, third = comparison.runs
    assert set(second.differences or {}) == set(SCORE_TITLES) - {"auc_macro"}
    assert "auc_macro" in (third.differences or {})
    (note,) = comparison.notes
    assert note.startswith("No paired difference of the Macro AUC: ")
    assert "second/Tile3/truth.tif cannot be read" in note
    assert comparison.tables[0].rows[14][3:] == ("", "", "")


def test_maps_of_another_prediction_do_not_pass_for_those_scored(predictions: Path) -> None:
    write_probabilities(predictions / "first/Tile2", made_tiles(2)[0], None)

    comparison = compare(["first", "second"], predictions)

    assert "auc_macro" not in (comparison.runs[1].differences or {})
    assert "are not those that were scored" in comparison.notes[0]


def test_the_order_of_a_runs_tiles_cannot_move_its_difference(predictions: Path) -> None:
    write_run(predictions / "reversed", made_tiles(9, 0.2)[::-1])

    _, second, backwards = compare(["first", "second", "reversed"], predictions).runs

    assert second.differences == backwards.differences


def test_few_tiles_are_said(tmp_path: Path) -> None:
    for tiles, expected in ((3, "3 tiles alone"), (1, "One tile says nothing")):
        for name in ("a", "b"):
            write_metrics(tmp_path / str(tiles) / name, made_metrics(made_tiles(tiles)))

        comparison = compare(["a", "b"], tmp_path / str(tiles))
        assert expected in comparison.notes[-1]
        differences = comparison.runs[1].differences or {}
        assert {one.win_probability for one in differences.values()} == {None}, "no share from so few tiles"
        assert "1.000" not in [row[-1] for row in comparison.tables[0].rows]


def test_the_picture_lies_where_it_was_asked_for(predictions: Path) -> None:
    usual = compare(["first", "second"], predictions).picture
    asked = compare(["first", "second"], predictions, output=predictions / "deep/er.png").picture

    assert usual == predictions / "compare-first-second.png"
    for path in (usual, asked):
        with Image.open(path) as picture:
            assert picture.format == "PNG"


def test_only_a_png_can_be_asked_for(predictions: Path) -> None:
    with pytest.raises(UsageError, match=r"--output picture\.pdf"):
        compare(["first", "second"], predictions, output=Path("picture.pdf"))


def test_a_picture_that_cannot_be_written_is_named(predictions: Path) -> None:
    with pytest.raises(InputDataError, match=r"metrics\.json"):
        compare(["first", "second"], predictions, output=predictions / "first/metrics.json/picture.png")


def test_a_long_list_of_runs_still_names_a_file() -> None:
    assert picture_name(["a", "b/c"]) == "compare-a-c.png"
    assert picture_name(["run" * 20] * 9) == f"compare-{('run' * 20)[:30]}-and-8-more.png"


def test_the_picture_shows_every_value_and_names_as_they_are(predictions: Path) -> None:
    write_metrics(predictions / "$x_1$", made_metrics(made_tiles(9, 0.1)))
    comparison = compare(["first", "$x_1$"], predictions)

    figure = draw_comparison_picture(
        [
            PictureRun(run.label, run.card, run.class_intervals(), run.differences or {})
            for run in comparison.runs
        ]
    )

    assert figure.get_suptitle() == "first and $x_1$ on 9 tiles of the val split, with 95 % intervals"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["first", "$x_1$"]
    positions = [np.ravel(line.get_xdata()) for line in figure.axes[0].lines]
    drawn = np.concatenate([one for one in positions if one.size == 1])
    expected = [run.scores[name] for run in comparison.runs for name in SCORE_TITLES]
    np.testing.assert_allclose(drawn, np.array(expected, dtype=float))
    for axes, compared in zip(figure.axes, (10, 4, 8), strict=True):
        sizes = [np.size(line.get_xdata()) for line in axes.lines if line.get_linewidth() == 2]
        assert sizes.count(2) == compared, "without maps there is no difference of the AUC"
    assert figure.axes[0].get_xlim() == figure.axes[2].get_xlim() == (0, 1)


def test_the_f1_of_the_contests_class_has_the_interval_of_the_contest_f1(predictions: Path) -> None:
    for run in compare(["first", "second"], predictions).runs:
        assert run.class_intervals()["settlement_dark"] == run.card.intervals["contest_f1"]
        as_json: Any = run.to_json()
        assert as_json["class_f1_intervals"]["settlement_dark"] == list(
            run.card.intervals["contest_f1"] or ()
        )


def test_evaluate_writes_all_that_a_comparison_needs(evaluated: EvaluationResult, tmp_path: Path) -> None:
    copy = write_metrics(tmp_path / "copy", evaluated.card.model_dump(mode="json"))

    one, other = compare([str(evaluated.output_dir), str(copy)], tmp_path).runs

    assert one.scores == other.scores
    assert one.card.model_parameters > 0
    assert one.card.seconds_per_tile > 0


def test_networks_of_folds_are_ranked_apart(tmp_path: Path) -> None:
    tiles = made_tiles(4)
    folds = [
        {"fold": f"{number}/2", "seed": 0, "checkpoint": f"{number}.ckpt", "tiles": names}
        | {"temperature": None, "contest_threshold": None}
        for number, names in ((1, ["Tile1", "Tile2"]), (2, ["Tile3", "Tile4"]))
    ]
    for name, network in (("alone", None), ("crossed", folds)):
        folder = write_run(tmp_path / name, tiles)
        write_metrics(folder, {**made_metrics(tiles), "folds": network})

    _, crossed = compare(["alone", "crossed"], tmp_path).runs

    own = [scored_tiles(pair).scores().auc.macro or 0 for pair in (tiles[:2], tiles[2:])]
    together = scored_tiles(tiles).scores().auc.macro or 0
    difference = (crossed.differences or {})["auc_macro"].value
    assert difference == pytest.approx(np.mean(own) - together, abs=1e-3)
    assert difference != 0


def test_a_run_is_found_by_its_name_and_by_its_folder(predictions: Path) -> None:
    first, second = compare(["first", str(predictions / "second")], predictions).runs

    assert (first.label, second.label) == ("first", "second")


def test_folders_of_one_name_are_called_by_their_paths(predictions: Path) -> None:
    other = write_metrics(predictions / "other/first", made_metrics(made_tiles(9)))

    runs = compare(["first", str(other)], predictions, output=predictions / "picture.png").runs

    assert [run.label for run in runs] == ["first", str(other)]


@pytest.mark.parametrize(
    ("names", "message"),
    [(["first"], "two runs or more"), (["first", "second", "first"], "the same run")],
)
def test_runs_must_be_two_and_differ(predictions: Path, names: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compare(names, predictions)


def test_a_run_that_was_not_evaluated_is_told_the_command(predictions: Path) -> None:
    (predictions / "maps").mkdir()

    with pytest.raises(
        InputDataError, match=r"maps holds no metrics.json; .*`esdseg evaluate --checkpoint maps --name maps`"
    ):
        compare(["first", "maps"], predictions)
    with pytest.raises(
        InputDataError, match=r"holds first, second, third.*`esdseg evaluate --checkpoint fourth"
    ):
        compare(["first", "fourth"], predictions)


def test_damaged_scores_are_refused_with_their_place(predictions: Path) -> None:
    write_metrics(predictions / "damaged", {**made_metrics(made_tiles(9)), "tiles": []})

    with pytest.raises(InputDataError, match=r"damaged/metrics\.json .*at 'tiles'.*esdseg evaluate"):
        compare(["first", "damaged"], predictions)


def other_run(predictions: Path, metrics: dict[str, Any]) -> Comparison:
    write_metrics(predictions / "other", metrics)
    return compare(["first", "other"], predictions)


def test_other_tiles_are_refused(predictions: Path) -> None:
    with pytest.raises(InputDataError, match=r"different tiles: other alone has Tile10;"):
        other_run(predictions, made_metrics(made_tiles(10)))


def test_other_truths_are_refused(predictions: Path) -> None:
    tiles = made_tiles(9)
    truth = tiles[1].truth.copy()
    truth[0, :4] = UNKNOWN_LABEL
    tiles[1] = TilePrediction("Tile2", truth, tiles[1].probabilities)

    with pytest.raises(InputDataError, match=r"different truths: .* of tile Tile2 are"):
        other_run(predictions, made_metrics(tiles))


def test_other_stores_are_refused(predictions: Path) -> None:
    with pytest.raises(InputDataError, match=r"manifest aaaaaaaaaaaa and bbbbbbbbbbbb"):
        other_run(predictions, made_metrics(made_tiles(9), "b" * 64))
