import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import JsonValue

from esdseg.errors import InputDataError, UsageError
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.scoring.scored_run import check_comparable, open_scored_runs
from esdseg.sensors.classes import UNKNOWN_LABEL
from tests.scoring.scored_runs import made_metrics, made_tiles, write_metrics


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    for name, share in (("first", 0.0), ("second", 0.2)):
        write_metrics(tmp_path / name, made_metrics(made_tiles(3, share)))
    return tmp_path


def test_a_run_is_found_by_its_name_and_by_its_folder(predictions: Path) -> None:
    first, second = open_scored_runs(["first", str(predictions / "second")], predictions)

    assert (first.label, second.label) == ("first", "second")
    assert (first.tiles, first.parameters, first.seconds_per_tile) == (
        ("Tile1", "Tile2", "Tile3"),
        1234567,
        0.25,
    )
    assert first.confusions.shape == (3, 4, 4)
    assert first.confusions.sum() == 3 * 256
    check_comparable([first, second])


def test_folders_of_one_name_are_called_by_their_paths(predictions: Path) -> None:
    other = write_metrics(predictions / "other/first", made_metrics(made_tiles(3)))

    runs = open_scored_runs(["first", str(other)], predictions)

    assert [run.label for run in runs] == ["first", str(other)]


@pytest.mark.parametrize(
    ("names", "message"),
    [(["first"], "two runs or more"), (["first", "second", "first"], "the same run")],
)
def test_runs_must_be_two_and_differ(predictions: Path, names: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_scored_runs(names, predictions)


def test_a_run_that_was_not_evaluated_is_told_the_command(predictions: Path) -> None:
    (predictions / "maps").mkdir()

    with pytest.raises(
        InputDataError, match=r"maps holds no metrics.json; .*`esdseg evaluate --checkpoint maps --name maps`"
    ):
        open_scored_runs(["first", "maps"], predictions)
    with pytest.raises(
        InputDataError, match=r"holds first, second.*`esdseg evaluate --checkpoint third --name third`"
    ):
        open_scored_runs(["first", "third"], predictions)


def changed(place: tuple[str, ...], value: JsonValue) -> dict[str, JsonValue]:
    metrics = made_metrics(made_tiles(3))
    inner: Any = metrics
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return metrics


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (changed(("tiles",), []), "at 'tiles'"),
        (changed(("tiles",), ["Tile1", "Tile99"]), "no counts of tile 'Tile99'"),
        (changed(("tiles",), ["Tile1", "Tile2"]), "do not add up"),
        (changed(("tiles_detail", "Tile2", "confusion_matrix"), [[1]]), "Tile2.confusion_matrix"),
        (changed(("confusion_matrix",), [[-1] * 4] * 4), "at 'confusion_matrix"),
        (changed(("data",), {}), "at 'data.manifest_hash'"),
        (changed(("intervals", "accuracy"), "wide"), "at 'intervals.accuracy'"),
        (changed(("accuracy",), float("nan")), "NaN is no score"),
    ],
)
def test_damaged_scores_are_refused_with_their_place(
    predictions: Path, metrics: dict[str, JsonValue], message: str
) -> None:
    write_metrics(predictions / "damaged", metrics)

    with pytest.raises(InputDataError, match="esdseg evaluate") as caught:
        open_scored_runs(["first", "damaged"], predictions)
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(predictions: Path, content: bytes) -> None:
    (predictions / "second/metrics.json").write_bytes(content)

    with pytest.raises(InputDataError, match=r"second/metrics\.json is no"):
        open_scored_runs(["first", "second"], predictions)


def other_run(predictions: Path, metrics: dict[str, JsonValue]) -> None:
    write_metrics(predictions / "other", metrics)
    check_comparable(open_scored_runs(["first", "other"], predictions))


def test_other_tiles_are_refused(predictions: Path) -> None:
    with pytest.raises(InputDataError, match=r"different tiles: other alone has Tile4;"):
        other_run(predictions, made_metrics(made_tiles(4)))


def test_other_truths_are_refused(predictions: Path) -> None:
    tiles = made_tiles(3)
    truth = tiles[1].truth.copy()
    truth[0, :4] = UNKNOWN_LABEL
    tiles[1] = TilePrediction("Tile2", truth, tiles[1].probabilities)

    with pytest.raises(InputDataError, match=r"different truths: .* of tile Tile2 are"):
        other_run(predictions, made_metrics(tiles))


def test_other_stores_are_refused(predictions: Path) -> None:
    with pytest.raises(InputDataError, match=r"manifest aaaaaaaaaaaa and bbbbbbbbbbbb"):
        other_run(predictions, made_metrics(made_tiles(3), "b" * 64))


def test_the_order_of_the_tiles_does_not_matter(predictions: Path) -> None:
    metrics = made_metrics(made_tiles(3)[::-1])
    write_metrics(predictions / "reversed", metrics)

    first, other = open_scored_runs(["first", "reversed"], predictions)

    check_comparable([first, other])
    np.testing.assert_array_equal(first.confusions, other.confusions[::-1])
    assert json.loads(other.path.read_text())["tiles"] == ["Tile3", "Tile2", "Tile1"]
