"""Tiles on a real Dask cluster of processes on this machine."""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from distributed import LocalCluster

from esdseg.errors import InputDataError, MissingResourceError, UsageError
from esdseg.preprocessing.preprocess import preprocess
from esdseg.system import dask_cluster
from esdseg.system.dask_cluster import map_on_cluster
from tests.preprocessing.raw_tiles import config_for, contents, write_tiles


def double(number: int) -> int:
    return 2 * number


def refuse(number: int) -> int:
    raise InputDataError(f"{number} is refused")


def die_the_first_time(marker: Path) -> str:
    """End the worker as the system would, if no call did so before."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return marker.name


def test_each_item_comes_with_its_result(dask_address: str) -> None:
    assert dict(map_on_cluster(double, range(9), dask_address)) == {number: 2 * number for number in range(9)}


def test_the_first_error_is_raised_as_it_was(dask_address: str) -> None:
    with pytest.raises(InputDataError, match="is refused"):
        list(map_on_cluster(refuse, [1, 2, 3], dask_address))


def test_what_a_killed_worker_had_not_finished_is_done_by_another(dask_address: str, tmp_path: Path) -> None:
    markers = [tmp_path / f"item{number}" for number in range(4)]
    for marker in markers[1:]:
        marker.touch()
    results = dict(map_on_cluster(die_the_first_time, markers, dask_address))
    assert results == {marker: marker.name for marker in markers}


def test_a_store_written_on_a_cluster_is_that_of_one_process(
    dask_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiles(tmp_path / "raw", ["Tile1", "Tile2", "Tile3", "Tile4"])
    preprocess(config_for(tmp_path))
    alone = contents(tmp_path / "processed")
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    result = preprocess(
        config_for(Path(), dask=dask_address),
        overwrite=True,
        on_tile=lambda name, done, total: told.append(name),
    )
    assert sorted(told) == sorted(result.written) == ["Tile1", "Tile2", "Tile3", "Tile4"]
    assert contents(tmp_path / "processed") == alone


def test_an_address_where_nothing_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "CONNECTION_SECONDS", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(MissingResourceError, match=f"No Dask scheduler answers at {address}"):
            list(map_on_cluster(double, [1], address))


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(UsageError, match="nonsense is no scheduler's address"):
        list(map_on_cluster(double, [1], "nonsense"))


def test_a_scheduler_without_workers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "PATIENCE_SECONDS", 1)
    with (
        LocalCluster(n_workers=0, dashboard_address=None) as cluster,
        pytest.raises(MissingResourceError, match="has no workers"),
    ):
        list(map_on_cluster(double, [1], cluster.scheduler_address))


def test_without_dask_the_way_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingResourceError, match="pip install"):
        list(map_on_cluster(double, [1], "tcp://127.0.0.1:8786"))
