"""Which trial comes next, and what becomes of those whose process dies. Nothing is trained here."""

import itertools
import math
import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from esdseg.config.training import ESDConfig
from esdseg.errors import UsageError
from esdseg.sweeping.distributions import Choices, Numbers, Parameter
from esdseg.sweeping.search_space import EarlyTermination, Metric, Sweep
from esdseg.sweeping.storage import Storage
from esdseg.sweeping.study import SweepStudy, TrialFailedError
from esdseg.sweeping.sweep_file import read_sweep
from tests.sweeping.conftest import make_sweep, open_study, rate_of, run_all

RATE = "optimizer.learning_rate"
SIZES = Choices((2, 4, 8))
RATES = Numbers("log_uniform", 1e-4, 1e-1)
EPOCHS = Numbers("uniform", 1, 4, quantum=1)


def in_a_process(function: Callable[..., None], *arguments: object) -> int | None:
    """Run a function in a process of its own and return the exit code."""
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    process.join(120)
    return process.exitcode


def begin_and_die(sweep: Sweep, folder: Path) -> None:
    """Begin a trial and end the process as SIGKILL does."""
    open_study(sweep, folder).run_trials(lambda trial, config: os._exit(9))


def test_a_grid_goes_through_every_point_once(tmp_path: Path) -> None:
    parameters: dict[str, Parameter] = {
        "data.batch_size": Choices((2, 4)),
        "trainer.max_epochs": Numbers("uniform", 1, 2, quantum=1),
        "optimizer.name": Choices(("adam", "sgd"), (0.9, 0.1)),
    }
    configs = run_all(open_study(make_sweep(parameters, "grid", trials=None), tmp_path))
    points = [(one.data.batch_size, one.trainer.max_epochs, one.optimizer.name) for one in configs]
    assert points == list(itertools.product((2, 4), (1, 2), ("adam", "sgd")))


@pytest.mark.parametrize("method", ["grid", "bayes"])
def test_settings_that_a_points_model_ignores_make_no_further_trial(tmp_path: Path, method: str) -> None:
    parameters = {
        "model.name": Choices(("cell_logistic", "segmentation_cnn")),
        "model.C": Choices((0.1, 1.0)),
        "trainer.max_epochs": Choices((1, 2)),
    }
    sweep = make_sweep(parameters, method, trials=None if method == "grid" else 100)  # type: ignore[arg-type]
    study = open_study(sweep, tmp_path)
    run_all(study)
    found = [tuple(record.settings.values()) for record in study.records()]
    plain, network = "cell_logistic", "segmentation_cnn"
    expected = [(plain, 0.1), (plain, 1.0), (network, 1), (network, 2)]
    assert sorted(found, key=str) == expected
    assert sweep.count_trainings() == 4
    assert sweep.size() == 8


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_no_configuration_is_trained_twice_and_few_points_are_all_found(tmp_path: Path, method: str) -> None:
    parameters = {"data.batch_size": Choices((2, 4)), "trainer.max_epochs": EPOCHS}
    study = open_study(make_sweep(parameters, method), tmp_path)  # type: ignore[arg-type]
    configs = run_all(study)
    points = {(config.data.batch_size, config.trainer.max_epochs) for config in configs}
    assert len(configs) == len(points) == 8
    assert [record.state for record in study.records()] == ["finished"] * 8


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_a_search_without_a_number_of_trials_ends_when_all_trainings_were_tried(
    tmp_path: Path, method: str
) -> None:
    parameters: dict[str, Parameter] = {
        "data.batch_size": Choices((2, 4)),
        "data.num_workers": Choices((0, 1, 2)),
        "tracking.image_every_epochs": Numbers("uniform", 0, 1000, quantum=1),
        "optimizer.name": Choices(("adam", "sgd")),
        "optimizer.momentum": Choices((0.8, 0.9)),
    }
    sweep = make_sweep(parameters, method, trials=None)  # type: ignore[arg-type]
    assert sweep.count_trainings() == 6
    configs = run_all(open_study(sweep, tmp_path))
    tried = [(one.data.batch_size, one.optimizer.name) for one in configs]
    assert sorted(tried) == sorted([*itertools.product((2, 4), ("adam", "sgd", "sgd"))])


def test_a_default_and_its_value_are_one_training(tmp_path: Path) -> None:
    sweep = make_sweep({RATE: Choices((None, 3e-3)), "optimizer.weight_decay": Choices((0.01, None))}, "grid")
    assert sweep.count_trainings() == len(run_all(open_study(sweep, tmp_path))) == 1


