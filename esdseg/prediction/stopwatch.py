"""Timing what is waited for, and nothing else."""

from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import TypeVar

Item = TypeVar("Item")


class Stopwatch:
    """Adds up the time that a consumer waits for items.

    Attributes:
        seconds: The sum so far.
        items: How many were waited for.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self.seconds = 0.0
        self.items = 0
        self._clock = clock

    def timed(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items; what the consumer does between them does not count."""
        waiting_since = self._clock()
        for item in items:
            self.seconds += self._clock() - waiting_since
            self.items += 1
            yield item
            waiting_since = self._clock()
        self.seconds += self._clock() - waiting_since
