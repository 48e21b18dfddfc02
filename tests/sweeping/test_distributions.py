"""What a parameter's draws stand for."""

import math
import random
from dataclasses import replace

import numpy as np
import optuna
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from esdseg.sweeping.distributions import Choices, Numbers, Parameter, listed

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda number: round(number, 4))
POSITIVE = st.floats(1e-6, 1e6)
SEEDS = st.integers(0, 2**31)


def ordered(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[float, float]]:
    return st.tuples(numbers, numbers).map(lambda pair: (min(pair), max(pair)))


SHAPES: dict[str, st.SearchStrategy[Numbers]] = {
    "uniform": ordered(NUMBERS).map(lambda pair: Numbers("uniform", *pair)),
    "log_uniform": ordered(POSITIVE).map(lambda pair: Numbers("log_uniform", *pair)),
    "normal": st.builds(Numbers, st.just("normal"), NUMBERS, st.floats(1e-3, 1e3)),
    "log_normal": st.builds(Numbers, st.just("log_normal"), st.floats(-10, 10), st.floats(0.01, 3)),
    "beta": st.builds(Numbers, st.just("beta"), st.floats(0.1, 20), st.floats(0.1, 20)),
}


def drawn(parameter: Parameter, seed: int, count: int = 1) -> list[object]:
    """Return values as Optuna's random sampler draws them."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    distributions = {"it": parameter.distribution}
    return [parameter.value_at(study.ask(distributions).params["it"]) for _ in range(count)]


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=30)
@given(data=st.data(), seed=SEEDS)
def test_numbers_stay_within_their_bounds(shape: str, data: st.DataObject, seed: int) -> None:
    parameter = data.draw(SHAPES[shape])
    low, high = parameter.bounds
    slack = 1e-9 * max(1.0, abs(low), abs(high))
    (value,) = drawn(parameter, seed)
    assert isinstance(value, float)
    for number in (value, *(float(str(example)) for example in parameter.examples())):
        assert low - slack <= number <= high + slack


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=40)
@given(data=st.data(), quantum=st.sampled_from([0.1, 0.25, 1.0, 2.0, 16.0]), seed=SEEDS)
def test_quantized_numbers_are_multiples_within_the_bounds(
    shape: str, data: st.DataObject, quantum: float, seed: int
) -> None:
    parameter = replace(data.draw(SHAPES[shape]), quantum=quantum)
    if not parameter.multiples or len(parameter.multiples) > 10**9:
        return
    low, high = parameter.bounds
    (value,) = drawn(parameter, seed)
    assert isinstance(value, int) == quantum.is_integer()
    number = float(str(value))
    assert math.isclose(number / quantum, round(number / quantum), rel_tol=1e-9, abs_tol=1e-6)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert low - slack <= number <= high + slack


@settings(max_examples=40)
@given(st.integers(-50, 50), st.integers(0, 30), SEEDS)
def test_whole_numbers_are_drawn_and_listed_within_their_bounds(low: int, span: int, seed: int) -> None:
    parameter = Numbers("uniform", low, low + span, quantum=1)
    (value,) = drawn(parameter, seed)
    assert isinstance(value, int)
    assert value in range(low, low + span + 1)
    assert listed(parameter) == tuple(range(low, low + span + 1))


VALUES = st.lists(
    st.one_of(st.none(), st.integers(2, 99), st.text("abc", min_size=1), st.lists(st.integers(), min_size=1)),
    min_size=1,
    max_size=6,
    unique_by=str,
)


@settings(max_examples=40)
@given(VALUES, SEEDS)
def test_choices_are_drawn_and_listed_as_they_are(values: list[object], seed: int) -> None:
    parameter = Choices(tuple(values))  # type: ignore[arg-type]
    assert drawn(parameter, seed)[0] in values
    assert listed(parameter) == tuple(values)


@settings(max_examples=40)
@given(VALUES, st.randoms(use_true_random=False), SEEDS)
def test_weighted_choices_never_draw_what_has_no_probability(
    values: list[object], rng: random.Random, seed: int
) -> None:
    weights = [rng.choice([0, 1, 3]) for _ in values]
    weights[0] = 2
    shares = tuple(weight / sum(weights) for weight in weights)
    parameter = Choices(tuple(values), shares)  # type: ignore[arg-type]
    possible = [value for value, share in zip(values, shares, strict=True) if share]
    assert drawn(parameter, seed)[0] in possible
    assert listed(parameter) == tuple(possible)
    assert parameter.value_at(1.0) == possible[-1]


@settings(max_examples=40)
@given(st.integers(-20, 20), st.integers(1, 30), st.sampled_from([0.1, 0.5, 1.0, 3.0]))
def test_a_quantized_interval_lists_every_multiple_once(low: int, span: int, quantum: float) -> None:
    parameter = Numbers("uniform", low, low + span, quantum)
    if not parameter.multiples:
        return
    values = listed(parameter)
    assert values is not None
    expected = [k * quantum for k in range(-400, 600) if low - 1e-9 <= k * quantum <= low + span + 1e-9]
    np.testing.assert_allclose([float(str(value)) for value in values], expected, atol=1e-9)


@pytest.mark.parametrize(
    ("parameter", "reference"),
    [
        (Numbers("uniform", 2, 5), scipy.stats.uniform(2, 3)),
        (Numbers("log_uniform", 1e-4, 1e-1), scipy.stats.loguniform(1e-4, 1e-1)),
        (Numbers("normal", 3, 0.5), scipy.stats.norm(3, 0.5)),
        (Numbers("log_normal", -5, 0.7), scipy.stats.lognorm(0.7, scale=math.exp(-5))),
        (Numbers("beta", 2, 5), scipy.stats.beta(2, 5)),
    ],
)
def test_draws_have_the_distribution_that_is_named(parameter: Parameter, reference: object) -> None:
    draws = drawn(parameter, 1, 1000)
    # Cutting off 0.27 % of the tails shifts the distribution function by less than that.
    distance = scipy.stats.kstest(draws, reference.cdf).statistic  # type: ignore[attr-defined]
    assert distance < 1.63 / math.sqrt(1000) + 0.002


def test_weighted_choices_are_as_frequent_as_their_probabilities() -> None:
    draws = drawn(Choices(("a", "b", "c"), (0.7, 0.1, 0.2)), 2, 1000)
    shares = [draws.count(name) / 1000 for name in "abc"]
    np.testing.assert_allclose(shares, [0.7, 0.1, 0.2], atol=0.05)
