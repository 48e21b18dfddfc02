import platform
import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource
import numpy as np
{first}
def fill() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(100_000_000, dtype=np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
fill()
print(min(fill() for _ in range(3)))
"""


def page_faults(first: str) -> int:
    """Return how many pages a process takes from the system for an array as large as one it has freed."""
    code = COUNT_FAULTS.format(first=first)
    return int(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    )


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only GNU's malloc is told to keep memory")
def test_memory_of_a_freed_array_is_used_again() -> None:
    kept = page_faults("from esdseg.system.tuning import keep_freed_memory; keep_freed_memory()")

    assert kept < 100 < page_faults("")
