from collections.abc import Iterator

from esdseg.prediction.stopwatch import Stopwatch


class Clock:
    """A clock that only moves when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_time_between_items_does_not_count() -> None:
    clock = Clock()
    stopwatch = Stopwatch(clock)

    def items() -> Iterator[str]:
        for item in "abc":
            clock.now += 2
            yield item
        clock.now += 0.5

    taken = []
    for item in stopwatch.timed(items()):
        taken.append(item)
        clock.now += 1000

    assert taken == ["a", "b", "c"]
    assert stopwatch.seconds == 6.5
