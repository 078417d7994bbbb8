"""Random tensors in captured functions: new numbers in every run, the same bits everywhere, the right distributions.

A correct implementation fails one of the statistical checks below with probability `CHANCE` for a seed chosen by
chance; the seeds are fixed. Distribution functions: P(sup |F_n - F| > ε) ≤ 2 exp(-2 n ε²) (Dvoretzky, Kiefer,
Wolfowitz; Massart 1990). Counts and means: P(|mean - expected| > ε) ≤ 2 exp(-2 n ε²) for values in an interval of
length 1 (Hoeffding 1963).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, CaptureError
from chainrule.tensor.random import _normal_quantile

CHANCE = 1e-9

DRAWS: dict[str, Callable[[], Any]] = {
    "rand": lambda: cr.rand(3, 40),
    "rand float64": lambda: cr.rand(120, dtype=cr.float64),
    "rand_like": lambda: cr.rand_like(cr.zeros(7, 5)),
    "randn": lambda: cr.randn((3, 40)),
    "randn float64": lambda: cr.randn(120, dtype=cr.float64),
    "randint": lambda: cr.randint(-3, 50, (60,)),
    "randint_like": lambda: cr.randint_like(cr.zeros(60), 100),
    "randperm": lambda: cr.randperm(50),
    "normal": lambda: cr.normal(cr.arange(4.0), 2.0),
    "uniform_": lambda: cr.zeros(60).uniform_(2.0, 5.0),
    "normal_": lambda: cr.zeros(60, dtype=cr.float64).normal_(1.0, 3.0),
    "bernoulli_": lambda: cr.zeros(60).bernoulli_(0.3),
    "random_": lambda: cr.zeros(60, dtype=cr.int64).random_(9),
    "bernoulli": lambda: cr.bernoulli(cr.full((60,), 0.3)),
    "multinomial": lambda: cr.multinomial(cr.ones(60), 50),
}


def deviation(size: int) -> float:
    """ε with 2 exp(-2 n ε²) = CHANCE."""
    return math.sqrt(math.log(2 / CHANCE) / (2 * size))


def drawn(draw: Callable[[], Any], runs: int = 1, seed: int = 0) -> list[np.ndarray[Any, Any]]:
    """What a compiled function draws in so many runs."""
    compiled = cr.compile(draw)
    cr.manual_seed(seed)
    return [np.array(compiled()) for _ in range(runs)]


@pytest.mark.parametrize("name", DRAWS)
def test_every_run_draws_new_numbers_and_a_seed_repeats_them_on_every_backend(name: str) -> None:
    draw = DRAWS[name]
    first, second = drawn(draw, 2)
    outside = draw()
    assert first.shape == tuple(outside.shape) and str(first.dtype) == str(outside.dtype).removeprefix("chainrule.")
    assert not np.array_equal(first, second)
    for one, other in zip(drawn(draw, 2), (first, second), strict=True):
        np.testing.assert_array_equal(one, other)
    with cr.backend("reference"):
        for one, other in zip(drawn(draw, 2), (first, second), strict=True):
            np.testing.assert_array_equal(one, other)
    assert not np.array_equal(drawn(draw, seed=1)[0], first)


def test_any_number_of_threads_draws_the_same_bits() -> None:
    before = cr.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            cr.set_num_threads(threads)
            found.append(drawn(lambda: cr.randn(100_001))[0])
    finally:
        cr.set_num_threads(before)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_numbers_outside_are_numpys() -> None:
    cr.manual_seed(5)
    numpy = np.random.Generator(np.random.Philox(key=5))
    np.testing.assert_array_equal(cr.randn(4, dtype=cr.float64).numpy(), numpy.standard_normal(4))
    np.testing.assert_array_equal(cr.randint(0, 9, (4,)).numpy(), numpy.integers(0, 9, 4))
    np.testing.assert_array_equal(cr.randperm(6).numpy(), numpy.permutation(6))


@pytest.mark.parametrize("dtype", [cr.float32, cr.float64])
def test_distribution_functions(dtype: Any) -> None:
    size = 200_000
    uniform, normal = (np.sort(drawn(lambda f=f: f(size, dtype=dtype))[0]) for f in (cr.rand, cr.randn))
    ranks = np.arange(size) / size
    assert uniform[0] >= 0 and uniform[-1] < 1
    assert np.abs(uniform - ranks).max() < deviation(size) + 1 / size
    expected = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in normal])
    assert np.abs(expected - ranks).max() < deviation(size) + 1 / size


def test_runs_streams_and_elements_are_uncorrelated() -> None:
    """The mean of a product of two independent signs is in [-1, 1]: an interval of length 2."""
    size = 100_000
    compiled = cr.compile(lambda: (cr.rand(size), cr.rand(size)))
    cr.manual_seed(3)
    signs = [np.sign(np.array(values) - 0.5) for _ in range(2) for values in compiled()]
    for i in range(4):
        for j in range(i):
            assert abs((signs[i] * signs[j]).mean()) < 2 * deviation(size)
        assert abs((signs[i][1:] * signs[i][:-1]).mean()) < 2 * deviation(size - 1)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 4), (0, 256), (5, 5 + 2**32)])
def test_whole_numbers_are_equally_likely(low: int, high: int) -> None:
    size = 100_000
    values = drawn(lambda: cr.randint(low, high, (size,)))[0]
    assert values.dtype == np.int64 and low <= values.min() and values.max() < high
    ends = np.linspace(low, high, min(high - low, 7) + 1).round()
    shares = np.histogram(values, ends)[0] / size
    np.testing.assert_allclose(shares, np.diff(ends) / (high - low), atol=deviation(size))


def test_orders_are_equally_likely() -> None:
    runs = 6000
    compiled = cr.compile(lambda: cr.randperm(3))
    cr.manual_seed(1)
    found = [tuple(compiled().tolist()) for _ in range(runs)]
    assert len(set(found)) == 6
    for order in set(found):
        assert abs(found.count(order) / runs - 1 / 6) < deviation(runs)
    assert sorted(drawn(lambda: cr.randperm(1000))[0].tolist()) == list(range(1000))


@pytest.mark.parametrize(("dtype", "bits"), [(np.float32, 24), (np.float64, 48)])
def test_normal_quantiles(dtype: Any, bits: int) -> None:
    """Φ(Φ⁻¹(share)) = share, for the share of the lower tail at both ends and between; the quantile is odd."""
    powers = 2.0 ** np.linspace(0, bits - 1.001, 2000)
    steps = np.unique(
        np.concatenate([[0], powers.astype(np.int64), np.arange(50), 2 ** (bits - 1) - 1 - np.arange(50)])
    )
    lower = _normal_quantile(cr.tensor((steps * 2.0**-bits).astype(dtype))).numpy()
    upper = _normal_quantile(cr.tensor(((2**bits - 1 - steps) * 2.0**-bits).astype(dtype))).numpy()
    np.testing.assert_array_equal(upper, -lower)
    shares = np.array([0.5 * math.erfc(-float(x) / math.sqrt(2)) for x in lower])
    density = np.exp(-(lower.astype(np.float64) ** 2) / 2) / math.sqrt(2 * math.pi)
    error = np.abs(shares - (steps + 0.5) * 2.0**-bits) / density  # of the quantile, to first order
    assert (error <= 2.2e-6 * np.abs(lower) + 1e-12).all()


def test_generators_do_not_disturb_each_other() -> None:
    """Two generators in one function: each follows its own seed."""
    mine = cr.Generator()

    @cr.compile
    def both() -> Any:
        return cr.rand(20), cr.rand(20, generator=mine)

    def run(seed: int, own: int) -> list[list[float]]:
        cr.manual_seed(seed)
        mine.manual_seed(own)
        return [values.tolist() for _ in range(2) for values in both()]

    first, same_own, same_seed = run(0, 1), run(2, 1), run(0, 3)
    assert first == run(0, 1) and len({tuple(values) for values in first}) == 4
    assert same_own[1::2] == first[1::2] and same_own[0] != first[0]
    assert same_seed[0::2] == first[0::2] and same_seed[1] != first[1]
    cr.manual_seed(0)
    cr.rand_like(cr.bernoulli(cr.full((9,), 0.5)))
    mine.manual_seed(1)
    pair = [cr.bernoulli(cr.full((50,), 0.5)), cr.bernoulli(cr.full((50,), 0.5), generator=mine)]
    cr.manual_seed(77)
    mine.manual_seed(1)
    other = [cr.bernoulli(cr.full((50,), 0.5)), cr.bernoulli(cr.full((50,), 0.5), generator=mine)]
    assert pair[1].tolist() == other[1].tolist() and pair[0].tolist() != other[0].tolist()


class Noisy(nn.Module):
    """Adds noise to its input in training; counts what it drew."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)
        self.register_buffer("total", cr.zeros(1))

    def forward(self, x: Any) -> Any:
        noise = cr.randn_like(x)
        if self.training:
            with cr.no_grad():
                self.total.add_(noise.sum())
        return self.linear(x + noise)


