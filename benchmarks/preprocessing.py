"""What preprocessing costs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks import course_preprocessing as course
from benchmarks import floor_preprocessing as floor
from benchmarks.data import BenchmarkData
from benchmarks.measuring import peak_megabytes, side_by_side
from benchmarks.results import Row, amount, times_faster, times_longer
from esdseg.config.preprocessing import PreprocessConfig
from esdseg.preprocessing.preprocess import preprocess

STEP = "preprocessing"


def measure(data: BenchmarkData) -> Iterator[Row]:
    """Yield time, memory and disk of writing a tile, and what a second worker brings."""
    raw_dir, processed_dir, course_dir = data.one_tile_dir, data.folder / "p", data.folder / "course-tile"
    tile = data.raw_tile
    size = write_store(raw_dir, processed_dir, workers=1)
    result = bytes(size)
    seconds = side_by_side(
        {
            "floor": lambda: floor.preprocess_tile(tile, result, data.folder / "floor.bin"),
            "esdseg": lambda: write_store(raw_dir, processed_dir, workers=1),
            "course": lambda: course.preprocess_tile(tile, course_dir),
        },
        data.repeats,
    )
    yield times_longer(STEP, "a tile, one process", seconds["esdseg"], "floor", seconds["floor"], 2)
    yield times_faster(STEP, "a tile, one process", seconds["esdseg"], "course", seconds["course"], 5)
    yield amount(STEP, "peak memory", "MB", peak_megabytes(write_store, raw_dir, processed_dir, 1), 700)
    yield amount(STEP, "disk a tile", "MB", size / 1e6, 64)
    course_bytes = sum(file.stat().st_size for file in course_dir.iterdir())
    yield amount(STEP, "disk a tile, course", "MB", course_bytes / 1e6, None)
    many = data.sample_dir
    workers = side_by_side(
        {
            "one": lambda: write_store(many, processed_dir, workers=1),
            "two": lambda: write_store(many, processed_dir, workers=2),
        },
        max(1, data.repeats // 2),
    )
    yield times_faster(STEP, "two workers", workers["two"], "one worker", workers["one"], 1.8)
    for folder in (processed_dir, course_dir):
        shutil.rmtree(folder)


def write_store(raw_dir: Path, processed_dir: Path, workers: int) -> int:
    """Write a store afresh and return its size in bytes."""
    config = PreprocessConfig(
        raw_dir=raw_dir, processed_dir=processed_dir, val_fraction=0, test_fraction=0, workers=workers
    )
    return preprocess(config, overwrite=True).bytes
