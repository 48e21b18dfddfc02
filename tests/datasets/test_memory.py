import pytest

from esdseg.datasets.memory import choose_cache, decoded_bytes


def test_decoded_bytes_are_those_of_half_precision() -> None:
    assert decoded_bytes(tiles=3, channels=100) == 3 * 100 * 800 * 800 * 2


@pytest.mark.parametrize(("needed", "expected"), [(50, "memory"), (51, "disk")])
def test_auto_fills_at_most_half_of_the_memory(needed: int, expected: str) -> None:
    assert choose_cache("auto", needed, available_bytes=100) == expected


def test_a_wish_is_a_wish() -> None:
    assert choose_cache("memory", 1000, available_bytes=1) == "memory"
    assert choose_cache("disk", 1, available_bytes=1000) == "disk"
