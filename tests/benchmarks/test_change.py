"""What networks lose under other conditions: differences with intervals, missing sensors, rows."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.change import (
    BEFORE,
    CONDITIONS,
    NETWORKS,
    ROWS,
    SCORES,
    Condition,
    Experiment,
    Network,
    Row,
    estimate,
    measure,
    take_away,
)
from benchmarks.worlds import TRAINING_SEEDS, WORLDS, TrainingSet, cut_out
from esdseg.config.training import ESDConfig
from esdseg.metrics.scores import headline_scores
from esdseg.store.manifest import SplitName
from esdseg.store.store import open_store
from tests.contest import channel_from_name
from tests.store.stores import write_store


def test_scores_are_pooled_and_equal_networks_differ_by_nothing() -> None:
    counts = np.random.default_rng(0).integers(1, 40, (3, 10, 4, 4))
    pooled = headline_scores(counts.sum(axis=(0, 1)))
    for name, score in estimate(counts).items():
        assert score.value == pytest.approx(float(pooled[name]))
        assert score.low < score.value < score.high
    assert [(one.low, one.value, one.high) for one in estimate(counts, counts).values()] == [(0, 0, 0)] * 2


def test_an_interval_holds_the_luck_of_trainings_too() -> None:
    tile = np.full((1, 10, 4, 4), 10) + 90 * np.eye(4, dtype=np.int64)
    alike, unlike = np.repeat(tile, 3, axis=0), np.repeat(tile, 3, axis=0)
    unlike[2] = 20
    for name in SCORES:
        assert estimate(alike)[name].low == estimate(alike)[name].high
        assert estimate(unlike)[name].low < estimate(unlike)[name].value - 0.05


def test_a_missing_sensor_takes_its_own_channels_alone() -> None:
    names = ("viirs_1_DNB", "sentinel2_1_B04", "sentinel1_1_VV", "sentinel2_2_B04")
    image = np.ones((4, 50, 50), np.float16)
    take_away(image, [channel_from_name(name) for name in names], "sentinel2")
    assert np.isnan(image).all(axis=(1, 2)).tolist() == [False, True, False, True]
    assert not np.isnan(image[[0, 2]]).any()


def test_rows_name_networks_conditions_and_worlds_that_are_there() -> None:
    for row in ROWS:
        assert {row.network, row.against_network} <= {*NETWORKS, BEFORE}
        assert {row.condition, row.against_condition} <= CONDITIONS.keys()
    for condition in CONDITIONS.values():
        assert {condition.world, condition.training.world} <= WORLDS.keys()
        assert condition.training.labelled <= WORLDS[condition.training.world].training_tiles


def test_networks_have_settings_that_are_there() -> None:
    for network in NETWORKS.values():
        ESDConfig.model_validate(network.settings)


def test_a_network_is_trained_once_scored_and_known_by_its_settings(tmp_path: Path) -> None:
    splits: dict[str, SplitName] = {"Tile1": "train", "Tile2": "val"}
    write_store(tmp_path / "processed/contest-100", splits)
    few = TrainingSet(labelled=1)
    for seed in TRAINING_SEEDS:
        cut_out(
            open_store(tmp_path / "processed/contest-100"),
            tmp_path / f"processed/contest-{seed}-1",
            few,
            seed,
        )
    experiment = Experiment(tmp_path)
    bands = {"viirs": [], "sentinel1": ["VV"], "sentinel2": ["B04"], "landsat8": []}
    settings = {"data": {"selected_bands": bands}, "model": {"name": "cell_logistic"}}
    logistic = Network("logistic", settings)
    written = experiment.run(logistic, few, 1).stat().st_mtime_ns
    counts = experiment.confusions(logistic, Condition(few))
    blind = experiment.confusions(logistic, Condition(few, missing="sentinel2"))
    assert counts.shape == blind.shape == (3, 2, 4, 4)
    assert (counts.sum(axis=(2, 3)) == blind.sum(axis=(2, 3))).all()
    assert (counts != blind).any()
    assert experiment.run(logistic, few, 1).stat().st_mtime_ns == written
    with pytest.raises(ValueError, match="other settings"):
        experiment.run(Network("logistic", {**settings, "trainer": {"seed": 3}}), few, 1)


def test_what_was_scored_is_read_again_without_its_training_and_set_against_an_earlier_version(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    for folder, right in (("now", 60), ("before", 20)):
        for seed in TRAINING_SEEDS:
            path = tmp_path / folder / f"scored/default-contest-16-{seed}/contest.json"
            path.parent.mkdir(parents=True)
            counts = rng.integers(1, 20, (10, 4, 4)) + right * np.eye(4, dtype=np.int64)
            path.write_text(json.dumps(counts.tolist()))
    now, before = Experiment(tmp_path / "now"), Experiment(tmp_path / "before")
    assert now.is_kept(NETWORKS["default"], CONDITIONS["contest"])
    assert not now.is_kept(NETWORKS["default"], CONDITIONS["without viirs"])
    against = Row("a new default", "default", "contest", BEFORE, "contest", 0.0)
    (row,) = measure(now, [against], before)
    assert row["reached"] is True
    (worse,) = measure(before, [against], now)
    assert worse["reached"] is False
