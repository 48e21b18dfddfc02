"""Channels taken away from a finished network: rows, words, picture and files."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from sklearn.metrics import f1_score

from esdseg.ablation.ablate import (
    picture_panels,
    picture_rows,
    picture_title,
    plan_ablation,
    take_away,
    write_ablation,
)
from esdseg.ablation.result import Ablation, Row
from esdseg.config.evaluation import AblationConfig, EvalConfig
from esdseg.errors import InputDataError, UsageError
from esdseg.models.checkpoint import load_checkpoint
from esdseg.prediction.windows import choose_device, predict_tiles
from esdseg.report.ablation_picture import draw_ablation_picture
from esdseg.scoring.evaluate import evaluate
from esdseg.store.store import Store
from tests.ablation.checkpoints import write_network, write_one_channel_network
from tests.ablation.conftest import CHANNELS, SPLIT, ablation_config
from tests.ablation.test_removal import SMALLEST
from tests.contest import channel_from_name
from tests.datasets.make_store import make_store

SEEN = "sentinel2_2_B04"
"""The only channel that the hand-made network looks at."""

ON_SEEN = {"sentinel2", "sentinel2 2", "sentinel2 B04", "sentinel1 alone", "viirs alone"}
"""The rows in which it loses that channel."""

pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered in log1p")


def ablate(config: AblationConfig) -> Ablation:
    plan = plan_ablation(config)
    return write_ablation(plan, take_away(plan))


@pytest.fixture(scope="module", autouse=True)
def empty_figures() -> None:
    """Nothing is left empty here: the picture is looked at."""


@pytest.fixture(scope="module")
def seer(workspace: Path, store: Store) -> Ablation:
    path = workspace / "checkpoints/seer/best.ckpt"
    write_one_channel_network(path, store, channel_from_name(SEEN))
    return ablate(ablation_config(workspace, checkpoint="seer"))


def by_label(result: Ablation) -> dict[str, Row]:
    return {row.label: row for row in result.rows}


def test_a_network_that_sees_one_channel_loses_all_with_it_and_nothing_with_others(seer: Ablation) -> None:
    assert (seer.whole.scores.contest_f1 or 0) > 0.99
    rows = by_label(seer)
    assert len(rows) == 3 + 3 + 6 + 6
    for label, row in rows.items():
        for name in ("contest_f1", "f1_macro", "auc_macro"):
            difference = row.differences[name]
            assert difference.value is not None
            assert difference.interval is not None
            if label in ON_SEEN:
                assert difference.value < -0.3
                assert difference.interval[1] < 0
            else:
                assert difference.value == 0
                assert difference.interval == (0, 0)
    # Every cell looks the same to it then.
    assert rows["sentinel2"].scores.auc_macro == pytest.approx(0.5, abs=0.02)


def test_scores_are_those_of_the_predicted_maps(
    seer: Ablation, workspace: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = load_checkpoint(workspace / "checkpoints/seer/best.ckpt")
    device = choose_device("cpu", "32-true")
    read_tile = Store.read_tile

    def read_without_viirs(
        self: Store, tile: str, channels: npt.NDArray[np.intp] | None = None
    ) -> npt.NDArray[np.float16]:
        image = read_tile(self, tile, channels)
        taken = range(len(image)) if channels is None else channels
        image[[self.channels[position].sensor.name == "viirs" for position in taken]] = np.nan
        return image

    for network, read in ((seer.whole, read_tile), (by_label(seer)["viirs"], read_without_viirs)):
        monkeypatch.setattr(Store, "read_tile", read)
        tiles = list(predict_tiles((checkpoint,), store, store.tile_names("val"), device))
        truth, classes = (np.ravel([getattr(one, name) for one in tiles]) for name in ("truth", "classes"))
        assert network.scores.contest_f1 == pytest.approx(f1_score(truth == 0, classes == 0))
        assert network.scores.f1_macro == pytest.approx(f1_score(truth, classes, average="macro"))
        low, high = network.intervals["f1_macro"] or (1, 0)
        assert low <= (network.scores.f1_macro or 0) <= high


def test_cells_that_an_evaluation_calls_no_data_are_not_scored(workspace: Path, tmp_path: Path) -> None:
    holed = np.zeros((len(CHANNELS), 16, 16), bool)
    holed[1:, :6] = True
    store = make_store(tmp_path / "p", split=SPLIT, channels=CHANNELS, no_data={"Tile3": holed})
    checkpoint = tmp_path / "checkpoints/seer/best.ckpt"
    write_one_channel_network(checkpoint, store, channel_from_name(SEEN))
    where = {"checkpoints_dir": tmp_path / "checkpoints", "predictions_dir": tmp_path / "predictions"}
    settings = {"checkpoint": "seer", "processed_dir": tmp_path / "p", "accelerator": "cpu", **where}
    result = ablate(ablation_config(workspace, **settings))

    card = evaluate(EvalConfig.model_validate({**settings, "simple_baselines": False})).card
    assert np.sum(card.confusion_matrix) == 512 - 6 * 16
    assert result.whole.scores.f1_macro == pytest.approx(card.f1.macro)
    assert result.whole.scores.contest_f1 == pytest.approx(card.contest_f1)


def test_two_tiles_give_no_share_of_wins(seer: Ablation) -> None:
    assert all(
        difference.win_probability is None for row in seer.rows for difference in row.differences.values()
    )
    sections = seer.tables()[1:]
    assert all(row[-1] == "–" for section in sections for row in section.rows)


def test_the_summary_names_what_costs_and_what_does_not(seer: Ablation) -> None:
    loss = -(by_label(seer)["sentinel2"].deciding.value or 0)
    assert seer.summary.startswith(f"Without sentinel2 the contest F1 falls by {loss:.2f} (")
    assert "; removing sentinel1 or viirs costs nothing measurable" in seer.summary
    assert any("never learned to do without" in note for note in seer.notes)
    assert any("Of 16 differences" in note and "about 5 % (0.8)" in note for note in seer.notes)
    assert any("These tiles chose best.ckpt" in note for note in seer.notes)
    assert any("computed anew from the others" in note for note in seer.notes)
    assert any("2 tiles alone" in note for note in seer.notes)


def test_rows_stand_in_sections_by_what_they_cost(seer: Ablation) -> None:
    labels = [row.label for row in seer.rows]
    assert labels[0] == "sentinel2"
    kinds = [row.kind for row in seer.rows]
    assert kinds == ["sensor"] * 3 + ["alone"] * 3 + ["place"] * 6 + ["band"] * 6
    assert labels[6:8] == ["sentinel2 2", "sentinel2 1"]
    scores, *sections = seer.tables()
    assert [len(section.rows) for section in sections] == [3, 3, 6, 6]
    assert sections[0].rows[0][:2] == ("sentinel2", "4")
    assert sections[0].rows[1][2] == "+0.000 (+0.000, +0.000)"
    assert sections[1].header[0] == "left"
    for table in (scores, *sections):
        assert all(len(row) == len(table.header) for row in table.rows)


def test_files_say_what_the_result_says(seer: Ablation) -> None:
    assert {path.name for path in seer.output_dir.iterdir()} == {
        "ablation.json",
        "ablation.png",
        "config.yml",
    }
    assert seer.output_dir.name == "ablate-seer"
    content = json.loads(seer.json_path.read_text())
    assert content == seer.model_dump(mode="json")
    assert set(content) == {
        *("model", "run", "checkpoint", "split", "tta", "overlap", "window_size"),
        *("tiles", "folds", "channels", "prediction_seconds"),
        *("bootstrap", "data", "versions", "whole", "rows", "summary", "notes", "output_dir", "picture"),
    }
    assert content["tiles"] == ["Tile3", "Tile10"]
    row = content["rows"][0]
    assert set(row) == {
        *("label", "kind", "how", "sensor", "place", "band", "removed_channels", "remaining_channels"),
        *("scores", "intervals", "differences", "seconds_per_tile", "parameters", "checkpoint"),
    }
    assert set(row["differences"]) == set(row["scores"]) == set(row["intervals"])
    assert set(row["differences"]["contest_f1"]) == {"value", "interval", "win_probability"}
    assert (row["sensor"], row["how"], row["remaining_channels"]) == ("sentinel2", "inference", 6)
    with Image.open(seer.picture) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_the_picture_shows_every_value_at_its_row(seer: Ablation) -> None:
    figure = draw_ablation_picture(picture_title(seer), picture_panels(seer), picture_rows(seer))

    title = (
        f"What each group of channels is worth to seer, on {len(seer.tiles)} tiles of the {seer.split} split"
    )
    assert figure.get_suptitle() == title
    panel = figure.axes[0]
    labels = [label.get_text() for label in panel.get_yticklabels()]
    assert labels[: len(seer.rows)] == [row.title for row in seer.rows]
    dots = {float(np.ravel(line.get_ydata())[0]): line for line in panel.lines if line.get_marker() == "o"}
    for row, height in zip(seer.rows, panel.get_yticks(), strict=False):
        assert float(np.ravel(dots[float(height)].get_xdata())[0]) == row.deciding.value


def test_levels_and_sensors_narrow_what_is_taken_away(workspace: Path, seer: Ablation) -> None:
    plan = plan_ablation(ablation_config(workspace, checkpoint="seer", by=("band",), sensors=("sentinel2",)))
    assert [one.label for one in plan.removals] == ["sentinel2 B02", "sentinel2 B04"]


def test_training_tiles_are_said_to_be_so(workspace: Path, seer: Ablation) -> None:
    plan = plan_ablation(ablation_config(workspace, checkpoint="seer", split="train"))
    assert any("trained on scored tiles" in note for note in plan.notes)


def test_what_cannot_be_taken_away_is_refused_before_any_work(
    workspace: Path, store: Store, seer: Ablation, tmp_path: Path
) -> None:
    single = write_network(tmp_path / "one/best.ckpt", store, SMALLEST, (channel_from_name(SEEN),))
    with pytest.raises(UsageError, match=rf"takes a single channel, {SEEN}: there is nothing to take away"):
        plan_ablation(ablation_config(workspace, checkpoint=str(single)))
    radar = tuple(c for c in store.channels if c.sensor.name == "sentinel2")
    lone = write_network(tmp_path / "two/best.ckpt", store, SMALLEST, radar)
    with pytest.raises(UsageError, match="by sensor none can be taken away that leaves any; try --by place"):
        plan_ablation(ablation_config(workspace, checkpoint=str(lone), by=("sensor",)))
    with pytest.raises(UsageError, match=r"--retrain: .*by sensor none"):
        plan_ablation(ablation_config(workspace, checkpoint=str(lone), retrain=True))
    with pytest.raises(UsageError, match=r"--sensors landsat8: .* its sensors: viirs, sentinel1, sentinel2"):
        plan_ablation(ablation_config(workspace, checkpoint="seer", sensors=("landsat8",)))
    other = write_network(tmp_path / "three/best.ckpt", store, SMALLEST, UNKNOWN)
    with pytest.raises(InputDataError, match=r"holds none of the bands that .*: landsat8 B1, landsat8 B2"):
        plan_ablation(ablation_config(workspace, checkpoint=str(other)))


UNKNOWN = (channel_from_name("landsat8_1_B1"), channel_from_name("landsat8_1_B2"))
