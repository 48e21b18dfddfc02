"""How long the commands take from a raw folder to the report of a trained network, by default settings."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.data import BenchmarkData
from benchmarks.measuring import Stopwatch, Timing
from benchmarks.results import Row, seconds

STEP = "whole-way"
TARGET_SECONDS = 15 * 60
"""On two cores that do nothing else, for sixty tiles of 98 rasters, as many as the contest labelled."""

RUN = "first"
COMMANDS = (
    ("preprocess", "--raw-dir", "raw"),
    # Without a login to Weights & Biases this is what `auto` does.
    ("train", "--name", RUN, "--wandb", "offline"),
    ("evaluate", "--checkpoint", RUN),
)


def measure(data: BenchmarkData) -> Iterator[Row]:
    """Yield the seconds of each command, one after another in a new folder, and of all of them."""
    folder = data.folder / STEP
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "raw").symlink_to(data.samples(data.whole_way_tiles).resolve(), target_is_directory=True)
    esdseg, timings = str(Path(sys.executable).with_name("esdseg")), []
    for arguments in COMMANDS:
        watch = Stopwatch()
        with watch:
            subprocess.run([esdseg, *arguments], cwd=folder, check=True)
        timings.append(watch.timing())
        yield seconds(STEP, f"{arguments[0]}, {data.whole_way_tiles} tiles", timings[-1], None)
    total = Timing(sum(timing.wall for timing in timings), sum(timing.cpu for timing in timings))
    yield seconds(STEP, f"all three, {data.whole_way_tiles} tiles", total, TARGET_SECONDS)
    shutil.rmtree(folder)
