"""Which trial comes next. Nothing is trained here."""

import itertools
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest

from esdseg.errors import UsageError
from esdseg.sweeping.continuous import LogUniform, Uniform
from esdseg.sweeping.liveness import LOCKS_FOLDER, LifeSign, is_known_dead
from esdseg.sweeping.space import Choices, Integers, Parameter, WeightedChoices
from esdseg.sweeping.spec import EarlyTermination, Metric
from esdseg.sweeping.storage import Storage, local_url
from esdseg.sweeping.study import Study, Taken
from tests.sweeping.conftest import make_sweep, open_study, rate_of, take_all

RATE = "optimizer.learning_rate"
SIZES = Choices((2, 4, 8))
RATES = LogUniform(1e-4, 1e-1)


def test_a_grid_goes_through_every_point_once(tmp_path: Path) -> None:
    parameters: dict[str, Parameter] = {
        "data.batch_size": SIZES,
        "trainer.max_epochs": Integers(1, 2),
        "optimizer.name": WeightedChoices(("adam", "sgd"), (0.9, 0.1)),
    }
    taken = take_all(open_study(make_sweep(parameters, "grid", trials=None), tmp_path), tmp_path)
    points = [
        (one.config.data.batch_size, one.config.trainer.max_epochs, one.config.optimizer.name)
        for one in taken
    ]
    assert points == list(itertools.product((2, 4, 8), (1, 2), ("adam", "sgd")))


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_no_configuration_is_trained_twice_and_few_points_are_all_found(tmp_path: Path, method: str) -> None:
    parameters = {"data.batch_size": SIZES, "trainer.max_epochs": Integers(1, 4)}
    study = open_study(make_sweep(parameters, method), tmp_path)  # type: ignore[arg-type]
    taken = take_all(study, tmp_path)
    points = {(one.config.data.batch_size, one.config.trainer.max_epochs) for one in taken}
    assert len(taken) == len(points) == 12
    assert [record.state for record in study.records()] == ["finished"] * 12


def test_the_number_of_trials_counts_those_of_earlier_calls(tmp_path: Path) -> None:
    sweep = make_sweep({RATE: RATES}, trials=3)
    assert len(take_all(open_study(sweep, tmp_path), tmp_path)) == 3
    assert take_all(open_study(sweep, tmp_path), tmp_path) == []
    more = make_sweep({RATE: RATES}, trials=5)
    assert len(take_all(open_study(more, tmp_path), tmp_path)) == 2


def test_bayes_finds_better_points_than_chance(tmp_path: Path) -> None:
    def best(method: str) -> list[float]:
        folder = tmp_path / method
        folder.mkdir()
        study = open_study(make_sweep({RATE: Uniform(1e-3, 1)}, method, trials=24), folder)  # type: ignore[arg-type]
        return sorted(rate_of(one.config) for one in take_all(study, folder))[-10:]

    assert sum(best("bayes")) > sum(best("random"))


def test_a_reached_target_ends_the_search(tmp_path: Path) -> None:
    metric = Metric("val_f1_macro", "maximize", target=0.05)
    taken = take_all(open_study(make_sweep({RATE: RATES}, metric=metric), tmp_path), tmp_path)
    rates = [rate_of(one.config) for one in taken]
    assert rates[-1] >= 0.05
    assert all(rate < 0.05 for rate in rates[:-1])


def test_a_combination_that_cannot_work_is_recorded_with_its_reason(tmp_path: Path) -> None:
    parameters = {
        "model.name": Choices(("unet",)),
        "model.n_encoders": Choices((2, 6)),
        "data.subtile_size": Choices((1, 4)),
    }
    study = open_study(make_sweep(parameters, "grid", trials=None), tmp_path)
    taken = take_all(study, tmp_path)
    assert len(taken) == 3
    (failed,) = [record for record in study.records() if record.state == "failed"]
    assert failed.settings == {"model.name": "unet", "model.n_encoders": 6, "data.subtile_size": 1}
    assert failed.reason is not None
    assert "6 encoders" in failed.reason


