"""A map says when its network saw nothing: in tables, notes, pictures, tags and scores."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from sklearn.metrics import accuracy_score

import esdseg
from esdseg.config.evaluation import EvalConfig
from esdseg.errors import InputDataError
from esdseg.prediction.channel_share import MIN_CHANNEL_SHARE
from esdseg.scoring.compare import compare
from esdseg.scoring.evaluate import evaluate
from esdseg.scoring.restitch import restitch
from esdseg.scoring.results import EvaluationResult, make_report
from esdseg.store.manifest import SplitName
from tests.datasets.make_store import make_store
from tests.scoring.checkpoints import write_checkpoint
from tests.scoring.conftest import CHANNELS, for_restitch

pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")

SPLIT: dict[str, SplitName] = {
    "Tile1": "train", "Whole": "val", "Holed": "val", "Blind": "val", "Dark": "test",
}  # fmt: skip
HOLE = (slice(1, None), slice(0, 16), slice(0, 5))
"""All channels but one, in five columns of cells."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> EvalConfig:
    folder = tmp_path_factory.mktemp("shares")
    holed = np.zeros((len(CHANNELS), 16, 16), bool)
    holed[HOLE] = True
    blind = np.ones_like(holed)
    blind[0] = False
    no_data = {"Holed": holed, "Blind": blind, "Dark": blind}
    store = make_store(folder / "processed", split=SPLIT, channels=CHANNELS, no_data=no_data)
    write_checkpoint(folder / "runs/all/best.ckpt", store, run_name="all", channels=store.channels)
    for name, position in (("night", 0), ("later", 9)):
        write_checkpoint(
            folder / "runs" / name / "best.ckpt", store, run_name=name, channels=store.channels[position:][:1]
        )
    return EvalConfig(
        checkpoint="all",
        checkpoints_dir=folder / "runs",
        processed_dir=folder / "processed",
        predictions_dir=folder / "predictions",
        accelerator="cpu",
        precision="32-true",
        split="val",
        bootstrap_resamples=100,
        simple_baselines=False,
    )


@pytest.fixture(scope="module")
def evaluated(config: EvalConfig) -> EvaluationResult:
    return evaluate(config)


def test_cells_that_the_network_did_not_see_are_no_data_and_not_scored(
    evaluated: EvaluationResult, config: EvalConfig
) -> None:
    card = evaluated.card
    assert card.tiles == ("Holed", "Whole")
    assert (card.cells, card.cells_without_data) == (256 + 11 * 16, 256 + 5 * 16)
    one = 1 / len(CHANNELS)
    assert card.channel_shares == pytest.approx({"Whole": 1, "Holed": (11 + 5 * one) / 16, "Blind": one})
    right = []
    for tile in card.tiles:
        codes = {}
        for name in ("truth", "prediction"):
            with rasterio.open(evaluated.output_dir / tile / f"{name}.tif") as file:
                codes[name] = file.read(1)
                assert file.nodata == 0
        mapped = codes["prediction"] > 0
        assert mapped[:, :5].any() == (tile == "Whole")
        assert mapped[:, 5:].all()
        right.append((codes["truth"][mapped], codes["prediction"][mapped]))
    truth, prediction = (np.concatenate(codes) for codes in zip(*right, strict=True))
    assert card.accuracy == pytest.approx(accuracy_score(truth, prediction))