def test_a_search_that_cannot_be_listed_ends_when_draws_give_nothing_new(tmp_path: Path) -> None:
    few = {"trainer.max_epochs": Numbers("log_uniform", 1, 4, quantum=2)}
    for method in ("random", "bayes"):
        sweep = make_sweep(few, method, name=method)
        assert {one.trainer.max_epochs for one in run_all(open_study(sweep, tmp_path))} == {2, 4}


def test_the_number_of_trials_counts_those_of_earlier_calls(tmp_path: Path) -> None:
    def run(trials: int) -> int:
        return len(run_all(open_study(make_sweep({RATE: RATES}, trials=trials), tmp_path)))

    assert [run(3), run(3), run(5), run(2)] == [3, 0, 2, 0]


def test_bayes_finds_better_points_than_chance(tmp_path: Path) -> None:
    def best(method: str) -> list[float]:
        sweep = make_sweep({RATE: Numbers("uniform", 1e-3, 1)}, method, trials=14, name=method)  # type: ignore[arg-type]
        return sorted(map(rate_of, run_all(open_study(sweep, tmp_path))))[-4:]

    assert sum(best("bayes")) > sum(best("random"))


def test_a_reached_target_ends_the_search(tmp_path: Path) -> None:
    metric = Metric("val_f1_macro", "maximize", target=0.05)
    rates = list(map(rate_of, run_all(open_study(make_sweep({RATE: RATES}, metric=metric), tmp_path))))
    assert rates[-1] >= 0.05
    assert all(rate < 0.05 for rate in rates[:-1])


def test_a_combination_that_cannot_work_is_recorded_with_its_reason(tmp_path: Path) -> None:
    parameters = {
        "model.name": Choices(("unet",)),
        "model.n_encoders": Choices((2, 5)),
        "data.subtile_size": Choices((1, 4)),
    }
    study = open_study(make_sweep(parameters, "grid", trials=None), tmp_path)
    assert len(run_all(study)) == 3
    (failed,) = [record for record in study.records() if record.state == "failed"]
    assert failed.settings == {"model.name": "unet", "model.n_encoders": 5, "data.subtile_size": 1}
    assert "5 encoders" in (failed.reason or "")


def test_a_failed_trial_keeps_its_reason_and_is_not_trained_again(tmp_path: Path) -> None:
    study = open_study(make_sweep({"data.batch_size": SIZES}, "grid", trials=None), tmp_path)

    def fail_first(_: optuna.Trial, config: ESDConfig) -> float:
        if config.data.batch_size == 2:
            raise TrialFailedError("out of memory")
        return 0.5

    study.run_trials(fail_first)
    study.requeue_dead()
    assert run_all(study) == []
    assert [record.state for record in study.records()] == ["failed", "finished", "finished"]
    assert study.records()[0].reason == "out of memory"


def test_the_trial_of_a_dead_process_is_run_again_in_its_place(tmp_path: Path) -> None:
    sweep = make_sweep({RATE: RATES}, trials=3)
    calm = tmp_path / "calm"
    calm.mkdir()
    undisturbed = open_study(sweep, calm)
    run_all(undisturbed)
    assert in_a_process(begin_and_die, sweep, tmp_path) == 9
    study = open_study(sweep, tmp_path)
    assert [record.state for record in study.records()] == ["running"]
    study.requeue_dead()
    run_all(study)
    assert [record.settings for record in study.records()] == [
        record.settings for record in undisturbed.records()
    ]
    assert 0 not in [record.trial for record in study.records()], "it has another number"
    assert not study.is_running()


def test_bayes_with_one_process_goes_the_same_way_after_a_kill(tmp_path: Path) -> None:
    sweep = make_sweep({RATE: Numbers("uniform", 1e-3, 1)}, "bayes", trials=12)
    calm = tmp_path / "calm"
    calm.mkdir()
    undisturbed = [rate_of(config) for config in run_all(open_study(sweep, calm))]
    run_all(open_study(make_sweep(sweep.parameters, "bayes", trials=10), tmp_path))
    assert in_a_process(begin_and_die, sweep, tmp_path) == 9
    study = open_study(sweep, tmp_path)
    study.requeue_dead()
    run_all(study)
    assert [record.value for record in study.records()] == pytest.approx(undisturbed)


