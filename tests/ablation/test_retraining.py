"""Networks that are trained again without a group of channels."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from esdseg.ablation.ablate import AblationPlan, plan_ablation, take_away, train_again
from esdseg.ablation.result import Row
from esdseg.ablation.retraining import estimate_seconds, runs_to_train
from esdseg.baselines.checkpoint import open_checkpoint
from esdseg.errors import InputDataError, UsageError
from esdseg.models.checkpoint import METADATA_KEY, load_checkpoint
from esdseg.prediction.tile_prediction import scored_tiles
from esdseg.prediction.windows import choose_device, predict_tiles
from esdseg.store.store import Store
from esdseg.training.callbacks import EpochReport
from esdseg.training.fit import fit
from esdseg.training.folds import fit_folds
from tests.ablation.conftest import ALL_BANDS, ablation_config
from tests.cli.conftest import run_here
from tests.training.conftest import tiny_config

BANDS_LEFT = {"viirs": ["DNB", "DNB_max", "DNB_median"], "sentinel2": ["B02", "B04"]}

pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered in log1p")


def stop(report: EpochReport) -> None:
    raise KeyboardInterrupt


def planned(workspace: Path, **settings: object) -> AblationPlan:
    return plan_ablation(
        ablation_config(workspace, retrain=True, **{"by": ("sensor",), "sensors": ("sentinel1",), **settings})
    )


def rows_of(plan: AblationPlan) -> tuple[Row, ...]:
    return train_again(plan, take_away(plan).tiles)


def states(path: Path) -> dict[str, torch.Tensor]:
    content: dict[str, Any] = torch.load(path, weights_only=True)
    state: dict[str, torch.Tensor] = content["state_dict"]
    return state


def test_training_again_is_training_by_hand_without_the_bands(
    workspace: Path, store: Store, tmp_path: Path
) -> None:
    first = planned(workspace)
    (run,) = runs_to_train(first.retrainings)
    assert run.path == workspace / "checkpoints/ablations/tiny/without-sentinel1"
    assert run.epochs_left == 2
    inference = take_away(first)
    with pytest.raises(KeyboardInterrupt) as interruption:
        train_again(first, inference.tiles, on_epoch=stop)
    assert str(interruption.value) == "", "`esdseg train --resume` is not how to go on"
    again = planned(workspace)
    (begun,) = runs_to_train(again.retrainings)
    assert begun.epochs_left == 1
    told: list[tuple[int, int, Path]] = []
    (row,) = train_again(again, inference.tiles, on_run=lambda *run: told.append(run))
    assert told == [(1, 1, run.path)]

    config = tiny_config(store.path.parent, data={"selected_bands": BANDS_LEFT})
    by_hand = fit(config, checkpoints_dir=tmp_path, name="by-hand")

    found, expected = states(run.path / "best.ckpt"), states(by_hand.best_checkpoint)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    checkpoint = load_checkpoint(by_hand.best_checkpoint)
    device = choose_device("cpu", "32-true")
    tiles = list(predict_tiles((checkpoint,), store, ("Tile3", "Tile10"), device))
    assert row.scores == scored_tiles(tiles).scores().headline()
    assert (row.how, row.removed_channels) == ("retrained", ("sentinel1_1_VV",))
    assert row.checkpoint == run.path / "best.ckpt"
    difference = row.deciding.value
    assert difference == pytest.approx(
        (row.scores.contest_f1 or 0) - (inference.whole.scores.contest_f1 or 0)
    )


def test_what_is_finished_is_kept_and_stands_beside_what_was_taken_away(
    workspace: Path, store: Store
) -> None:
    rows_of(planned(workspace))
    last = workspace / "checkpoints/ablations/tiny/without-sentinel1/last.ckpt"
    before = last.stat().st_mtime_ns

    assert runs_to_train(planned(workspace).retrainings) == ()
    done = run_here(
        workspace,
        *("ablate", "tiny", "--by", "sensor", "--sensors", "sentinel1", "--retrain", "--json"),
        *("--processed-dir", store.path.parent, "--accelerator", "cpu", "--set", "bootstrap_resamples=200"),
    )

    assert done.returncode == 0, done.stderr
    assert "0 trainings (1 finished one kept)" in done.stderr
    assert last.stat().st_mtime_ns == before
    result = json.loads(done.stdout)
    assert result == json.loads((workspace / "predictions/ablate-tiny/ablation.json").read_text())
    assert [(row["label"], row["how"]) for row in result["rows"]] == [
        ("sentinel1", "inference"),
        ("sentinel1", "retrained"),
        ("sentinel1 alone", "inference"),
    ]
    assert "rained again without" in result["summary"] or "eaving out sentinel1" in result["summary"]
    assert any("another seed alone" in note for note in result["notes"])
    assert (workspace / "predictions/ablate-tiny/ablation.png").is_file()


def test_a_run_that_started_from_another_is_trained_again_from_it(workspace: Path, store: Store) -> None:
    whole = tiny_config(store.path.parent, data={"selected_bands": ALL_BANDS}, trainer={"max_epochs": 1})
    config = whole.model_copy(update={"model": whole.model.model_copy(update={"weights": "tiny"})})
    fit(config, checkpoints_dir=workspace / "checkpoints", name="after")

    retrained = planned(workspace, checkpoint="after")

    assert estimate_seconds(runs_to_train(retrained.retrainings)) > 0
    (row,) = rows_of(retrained)
    assert row.checkpoint == workspace / "checkpoints/ablations/after/without-sentinel1/best.ckpt"


def test_a_fitted_model_in_folds_is_fitted_again_in_each(workspace: Path, store: Store) -> None:
    config = tiny_config(store.path.parent, model={"name": "cell_logistic"}, folds={"fold": "1/2"})
    fit_folds(config, checkpoints_dir=workspace / "checkpoints", name="crossed")

    retrained = planned(workspace, checkpoint="crossed")
    (row,) = rows_of(retrained)

    folder = workspace / "checkpoints/ablations/crossed"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["without-sentinel1-fold1of2", "without-sentinel1-fold2of2"]
    assert row.checkpoint == folder / "without-sentinel1-fold*of2/best.ckpt"
    for number in (1, 2):
        mine = open_checkpoint(folder / f"without-sentinel1-fold{number}of2/best.ckpt").metadata
        whole = open_checkpoint(workspace / f"checkpoints/crossed-fold{number}of2/best.ckpt").metadata
        assert (mine.held_out_tiles, mine.train_tiles) == (whole.held_out_tiles, whole.train_tiles)
    assert retrained.output_dir.name == "ablate-crossed"
    assert len(retrained.sources.tiles) == 4


def test_how_long_it_will_take_is_measured_before(workspace: Path) -> None:
    plan = planned(workspace, sensors=("sentinel2", "viirs"))
    runs = runs_to_train(plan.retrainings)
    assert [run.path.name for run in runs] == ["without-viirs", "without-sentinel2"]
    assert estimate_seconds(runs) > 0
    assert not runs[0].path.exists()


def test_nights_are_not_trained_without_where_projections_hold_them(workspace: Path) -> None:
    plan = planned(workspace, by=("place",), sensors=("viirs", "sentinel2"))
    names = [one.runs[0].path.name for one in plan.retrainings]
    assert names == ["without-sentinel2-2"]
    assert any("the last place of a sensor" in note for note in plan.notes)
    (removed,) = plan.retrainings[0].runs
    assert removed.config.data.acquisitions is not None
    assert removed.config.data.acquisitions["sentinel2"].count == 1


def pretended(workspace: Path, folder: Path, **changes: object) -> str:
    """Copy the run ``tiny`` with another description."""
    content: dict[str, Any] = torch.load(workspace / "checkpoints/tiny/best.ckpt", weights_only=True)
    content[METADATA_KEY] |= changes
    folder.mkdir()
    torch.save(content, folder / "best.ckpt")
    return str(folder / "best.ckpt")


def test_a_run_with_other_settings_is_not_taken_for_the_same(workspace: Path, tmp_path: Path) -> None:
    rows_of(planned(workspace))
    config = load_checkpoint(workspace / "checkpoints/tiny/best.ckpt").config.model_dump(mode="json")
    config["trainer"]["seed"] = 5
    other = pretended(workspace, tmp_path / "tiny", config=config)
    with pytest.raises(
        UsageError, match=r"without-sentinel1 was trained with other settings \(trainer.seed\)"
    ):
        planned(workspace, checkpoint=other)


def test_a_store_that_changed_since_is_refused(workspace: Path, tmp_path: Path) -> None:
    other = pretended(workspace, tmp_path / "tiny", manifest_hash="0" * 64)
    with pytest.raises(InputDataError, match=r"--retrain: .* is not the store that"):
        planned(workspace, checkpoint=other)