def test_a_trainers_forward_draws_in_every_step() -> None:
    totals = []
    for seed in (0, 0, 1):
        cr.manual_seed(seed)
        model = Noisy()
        trainer = cr.Trainer(model, loss="mse", optimizer="sgd", seed=seed)
        trainer.fit(np.ones((64, 1)), np.ones((64, 1)), epochs=5, batch_size=4, verbose=0)
        totals.append(model.total.item())
    assert totals[0] == totals[1] != totals[2]
    # 80 steps of 4 numbers: N(0, 320), of which 6.2 deviations are exceeded with probability 6e-10. The same numbers in
    # every step would give N(0, 25600).
    assert abs(totals[0]) < 6.2 * math.sqrt(320)


def test_what_cannot_be_drawn_in_a_captured_function() -> None:
    with pytest.raises(ArgumentError, match=r"(?s)from 3 to 3 - 1.*there are 0"):
        cr.compile(lambda: cr.randint(3, 3, (2,)))()
    with pytest.raises(ArgumentError, match="there must be 1 to 2³² of them"):
        cr.compile(lambda: cr.randint(0, 2**40, (2,)))()
    with pytest.raises(CaptureError, match=r"(?s)same ones in every run.*fix: draw them outside"):
        cr.compile(lambda: nn.init.normal_(cr.zeros(2)))()
    assert cr.randint(0, 2**40, (2,)).shape == (2,)