def test_the_share_is_told_in_table_note_tags_json_and_report(evaluated: EvaluationResult) -> None:
    assert evaluated.tables[-1].rows == (("Blind", "9 %", "0 of 256"), ("Holed", "72 %", "176 of 256"))
    (note,) = [note for note in evaluated.card.notes if "channels that the network takes" in note]
    assert "2 of 3 tiles lack channels" in note
    assert "everywhere in Blind" in note
    assert note.endswith("These 336 cells are not scored.")
    assert note in evaluated.report_path.read_text()
    for name in ("prediction", "probabilities"):
        with rasterio.open(evaluated.output_dir / f"Holed/{name}.tif") as file:
            tags = file.tags()
        assert float(tags["channel_share"]) == pytest.approx(evaluated.card.channel_shares["Holed"], abs=1e-4)
        assert (tags["cells_without_data"], float(tags["min_channel_share"])) == ("80", MIN_CHANNEL_SHARE)
    with rasterio.open(evaluated.output_dir / "Holed/probabilities.tif") as file:
        assert np.isnan(file.nodata)
        assert np.isnan(file.read()).sum() == 4 * 80
    maps = evaluated.to_json()["maps"]
    assert isinstance(maps, dict)
    assert maps["Blind"]["mapped_cells"] == 0  # type: ignore[call-overload, index]


def test_the_report_and_a_comparison_are_made_from_maps_with_holes(
    evaluated: EvaluationResult, config: EvalConfig
) -> None:
    before = evaluated.report_path.read_bytes()
    assert make_report(str(evaluated.output_dir)).read_bytes() == before
    again = evaluate(config.model_copy(update={"name": "again"}))
    compared = compare([str(evaluated.output_dir), str(again.output_dir)], config.predictions_dir)
    differences = compared.runs[1].differences
    assert differences is not None
    assert differences["auc_macro"].value == pytest.approx(0)


def test_a_split_that_the_network_cannot_see_is_refused_and_old_results_stay(
    evaluated: EvaluationResult, config: EvalConfig
) -> None:
    before = evaluated.metrics_path.read_bytes()
    with pytest.raises(InputDataError, match=r"No cell can be scored: .* less than \d+ % of the channels"):
        evaluate(config.model_copy(update={"split": "test", "name": evaluated.output_dir.name}))
    assert evaluated.metrics_path.read_bytes() == before


def test_maps_tell_the_share_and_a_map_of_nothing_is_an_error(config: EvalConfig) -> None:
    result = restitch(for_restitch(config, name="maps", tiles=("Whole", "Blind")))
    assert result.channel_table is not None
    assert result.channel_table.rows == (("Blind", "9 %", "0 of 256"),)
    assert "no data (code 0) everywhere in Blind" in result.notes[0]
    whole = restitch(for_restitch(config, name="whole", tiles=("Whole",)))
    assert whole.channel_table is None
    assert whole.notes == ("Every tile has all channels that the network takes.",)
    with pytest.raises(InputDataError, match="No cell was mapped: the tiles have 9 % or less"):
        restitch(for_restitch(config, name="dark", tiles=("Dark", "Blind")))


def test_an_ensemble_has_the_share_of_the_member_that_sees_least(config: EvalConfig) -> None:
    both = for_restitch(config, checkpoint=("all", "night"), name="both", tiles=("Blind", "Whole"))
    assert [tile.channel_share for tile in restitch(both).maps] == pytest.approx([1 / len(CHANNELS), 1])


@pytest.mark.parametrize(("run", "caption"), [("night", None), ("later", b"Sentinel-2, 2020-08-16, B04")])
def test_the_picture_shows_only_what_the_network_took(
    config: EvalConfig, run: str, caption: bytes | None
) -> None:
    result = restitch(for_restitch(config, checkpoint=run, name=run, tiles=("Whole",)))
    path = result.output_dir / "Whole/satellite.jpg"
    assert path.exists() == (caption is not None)
    if caption is not None:
        with Image.open(path) as image:
            assert image.info["comment"] == caption


def test_a_script_gets_nan_or_an_error(config: EvalConfig) -> None:
    model = esdseg.load(config.checkpoints_dir / "all/best.ckpt")
    store = Path(config.processed_dir)
    assert np.isnan(model.predict("Holed", store=store)).sum() == 4 * 80
    assert np.isfinite(model.predict("Whole", store=store)).all()
    with pytest.raises(InputDataError, match="The tile has 9 % of the 11 channels"):
        model.predict("Blind", store=store)