def test_a_failed_trial_keeps_its_reason_and_is_not_trained_again(tmp_path: Path) -> None:
    study = open_study(make_sweep({"data.batch_size": SIZES}, "grid", trials=None), tmp_path)
    sign = LifeSign(tmp_path)
    first = study.take(sign)
    assert isinstance(first, Taken)
    study.fail(first.trial, "out of memory")
    assert [one.config.data.batch_size for one in take_all(study, tmp_path)] == [4, 8]
    assert study.records()[0].reason == "out of memory"


def test_the_trial_of_a_dead_process_is_run_again(tmp_path: Path) -> None:
    study = open_study(make_sweep({RATE: RATES}, trials=2), tmp_path)
    sign = LifeSign(tmp_path)
    lost = study.take(sign)
    assert isinstance(lost, Taken)
    other = LifeSign(tmp_path)
    assert isinstance(study.take(other), Taken)
    assert study.take(other) == "wait", "the two may have to be run again"

    sign._file.close()  # What the system does when a process dies.
    again = study.take(other)
    assert isinstance(again, Taken)
    assert again.config == lost.config
    assert again.leftovers == (lost.run,)
    assert again.run != lost.run
    assert len(study.records()) == 2
    study.finish(again.trial, 0.5)
    assert [record.state for record in study.records()] == ["running", "finished"]
    # A process that was taken for dead wrongly changes nothing any more.
    study.finish(lost.trial, 0.9)
    assert [record.value for record in study.finished_trials()] == [0.5]


def test_signs_of_dead_processes_are_removed_and_no_others(tmp_path: Path) -> None:
    study = open_study(make_sweep({RATE: RATES}, trials=2), tmp_path)
    living, dead = LifeSign(tmp_path), LifeSign(tmp_path)
    dead._file.close()
    folder = tmp_path / LOCKS_FOLDER
    (folder / "killed-while-it-was-made").touch()
    (folder / "far").write_text("another machine")
    study.requeue_dead()
    assert {path.name for path in folder.iterdir()} == {living.name, "far"}


def test_a_trial_that_kills_its_process_time_and_again_counts_as_failed(tmp_path: Path) -> None:
    study = open_study(make_sweep({"data.batch_size": SIZES}, "grid", trials=None), tmp_path)
    sizes = []
    for _ in range(6):
        sign = LifeSign(tmp_path)
        taken = study.take(sign)
        assert isinstance(taken, Taken)
        sizes.append(taken.config.data.batch_size)
        sign._file.close()
    assert sizes == [2, 2, 2, 2, 4, 4]
    (failed,) = [record for record in study.records() if record.state == "failed"]
    assert failed.reason is not None
    assert "not enough memory" in failed.reason


def test_a_trial_that_was_given_back_is_run_again_however_often(tmp_path: Path) -> None:
    study = open_study(make_sweep({"data.batch_size": SIZES}, "grid", trials=None), tmp_path)
    sign = LifeSign(tmp_path)
    for _ in range(6):
        taken = study.take(sign)
        assert isinstance(taken, Taken)
        assert taken.config.data.batch_size == 2
        study.give_back({taken.trial.number})
    assert len(take_all(study, tmp_path)) == 3


def test_a_process_killed_while_it_took_a_trial_leaves_none_behind(tmp_path: Path) -> None:
    sweep = make_sweep({"data.batch_size": SIZES}, "grid", trials=None)
    study = open_study(sweep, tmp_path)
    storage = Storage(local_url(tmp_path))
    bare = optuna.load_study(study_name=sweep.name, storage=storage.rdb)
    with pytest.warns(UserWarning, match="Heartbeat"):
        bare.ask()
    assert len(take_all(study, tmp_path)) == 3
    assert [record.state for record in study.records()] == ["finished"] * 3


