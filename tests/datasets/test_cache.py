import pytest
import torch

from esdseg.config.training import CacheSetting
from esdseg.datasets.cache import CachePlan, decoded_bytes, free_gpu_bytes, plan_cache
from esdseg.datasets.pixel_grid import PixelGrid, whole_image


def test_decoded_bytes_are_those_of_half_precision() -> None:
    assert decoded_bytes(3, [whole_image(100)]) == 3 * 100 * 800 * 800 * 2
    thinned = [PixelGrid((0, 2), 50), PixelGrid((1,), 17)]
    assert decoded_bytes(3, thinned) == 3 * (2 * 800 * 800 + 272 * 272) * 2


@pytest.mark.parametrize(
    ("copy_bytes", "copies", "free_gpu", "place"),
    [
        (25, 1, 100, "gpu"),
        (25, 8, 100, "gpu"),
        (26, 1, 100, "memory"),
        (50, 1, 0, "memory"),
        (51, 1, 0, "disk"),
        (26, 2, 100, "disk"),
    ],
)
def test_auto_takes_a_quarter_of_a_gpu_else_half_of_the_memory(
    copy_bytes: int, copies: int, free_gpu: int, place: str
) -> None:
    assert plan_cache("auto", copy_bytes, copies, 100, free_gpu).place == place


@pytest.mark.parametrize("wish", ["gpu", "memory", "disk"])
def test_a_wish_is_a_wish(wish: CacheSetting) -> None:
    assert plan_cache(wish, 1000, 1, 1, 1).place == wish
    assert plan_cache(wish, 1, 1, 1000, 1000).place == wish


def test_each_process_keeps_a_copy_and_each_gpu_has_one() -> None:
    memory, gpu, disk = (CachePlan(place, 10, 4) for place in ("memory", "gpu", "disk"))
    assert (memory.memory_bytes, memory.gpu_bytes) == (40, 0)
    assert (gpu.memory_bytes, gpu.gpu_bytes) == (0, 10)
    assert (disk.memory_bytes, disk.gpu_bytes) == (0, 0)


def test_a_processor_has_no_memory_of_a_gpu() -> None:
    assert free_gpu_bytes(torch.device("cpu")) == 0
