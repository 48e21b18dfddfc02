"""Memory, cores and disk that this process may take."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from esdseg.system.memory import (
    available_cores,
    available_memory_bytes,
    control_group_cores,
    control_group_rooms,
    free_disk_bytes,
    megabytes,
)

FREE_AN_ARRAY = """
import numpy as np
import psutil
from esdseg.system.memory import available_memory_bytes
from esdseg.system.tuning import tune_process
tune_process()
available_memory_bytes()
before = psutil.Process().memory_info().rss
# As a finished trial does: many arrays, of which the last stays and keeps the allocator from shrinking.
arrays = [np.ones(50_000_000, dtype=np.uint8) for _ in range(6)]
del arrays[:-1]
held = psutil.Process().memory_info().rss - before
available_memory_bytes()
print(held, psutil.Process().memory_info().rss - before)
"""


def test_some_memory_is_available_here() -> None:
    assert 2**20 < available_memory_bytes() < 2**50


def test_free_space_is_that_of_where_a_folder_would_be_made(tmp_path: Path) -> None:
    # Others write to the same disk meanwhile.
    assert free_disk_bytes(tmp_path / "a/b/c") == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.2)


@pytest.mark.parametrize(("size", "words"), [(36e6, "36 MB"), (2.14e9, "2.1 GB"), (0, "0 MB")])
def test_sizes_are_worded_for_people(size: float, words: str) -> None:
    assert megabytes(size) == words


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only GNU's malloc is told to keep memory")
def test_memory_of_freed_arrays_counts_as_available() -> None:
    shown = subprocess.run([sys.executable, "-c", FREE_AN_ARRAY], capture_output=True, text=True, check=True)
    held, left = map(int, shown.stdout.split())
    assert held > 290e6
    assert left < 100e6


def write_group(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text + "\n")


def test_limits_of_the_group_and_of_those_above_it_count(tmp_path: Path) -> None:
    job = tmp_path / "system.slice/slurm/job_7"
    write_group(
        job, {"memory.max": "4000", "memory.current": "1500", "memory.stat": "anon 9\ninactive_file 500"}
    )
    write_group(
        job / "step_0", {"memory.max": "max", "memory.current": "9", "memory.stat": "inactive_file 5"}
    )
    assert list(control_group_rooms("0::/system.slice/slurm/job_7/step_0\n", tmp_path)) == [3000]


def test_a_limit_of_the_first_version_counts(tmp_path: Path) -> None:
    # In a container the group's path is the host's, and its own files lie at the top.
    write_group(
        tmp_path / "memory",
        {
            "memory.limit_in_bytes": "4000",
            "memory.usage_in_bytes": "1500",
            "memory.stat": "total_inactive_file 100",
        },
    )
    assert list(control_group_rooms("11:cpu,cpuacct:/x\n9:memory:/docker/ab12\n", tmp_path)) == [2600]


def test_quotas_of_cores_of_the_group_and_of_those_above_it_count(tmp_path: Path) -> None:
    write_group(tmp_path / "slurm/job_7", {"cpu.max": "250000 100000"})
    write_group(tmp_path / "slurm/job_7/step_0", {"cpu.max": "max 100000"})
    assert list(control_group_cores("0::/slurm/job_7/step_0\n", tmp_path)) == [3], "two and a half cores"


def test_a_quota_of_cores_of_the_first_version_counts(tmp_path: Path) -> None:
    job = tmp_path / "cpu/slurm/job_7"
    write_group(job, {"cpu.cfs_quota_us": "200000", "cpu.cfs_period_us": "100000"})
    write_group(tmp_path / "cpu", {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"})
    assert list(control_group_cores("4:cpu,cpuacct:/slurm/job_7\n9:memory:/x\n", tmp_path)) == [2]


def test_a_slurm_job_limits_memory_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "1")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "1")
    assert available_cores() == 1
    assert available_memory_bytes() == 0


def test_affinity_limits_cores() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system has no affinity")
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]);"
        "from esdseg.system.memory import available_cores; print(available_cores())"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "1\n"
