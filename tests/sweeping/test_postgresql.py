"""Several commands on one study of a PostgreSQL server, which the tests start themselves."""

import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from esdseg.errors import MissingResourceError
from esdseg.sweeping.distributions import Choices, Numbers
from esdseg.sweeping.search_space import Sweep
from esdseg.sweeping.storage import Storage
from esdseg.sweeping.study import SweepStudy
from tests.faults.processes import Preloaded
from tests.sweeping.conftest import make_sweep, run_all, write_sweep

USER = "postgres"
INSTALLED = Path("/usr/lib/postgresql")
"""Where Debian keeps the server's programs, beside the path."""

PLANTED_PASSWORD = "hush-3f9c"


def program(name: str) -> str | None:
    found = sorted(INSTALLED.glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(found[-1]) if found else None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a server of our own."""
    initdb, pg_ctl = program("initdb"), program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL's initdb and pg_ctl are not installed")
    # The server refuses to run as root. Its user must be able to enter the folder, unlike pytest's own.
    as_user = USER if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="esdseg-postgresql-"))
    if as_user is not None:
        shutil.chown(folder, as_user)
    port = free_port()

    def run(*command: str) -> None:
        done = subprocess.run(command, user=as_user, cwd=folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr

    data = str(folder / "data")
    try:
        run(initdb, "--pgdata", data, "--username", USER, "--auth", "trust", "--no-sync")
        options = f"-F -p {port} -k {folder} -c listen_addresses=127.0.0.1"
        run(pg_ctl, "--pgdata", data, "--wait", "--log", str(folder / "log"), "--options", options, "start")
        try:
            yield f"postgresql://{USER}@127.0.0.1:{port}/postgres"
        finally:
            run(pg_ctl, "--pgdata", data, "--mode", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def work(sweep: Sweep, url: str, folder: Path, log: Path) -> None:
    folder.mkdir()
    for config in run_all(SweepStudy(sweep, folder, Storage(url))):
        with log.open("a") as file:
            file.write(f"{config.data.batch_size} {config.trainer.max_epochs}\n")


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_machines_share_the_trials_of_one_study(server: str, tmp_path: Path, method: str) -> None:
    parameters = {"data.batch_size": Choices((2, 4, 8)), "trainer.max_epochs": Numbers("uniform", 1, 4, 1)}
    sweep = make_sweep(parameters, method, name=f"shared-{method}", trials=8)  # type: ignore[arg-type]
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=work, args=(sweep, server, tmp_path / name, tmp_path / "log"))
        for name in "abc"
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
        assert process.exitcode == 0
    points = (tmp_path / "log").read_text().splitlines()
    assert len(points) == len(set(points)) == 8


def die_elsewhere(sweep: Sweep, url: str, folder: Path) -> None:
    socket.gethostname = lambda: "elsewhere"
    storage = Storage(url, heartbeat_seconds=1, grace_seconds=2)
    SweepStudy(sweep, folder, storage).run_trials(lambda trial, config: os._exit(9))


def test_the_trial_of_a_machine_that_died_is_run_again(server: str, tmp_path: Path) -> None:
    sweep = make_sweep({"optimizer.learning_rate": Numbers("log_uniform", 1e-4, 1e-1)}, name="died", trials=1)
    process = multiprocessing.get_context("fork").Process(
        target=die_elsewhere, args=(sweep, server, tmp_path)
    )
    process.start()
    process.join()
    study = SweepStudy(sweep, tmp_path, Storage(server, heartbeat_seconds=1, grace_seconds=2))
    (lost,) = study.records()
    assert lost.state == "running", "only heartbeats tell of another machine"
    deadline = time.monotonic() + 60
    while study.is_running():
        assert time.monotonic() < deadline
        time.sleep(0.2)
        study.requeue_dead()
    run_all(study)
    (again,) = study.records()
    assert (again.state, again.settings) == ("finished", lost.settings)


def test_two_commands_finish_one_sweep_though_one_is_killed(
    server: str, preloaded: Preloaded, processed_dir: Path, tmp_path: Path
) -> None:
    rate = {"distribution": "log_uniform_values", "min": 1e-3, "max": 3e-2}
    fixed = {"data.processed_dir": str(processed_dir), "trainer.max_epochs": 3}
    write_sweep(tmp_path, {"learning_rate": rate}, fixed, run_cap=3, name="killed")
    url = server.replace(f"//{USER}@", f"//{USER}:{PLANTED_PASSWORD}@")
    command = ("sweep", "tiny.yml", "--storage", url, "--json")
    first, second = (preloaded.start(tmp_path, *command) for _ in range(2))
    folder = tmp_path / "checkpoints/sweeps/killed"
    deadline = time.monotonic() + 200
    while not list(folder.glob("trial-*/metrics.csv")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    assert first.wait().code == -signal.SIGKILL
    ended = second.wait()
    assert ended.code == 0, ended.log
    result = json.loads(ended.output)
    assert (result["finished"], len(result["trials"])) == (3, 3)
    assert not (folder / "study.db").exists()
    assert PLANTED_PASSWORD not in ended.output + ended.log
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in written if PLANTED_PASSWORD.encode() in path.read_bytes()] == []
    assert {"trials.csv", "best.yml", "best.ckpt"} <= {path.name for path in written}


def test_a_server_that_is_not_there_is_said_without_its_password() -> None:
    url = f"postgresql://someone:secret@127.0.0.1:{free_port()}/none"
    with pytest.raises(MissingResourceError, match="the database cannot be used") as caught:
        Storage(url)
    assert "secret" not in str(caught.value)
