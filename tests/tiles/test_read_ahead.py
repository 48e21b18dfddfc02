import ctypes
import mmap
import os
import sys
import time
from pathlib import Path

import pytest

from esdseg.tiles.reading import announce

WAIT_SECONDS = 20


def is_cached(path: Path) -> bool:
    """Whether the file's last page is in memory; to look does not bring it there."""
    size = path.stat().st_size
    pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), size) as content:
        start = ctypes.c_char.from_buffer(content)
        fault = ctypes.CDLL(None).mincore(
            ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(size), pages
        )
        del start
    assert not fault
    return bool(pages[-1] & 1)


def forget(path: Path) -> None:
    """Take a file out of the system's cache."""
    file = os.open(path, os.O_RDWR)
    try:
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems take no such advice")
def test_announced_files_are_read_from_the_disk_without_being_asked_for(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.tif" for number in range(3)]
    for path in paths:
        path.write_bytes(bytes(1_000_000))
        forget(path)
    if any(is_cached(path) for path in paths):
        pytest.skip("this file system keeps all files in memory")

    announce(paths)

    end = time.monotonic() + WAIT_SECONDS
    while not all(is_cached(path) for path in paths):
        assert time.monotonic() < end, "the system was not told to read them"
        time.sleep(0.05)


def test_what_is_no_file_is_left_to_whoever_reads_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    announce([tmp_path / "missing", tmp_path, tmp_path / "pipe"])