def test_a_trial_without_heartbeats_is_run_again_by_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {"heartbeat_seconds": 1, "grace_seconds": 2}
    study = open_study(make_sweep({RATE: RATES}, trials=1), tmp_path, **seconds)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(socket, "gethostname", lambda: "elsewhere")
        lost = study.take(LifeSign(tmp_path))
    assert isinstance(lost, Taken)
    sign = LifeSign(tmp_path)
    with study.heartbeat(lost.trial):
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            assert study.take(sign) == "wait", "it gives signs of life"
            time.sleep(0.5)
    while (again := study.take(sign)) == "wait":
        time.sleep(0.2)
    assert isinstance(again, Taken)
    assert again.config == lost.config


def test_processes_that_take_at_the_same_time_share_the_trials(tmp_path: Path) -> None:
    sweep = make_sweep({"data.batch_size": SIZES, "trainer.max_epochs": Integers(1, 4)}, trials=10)
    open_study(sweep, tmp_path)
    points: list[tuple[int | None, int]] = []

    def work() -> None:
        for one in take_all(open_study(sweep, tmp_path), tmp_path):
            points.append((one.config.data.batch_size, one.config.trainer.max_epochs))

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(work) for _ in range(3)]:
            done.result()
    assert len(points) == len(set(points)) == 10


def test_a_changed_sweep_of_the_same_name_is_refused_with_the_change(tmp_path: Path) -> None:
    open_study(make_sweep({RATE: RATES}), tmp_path)
    changed = make_sweep({RATE: LogUniform(1e-4, 1), "data.batch_size": SIZES})
    with pytest.raises(UsageError) as caught:
        open_study(changed, tmp_path)
    message = str(caught.value)
    assert "parameters.data.batch_size was not there, now it is one of 2, 4, 8" in message
    assert f"parameters.{RATE} was 0.0001 to 0.1, on a logarithmic scale, now it is 0.0001 to 1" in message
    elsewhere = make_sweep({RATE: RATES}, fixed={"data.processed_dir": "/there"}, trials=7)
    open_study(elsewhere, tmp_path)


def test_a_bad_trial_is_stopped_where_better_ones_were_further(tmp_path: Path) -> None:
    sweep = make_sweep({RATE: RATES}, termination=EarlyTermination(min_epochs=2, eta=2))
    study, sign = open_study(sweep, tmp_path), LifeSign(tmp_path)
    stops = []
    for values in ([0.5, 0.6, 0.7, 0.8], [0.5, 0.55, 0.6, 0.65], [0.1, 0.9, 0.9, 0.95]):
        taken = study.take(sign)
        assert isinstance(taken, Taken)
        stopped = [study.report(taken.trial, epoch, value) for epoch, value in enumerate(values, start=1)]
        stops.append(stopped.index(True) + 1 if True in stopped else None)
        study.finish(taken.trial, values[-1])
    assert stops == [None, 2, None], "the first epoch stops nobody"


def test_a_life_sign_ends_with_its_process(tmp_path: Path) -> None:
    sign = LifeSign(tmp_path)
    here = socket.gethostname()
    assert not is_known_dead(tmp_path, sign.name, here)
    assert not is_known_dead(tmp_path, "unknown", here)
    sign._file.close()
    assert is_known_dead(tmp_path, sign.name, here)
    assert not is_known_dead(tmp_path, sign.name, "elsewhere")


def test_an_unusable_storage_is_refused(tmp_path: Path) -> None:
    for url, expected in (
        ("nonsense", "is no database URL"),
        ("oracle://host/db", "PostgreSQL or MySQL"),
        ("sqlite://", "name the file"),
    ):
        with pytest.raises(UsageError, match=expected):
            Storage(url)
    assert Study(make_sweep({RATE: RATES}), tmp_path, Storage(f"sqlite:///{tmp_path}/own.db")).records() == []
