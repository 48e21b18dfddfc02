import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from esdseg.store.statistics import ChannelStatistics, HalfArray, count_codes

half_channels = arrays(
    np.float16,
    st.integers(1, 40),
    elements=st.floats(width=16, allow_infinity=False, allow_nan=True),
)


def statistics_of(*channels: HalfArray) -> ChannelStatistics:
    return ChannelStatistics(np.stack([count_codes(channel) for channel in channels]))


@given(half_channels)
def test_moments_are_those_of_numpy_in_double_precision(channel: HalfArray) -> None:
    values = channel[~np.isnan(channel)].astype(np.float64)
    statistics = statistics_of(channel)
    assert statistics.count[0] == values.size
    if values.size:
        # Sums of values of opposite sign cancel, so the error is measured against the largest of them.
        scale = np.abs(values).max() + 1e-300
        np.testing.assert_allclose(statistics.mean[0], values.mean(), rtol=1e-12, atol=1e-12 * scale)
        np.testing.assert_allclose(statistics.std[0], values.std(), rtol=1e-12, atol=1e-12 * scale)
        assert (statistics.quantile(0)[0], statistics.quantile(1)[0]) == (values.min(), values.max())
    else:
        assert np.isnan([statistics.mean[0], statistics.std[0], statistics.quantile(0)[0]]).all()


@given(half_channels, st.floats(0, 1))
def test_quantile_is_numpys_inverted_cdf(channel: HalfArray, fraction: float) -> None:
    values = channel[~np.isnan(channel)].astype(np.float64)
    quantile = statistics_of(channel).quantile(fraction)[0]
    if values.size:
        assert quantile == np.quantile(values, fraction, method="inverted_cdf")
    else:
        assert np.isnan(quantile)


def test_quantile_of_a_hand_worked_case() -> None:
    statistics = statistics_of(np.array([4, 1, 2, np.nan, 3], np.float16))
    found = [statistics.quantile(fraction)[0] for fraction in (0, 0.25, 0.26, 0.5, 0.75, 1)]
    assert found == [1, 1, 2, 2, 3, 4]


def test_quantile_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        statistics_of(np.zeros(1, np.float16)).quantile(1.5)


@given(half_channels, half_channels)
def test_merging_tiles_is_pooling_their_pixels(first: HalfArray, second: HalfArray) -> None:
    merged = ChannelStatistics.merge([statistics_of(first).code_counts, statistics_of(second).code_counts])
    together = statistics_of(np.concatenate([first, second]))
    np.testing.assert_array_equal(merged.code_counts, together.code_counts)


def test_merging_leaves_what_it_merges_alone() -> None:
    counts = statistics_of(np.ones(3, np.float16)).code_counts
    ChannelStatistics.merge([counts, counts])
    assert counts.sum() == 3


def test_merging_no_tiles_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one tile"):
        ChannelStatistics.merge([])


def test_infinities_count_as_no_data() -> None:
    statistics = statistics_of(np.array([np.inf, -np.inf, 2], np.float16))
    assert (statistics.count[0], statistics.quantile(1)[0]) == (1, 2)


@given(half_channels, st.floats(-100, 0, width=16), st.floats(0, 100, width=16))
def test_clipped_statistics_are_those_of_clipped_values(
    channel: HalfArray, lower: float, upper: float
) -> None:
    clipped = statistics_of(channel).clipped(np.array([lower]), np.array([upper]))
    expected = statistics_of(np.clip(channel, np.float16(lower), np.float16(upper)))
    assert clipped.count[0] == expected.count[0]
    np.testing.assert_array_equal(clipped.mean, expected.mean)
    np.testing.assert_array_equal(clipped.quantile(0), expected.quantile(0))


def test_pooled_channels_share_the_statistics_of_their_group() -> None:
    a, b, c = (np.array(values, np.float16) for values in ([1, 2], [5, 6], [3, 4]))
    pooled = statistics_of(a, b, c).pooled(np.array([0, 1, 0]))
    assert pooled.mean.tolist() == [2.5, 5.5, 2.5]
    assert pooled.count.tolist() == [4, 2, 4]