def test_a_trial_that_kills_its_process_time_and_again_counts_as_failed(tmp_path: Path) -> None:
    sweep = make_sweep({"data.batch_size": SIZES}, "grid", trials=None)
    for _ in range(4):
        assert in_a_process(begin_and_die, sweep, tmp_path) == 9
        open_study(sweep, tmp_path).requeue_dead()
    study = open_study(sweep, tmp_path)
    assert [config.data.batch_size for config in run_all(study)] == [4, 8]
    assert [record.state for record in study.records()] == ["failed", "finished", "finished"]
    assert "not enough memory" in (study.records()[0].reason or "")


def test_a_trial_whose_process_was_ended_on_purpose_is_run_again_however_often(tmp_path: Path) -> None:
    sweep = make_sweep({"data.batch_size": SIZES}, "grid", trials=None)
    for _ in range(4):
        assert in_a_process(begin_and_die, sweep, tmp_path) == 9
        open_study(sweep, tmp_path).requeue_dead(were_ended=True)
    assert len(run_all(open_study(sweep, tmp_path))) == 3


def test_a_process_killed_while_it_took_a_trial_leaves_none_behind(tmp_path: Path) -> None:
    sweep = make_sweep({"data.batch_size": SIZES}, "grid", trials=None)
    study = open_study(sweep, tmp_path, heartbeat_seconds=1, grace_seconds=1)
    assert study.queue_next()
    study.optuna.ask()
    deadline = time.monotonic() + 60
    while study.is_running():
        assert time.monotonic() < deadline
        time.sleep(0.2)
        study.requeue_dead()
    assert len(run_all(study)) == 3
    assert [record.state for record in study.records()] == ["finished"] * 3


def begin_elsewhere_and_die(sweep: Sweep, folder: Path) -> None:
    """Begin a trial as a process of another machine and die after four seconds."""
    socket.gethostname = lambda: "elsewhere"

    def train(_: optuna.Trial, config: ESDConfig) -> float:
        time.sleep(4)
        os._exit(9)

    open_study(sweep, folder, heartbeat_seconds=1, grace_seconds=2).run_trials(train)


def test_a_trial_without_heartbeats_is_run_again_by_another_machine(tmp_path: Path) -> None:
    sweep = make_sweep({RATE: RATES}, trials=1)
    study = open_study(sweep, tmp_path, heartbeat_seconds=1, grace_seconds=2)
    process = multiprocessing.get_context("fork").Process(
        target=begin_elsewhere_and_die, args=(sweep, tmp_path)
    )
    process.start()
    while not study.is_running():
        time.sleep(0.1)
    while process.is_alive():
        study.requeue_dead()
        # It may have died since.
        assert study.is_running() or not process.is_alive(), "it gives signs of life"
        time.sleep(0.3)
    deadline = time.monotonic() + 60
    while study.is_running():
        assert time.monotonic() < deadline
        time.sleep(0.2)
        study.requeue_dead()
    assert len(run_all(study)) == 1
    assert [record.state for record in study.records()] == ["finished"]


def _work(sweep: Sweep, folder: Path, log: Path) -> None:
    for config in run_all(open_study(sweep, folder)):
        with log.open("a") as file:
            file.write(f"{config.data.batch_size} {config.trainer.max_epochs}\n")


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_processes_that_work_at_the_same_time_share_the_trials(tmp_path: Path, method: str) -> None:
    sweep = make_sweep({"data.batch_size": SIZES, "trainer.max_epochs": EPOCHS}, method, trials=10)  # type: ignore[arg-type]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_work, args=(sweep, tmp_path, tmp_path / "log")) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
        assert process.exitcode == 0
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == len(set(lines)) == 10
    assert [record.state for record in open_study(sweep, tmp_path).records()] == ["finished"] * 10


def test_a_changed_sweep_of_the_same_name_is_refused_with_the_change(tmp_path: Path) -> None:
    open_study(make_sweep({RATE: RATES}), tmp_path)
    changed = make_sweep({RATE: Numbers("log_uniform", 1e-4, 1), "data.batch_size": SIZES})
    with pytest.raises(UsageError) as caught:
        open_study(changed, tmp_path)
    message = str(caught.value)
    assert "parameters.data.batch_size was not there, now it is one of 2, 4, 8" in message
    assert f"parameters.{RATE} was 0.0001 to 0.1, on a logarithmic scale, now it is 0.0001 to 1" in message
    elsewhere = make_sweep({RATE: RATES}, fixed={"data.processed_dir": "/there"}, trials=7)
    open_study(elsewhere, tmp_path)


