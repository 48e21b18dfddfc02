"""Exact statistics of half-precision channels, from counts of their 65 536 codes.

A half-precision number has 16 bits, so the counts of all its codes are a lossless histogram: tiles merge by
addition, and every moment and quantile of the stored values follows without reading an image again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

HalfArray = npt.NDArray[np.float16]
FloatArray = npt.NDArray[np.float64]
CodeCounts = npt.NDArray[np.int64] | npt.NDArray[np.uint32]

NUM_CODES = 1 << 16
"""Codes of a half-precision number."""

CODE_VALUES = np.arange(NUM_CODES, dtype=np.uint16).view(np.float16).astype(np.float64)
"""Value (65536,) of each code."""
IS_FINITE = np.isfinite(CODE_VALUES)
"""Which codes are values; NaN and infinities are no data."""
NO_DATA_CODES = np.flatnonzero(~IS_FINITE)
"""The others, 2048: counting them is faster than counting all that are values."""


def count_codes(channel: HalfArray) -> npt.NDArray[np.int64]:
    """Count the codes of one channel.

    Args:
        channel: Half-precision values, any shape.

    Returns:
        Counts (65536,), by the value's 16 bits read as an unsigned number.
    """
    return np.bincount(np.ascontiguousarray(channel).view(np.uint16).ravel(), minlength=NUM_CODES)


def count_missing(counts: npt.NDArray[np.integer]) -> int:
    """Return how many pixels without data the counts (65536,) of a channel's codes hold."""
    return int(counts[NO_DATA_CODES].sum())


@dataclass(frozen=True)
class ChannelStatistics:
    """Statistics of the values of C channels over a set of tiles.

    Attributes:
        code_counts: Counts (C, 65536) of the half-precision codes.
    """

    code_counts: CodeCounts

    @classmethod
    def merge(cls, tiles: Iterable[CodeCounts]) -> "ChannelStatistics":
        """Add up the counts (C, 65536) of several tiles.

        Raises:
            ValueError: There are no tiles.
        """
        total: npt.NDArray[np.int64] | None = None
        for counts in tiles:
            total = counts.astype(np.int64) if total is None else np.add(total, counts, out=total)
        if total is None:
            raise ValueError("statistics need at least one tile")
        return cls(total)

    @cached_property
    def _histograms(self) -> list[tuple[FloatArray, CodeCounts]]:
        """The values that occur in each channel in rising order, and how often each occurs."""
        histograms = []
        for row in self.code_counts:
            # Few codes occur, so they alone are put in order.
            occurring = np.flatnonzero((row > 0) & IS_FINITE)
            values = CODE_VALUES[occurring]
            rising = np.argsort(values, kind="stable")
            histograms.append((values[rising], row[occurring[rising]]))
        return histograms

    @cached_property
    def count(self) -> npt.NDArray[np.int64]:
        """Pixels with data (C,)."""
        return np.array([counts.sum() for _, counts in self._histograms], np.int64)

    @cached_property
    def mean(self) -> FloatArray:
        """Mean (C,); NaN for a channel without data."""
        sums = np.array([(values * counts).sum() for values, counts in self._histograms], np.float64)
        return _divide(sums, self.count)

    @cached_property
    def std(self) -> FloatArray:
        """Standard deviation (C,) of the population; NaN for a channel without data."""
        channels = zip(self._histograms, self.mean, strict=True)
        squares = np.array([(counts * (values - mean) ** 2).sum() for (values, counts), mean in channels])
        return np.sqrt(_divide(squares, self.count))

    def quantile(self, fraction: float) -> FloatArray:
        """Return the exact quantile of each channel.

        The quantile is the smallest value that at least ``fraction`` of the pixels do not exceed, as in
        ``numpy.quantile(values, fraction, method="inverted_cdf")``.

        Args:
            fraction: 0 to 1.

        Returns:
            Values (C,); NaN for a channel without data.

        Raises:
            ValueError: ``fraction`` lies outside 0 to 1.
        """
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"a quantile's fraction lies between 0 and 1, not at {fraction}")
        quantiles = np.full(len(self._histograms), np.nan)
        for channel, (values, counts) in enumerate(self._histograms):
            if values.size:
                rank = max(int(np.ceil(self.count[channel] * fraction - 1)), 0) + 1
                quantiles[channel] = values[np.searchsorted(np.cumsum(counts), rank)]
        return quantiles

    def clipped(self, lower: FloatArray, upper: FloatArray) -> "ChannelStatistics":
        """Return the statistics that the channels have once they are clipped.

        Args:
            lower: Lower limit (C,) of each channel, a half-precision number or minus infinity.
            upper: Upper limit (C,), a half-precision number or infinity.
        """
        clipped = np.zeros_like(self.code_counts)
        for channel, (values, counts) in enumerate(self._histograms):
            kept = np.clip(values, lower[channel], upper[channel]).astype(np.float16)
            np.add.at(clipped[channel], kept.view(np.uint16), counts)
        return ChannelStatistics(clipped)

    def pooled(self, groups: npt.NDArray[np.intp]) -> "ChannelStatistics":
        """Return statistics in which every channel has those of its whole group.

        Args:
            groups: Group number (C,) of each channel, counted from 0.
        """
        sums = np.zeros((int(groups.max()) + 1, NUM_CODES), np.int64)
        np.add.at(sums, groups, self.code_counts)
        return ChannelStatistics(sums[groups])


def _divide(total: FloatArray, count: npt.NDArray[np.int64]) -> FloatArray:
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
