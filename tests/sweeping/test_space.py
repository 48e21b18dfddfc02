import math
import random
from collections.abc import Callable

import numpy as np
import optuna
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from esdseg.sweeping.checking import draw_point
from esdseg.sweeping.continuous import Beta, Continuous, LogNormal, LogUniform, Normal, Quantized, Uniform
from esdseg.sweeping.engine import distribution_of
from esdseg.sweeping.space import Choices, Integers, Parameter, WeightedChoices, examples, listed
from tests.sweeping.conftest import make_sweep

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda number: round(number, 4))
POSITIVE = st.floats(1e-6, 1e6)
SEEDS = st.integers(0, 2**31)


def ordered(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[float, float]]:
    return st.tuples(numbers, numbers).map(lambda pair: (min(pair), max(pair)))


CONTINUOUS: dict[str, st.SearchStrategy[Continuous]] = {
    "uniform": ordered(NUMBERS).map(lambda pair: Uniform(*pair)),
    "log_uniform": ordered(POSITIVE).map(lambda pair: LogUniform(*pair)),
    "normal": st.builds(Normal, NUMBERS, st.floats(1e-3, 1e3)),
    "log_normal": st.builds(LogNormal, st.floats(-10, 10), st.floats(0.01, 3)),
    "beta": st.builds(Beta, st.floats(0.1, 20), st.floats(0.1, 20)),
}


def drawn_by_optuna(parameter: Parameter, seed: int) -> object:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask({"it": distribution_of(parameter.axis)})
    return parameter.value_at(trial.params["it"])


def drawn(parameter: Parameter, seed: int) -> object:
    return draw_point(make_sweep({"it": parameter}), random.Random(seed))["it"]


@pytest.fixture(params=[drawn_by_optuna, drawn])
def draw(request: pytest.FixtureRequest) -> Callable[[Parameter, int], object]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    function: Callable[[Parameter, int], object] = request.param
    return function


@pytest.mark.parametrize("kind", CONTINUOUS)
def test_continuous_kinds_stay_within_their_bounds(
    kind: str, draw: Callable[[Parameter, int], object]
) -> None:
    @settings(max_examples=30)
    @given(parameter=CONTINUOUS[kind], seed=SEEDS)
    def check(parameter: Continuous, seed: int) -> None:
        low, high = parameter.bounds
        slack = 1e-9 * max(1.0, abs(low), abs(high))
        value = draw(parameter, seed)
        assert isinstance(value, float)
        assert low - slack <= value <= high + slack
        assert all(low - slack <= float(str(one)) <= high + slack for one in examples(parameter))

    check()


@pytest.mark.parametrize("kind", CONTINUOUS)
@settings(max_examples=60)
@given(data=st.data(), quantum=st.sampled_from([0.1, 0.25, 1.0, 2.0, 16.0]), seed=SEEDS)
def test_quantized_kinds_are_multiples_within_the_bounds(
    kind: str, data: st.DataObject, quantum: float, seed: int
) -> None:
    parameter = Quantized(data.draw(CONTINUOUS[kind]), quantum)
    if not parameter.multiples or len(parameter.multiples) > 10**9:
        return
    low, high = parameter.of.bounds
    value = drawn(parameter, seed)
    assert isinstance(value, int) == quantum.is_integer()
    number = float(str(value))
    assert math.isclose(number / quantum, round(number / quantum), rel_tol=1e-9, abs_tol=1e-6)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert low - slack <= number <= high + slack


@settings(max_examples=60)
@given(st.tuples(st.integers(-50, 50), st.integers(0, 30)), SEEDS)
def test_integers_are_whole_and_within_their_bounds(bounds: tuple[int, int], seed: int) -> None:
    parameter = Integers(bounds[0], bounds[0] + bounds[1])
    value = drawn(parameter, seed)
    assert isinstance(value, int)
    assert value in range(parameter.low, parameter.high + 1)
    assert listed(parameter) == tuple(range(parameter.low, parameter.high + 1))


VALUES = st.lists(
    st.one_of(st.none(), st.integers(2, 99), st.text("abc", min_size=1), st.lists(st.integers(), min_size=1)),
    min_size=1,
    max_size=6,
    unique_by=str,
)


@settings(max_examples=60)
@given(VALUES, SEEDS)
def test_choices_are_drawn_and_listed_as_they_are(values: list[object], seed: int) -> None:
    parameter = Choices(tuple(values))  # type: ignore[arg-type]
    assert drawn(parameter, seed) in values
    assert listed(parameter) == tuple(values)


@settings(max_examples=60)
@given(VALUES, st.randoms(use_true_random=False), SEEDS)
def test_weighted_choices_never_draw_what_has_no_probability(
    values: list[object], rng: random.Random, seed: int
) -> None:
    weights = [rng.choice([0, 1, 3]) for _ in values]
    weights[0] = 2
    shares = tuple(weight / sum(weights) for weight in weights)
    parameter = WeightedChoices(tuple(values), shares)  # type: ignore[arg-type]
    possible = [value for value, share in zip(values, shares, strict=True) if share]
    assert drawn(parameter, seed) in possible
    assert listed(parameter) == tuple(possible)
    assert parameter.value_at(1.0) == possible[-1]


@settings(max_examples=60)
@given(st.integers(-20, 20), st.integers(1, 30), st.sampled_from([0.1, 0.5, 1.0, 3.0]))
def test_a_quantized_interval_lists_every_multiple_once(low: int, span: int, quantum: float) -> None:
    parameter = Quantized(Uniform(low, low + span), quantum)
    values = listed(parameter)
    assert values is not None
    expected = [k * quantum for k in range(-400, 600) if low - 1e-9 <= k * quantum <= low + span + 1e-9]
    np.testing.assert_allclose([float(str(value)) for value in values], expected, atol=1e-9)


@pytest.mark.parametrize(
    ("parameter", "reference"),
    [
        (Uniform(2, 5), scipy.stats.uniform(2, 3)),
        (LogUniform(1e-4, 1e-1), scipy.stats.loguniform(1e-4, 1e-1)),
        (Normal(3, 0.5), scipy.stats.norm(3, 0.5)),
        (LogNormal(-5, 0.7), scipy.stats.lognorm(0.7, scale=math.exp(-5))),
        (Beta(2, 5), scipy.stats.beta(2, 5)),
    ],
)
def test_draws_have_the_distribution_that_is_named(parameter: Parameter, reference: object) -> None:
    rng = random.Random(1)
    sweep = make_sweep({"it": parameter})
    draws = [draw_point(sweep, rng)["it"] for _ in range(2000)]
    # Cutting off 0.27 % of the tails shifts the distribution function by less than that.
    distance = scipy.stats.kstest(draws, reference.cdf).statistic  # type: ignore[attr-defined]
    assert distance < 1.63 / math.sqrt(2000) + 0.002


def test_weighted_choices_are_as_frequent_as_their_probabilities() -> None:
    rng = random.Random(2)
    sweep = make_sweep({"it": WeightedChoices(("a", "b", "c"), (0.7, 0.1, 0.2))})
    draws = [draw_point(sweep, rng)["it"] for _ in range(4000)]
    shares = [draws.count(name) / 4000 for name in "abc"]
    np.testing.assert_allclose(shares, [0.7, 0.1, 0.2], atol=0.03)