def test_a_bad_trial_is_stopped_where_better_ones_were_further(tmp_path: Path) -> None:
    sweep = make_sweep({RATE: RATES}, termination=EarlyTermination(min_epochs=2, eta=2), trials=3)
    study = open_study(sweep, tmp_path)
    scores = iter(([0.5, 0.6, 0.7, 0.8], [0.5, 0.55, 0.6, 0.65], [0.1, 0.9, 0.9, 0.95]))
    stops: list[int | None] = []

    def report(trial: optuna.Trial, _: ESDConfig) -> float:
        values = next(scores)
        for epoch, value in enumerate(values, start=1):
            trial.report(value, epoch)
            if trial.should_prune():
                stops.append(epoch)
                raise optuna.TrialPruned
        stops.append(None)
        return values[-1]

    study.run_trials(report)
    assert stops == [None, 2, None], "the first epoch stops nobody"
    assert [(record.state, record.epochs) for record in study.records()] == [
        ("finished", 4),
        ("pruned", 2),
        ("finished", 4),
    ]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("{type: hyperband, max_iter: 27, s: 2, eta: 3}", [3, 9]),
        ("{type: hyperband, max_iter: 10, s: 3, eta: 2}", [1, 2, 5]),
        ("{type: hyperband, s: 2, min_iter: 7, max_iter: 19}", [2, 6]),
        ("{type: hyperband, min_iter: 30, eta: 1.5}", [30, 45, 67, 101]),
        ("{type: hyperband, min_iter: 3}", [3, 9, 27, 81]),
        ("{type: hyperband, max_iter: 27}", [1, 3, 9]),
        ("{type: hyperband, min_iter: 1, eta: 1.2, strict: true}", [1, 2, 3, 4, 5, 6, 7, 8, 10, 12]),
    ],
)
def test_trials_are_judged_at_the_bands_of_wandb(tmp_path: Path, rule: str, expected: list[int]) -> None:
    path = tmp_path / "sweep.yml"
    path.write_text(
        f"method: grid\nearly_terminate: {rule}\nparameters: {{learning_rate: {{values: [0.9, 0.1]}}}}\n"
    )
    study = open_study(read_sweep(path).sweep, tmp_path)
    judged = []

    def report(trial: optuna.Trial, config: ESDConfig) -> float:
        # The second trial is the worse one after every epoch, so that whoever judges it stops it.
        for epoch in range(1, max(expected) + 10):
            trial.report(rate_of(config), epoch)
            if trial.should_prune():
                judged.append(epoch)
        return rate_of(config)

    study.run_trials(report)
    assert judged[: len(expected)] == expected
    assert str(read_sweep(path).sweep.termination).startswith(f"after {', '.join(map(str, expected[:4]))}")


def test_a_trial_is_judged_at_its_first_score_and_not_by_those_that_failed(tmp_path: Path) -> None:
    sweep = make_sweep({RATE: RATES}, termination=EarlyTermination(min_epochs=2, eta=2), trials=3)
    study = open_study(sweep, tmp_path)
    scores = iter(({1: 0.9, 2: 0.9, 3: math.inf}, {1: 0.5, 2: 0.5}, {3: 0.1, 4: 0.9}))
    stops: list[int] = []

    def report(trial: optuna.Trial, _: ESDConfig) -> float:
        for epoch, value in next(scores).items():
            if value == math.inf:
                raise TrialFailedError("out of memory")
            trial.report(value, epoch)
            if trial.should_prune():
                stops.append(epoch)
                raise optuna.TrialPruned
        return 0.5

    study.run_trials(report)
    assert stops == [3], (
        "the second is better than the first, which failed; the third has its first score late"
    )


def test_an_unusable_storage_is_refused(tmp_path: Path) -> None:
    for url, expected in (
        ("nonsense", "is no database URL"),
        ("oracle://host/db", "PostgreSQL or MySQL"),
        ("sqlite://", "name the file"),
    ):
        with pytest.raises(UsageError, match=expected):
            Storage(url)
    own = Storage(f"sqlite:///{tmp_path}/own.db")
    assert SweepStudy(make_sweep({RATE: RATES}), tmp_path, own).records() == []
