"""What it takes to get one subtile as a float tensor."""

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks import course_preprocessing
from benchmarks.course_networks import CourseSamples
from benchmarks.data import BenchmarkData
from benchmarks.measuring import side_by_side
from benchmarks.results import Row, amount
from esdseg.datasets.dataset import SubtileDataset

STEP = "loading"
SUBTILES = 16


def measure(data: BenchmarkData) -> Iterator[Row]:
    """Yield milliseconds of one core a subtile: from disk, from the cache, and the course's way."""
    store, course_dir = data.one_tile_store, data.folder / "course-subtiles"
    tiles, channels = tuple(store.manifest.tiles), store.channels
    on_disk = SubtileDataset(store, tiles, channels)
    cached = SubtileDataset(store, tiles, channels, torch.device("cpu"))
    course_preprocessing.preprocess_tile(data.raw_tile, course_dir)
    subtiles = CourseSamples((course_dir,))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds = side_by_side(
        {
            "disk": lambda: _load(on_disk),
            "cached": lambda: [cached[index]["pixels"] for index in range(SUBTILES)],
            "course": lambda: [subtiles.load(index)[0] for index in range(SUBTILES)],
        },
        data.repeats,
    )
    torch.set_num_threads(threads)
    for name, target in (("disk", 10.0), ("cached", 1.0), ("course", None)):
        yield amount(STEP, f"a subtile, {name}", "ms", seconds[name].cpu / SUBTILES * 1e3, target)


def _load(dataset: SubtileDataset) -> list[Tensor]:
    return [image.float() for index in range(SUBTILES) for image in dataset[index]["pixels"]]
