"""Constructors against PyTorch."""

import numpy as np
import pytest

import chainrule as cr

from .against_torch import agree_all


def test_constructors() -> None:
    agree_all(
        ["m.zeros(2, 3)", "m.zeros((2, 3))", "m.zeros([2])", "m.zeros(())", "m.ones(2, dtype=m.int64)",
         "m.full((2,), 3)",
         "m.full((2,), 3.0)", "m.full((2,), True)", "m.full([], 2)", "m.full((2,), float('nan'))", "m.empty(0, 3)",
         "m.arange(5)", "m.arange(1, 5)", "m.arange(0, 1, 0.25)", "m.arange(5.0)", "m.arange(5, 0, -2)",
         "m.linspace(0, 1, 5)", "m.linspace(0, 1, 1)", "m.eye(3)", "m.eye(2, 3)", "m.zeros(-1)",
         "m.zeros_like(m.ones(2, 3, dtype=m.int64))", "m.ones_like(m.ones(2), dtype=m.float64)",
         "m.full_like(m.ones(2), 7)", "m.as_tensor([1, 2])", "m.from_numpy(np.arange(3.0))", "m.from_numpy([1])"],
    )  # fmt: skip


def test_tensors_of_numbers_lists_and_arrays() -> None:
    agree_all(
        ["m.tensor(1)", "m.tensor(1.0)", "m.tensor(True)", "m.tensor([])", "m.tensor([[1, 2], [3, 4]])",
         "m.tensor([1, 2.5])",
         "m.tensor([True, False])", "m.tensor([True, 2])", "m.tensor(np.float64(2))", "m.tensor(np.arange(3))",
         "m.tensor(np.ones(2))", "m.tensor(np.ones(2, np.float32))", "m.tensor([1, 2], dtype=m.float64)",
         "m.tensor([1.7, -1.7], dtype=m.int64)", "m.tensor(m.ones(2))", "m.tensor([m.tensor(1.0), m.tensor(2.0)])",
         "m.tensor([[1, 2], [3]])", "m.tensor('a')", "m.tensor(5)[None]", "m.tensor(range(3))", "m.tensor((1, 2))",
         "m.tensor(2**40)", "m.tensor(1e40)", "m.tensor([0.1]).double()", "m.tensor(np.array(2.5))", "m.tensor([[]])",
         "m.tensor(np.ones((2, 3)).T)", "m.tensor(np.arange(10)[::-2].copy())"],
    )  # fmt: skip


def test_a_tensor_is_a_copy_of_its_data() -> None:
    array = np.ones(3, np.float32)
    x, shared = cr.tensor(array), cr.from_numpy(array)
    array[0] = 7
    assert (x[0].item(), shared[0].item()) == (1, 7)


@pytest.mark.parametrize("name", ["rand", "randn"])
def test_random_numbers_follow_the_seed(name: str) -> None:
    draw = getattr(cr, name)
    cr.manual_seed(3)
    first, second = draw(1000), draw(1000)
    cr.manual_seed(3)
    assert (draw(1000) == first).all()
    assert not (first == second).all()
    mean, deviation = (0.5, 12**-0.5) if name == "rand" else (0, 1)
    assert abs(float(first.mean()) - mean) < 5 * deviation / 1000**0.5
    assert abs(float(first.std()) - deviation) < 0.1
    assert draw(2, 3, dtype=cr.float64).dtype is cr.float64


def test_whole_random_numbers() -> None:
    drawn = cr.randint(2, 5, (1000,))
    assert sorted(set(drawn.tolist())) == [2, 3, 4]
    assert set(cr.randint(2, (100,)).tolist()) == {0, 1}
    assert sorted(cr.randperm(9).tolist()) == list(range(9))


def test_a_generator_of_ones_own() -> None:
    a, b = (cr.Generator().manual_seed(5) for _ in range(2))
    assert (cr.rand(4, generator=a) == cr.rand(4, generator=b)).all()
    saved = a.get_state()
    first = cr.randn(4, generator=a)
    a.set_state(saved)
    assert (cr.randn(4, generator=a) == first).all()


def test_only_the_cpu() -> None:
    assert str(cr.ones(1).device) == "cpu"
    assert cr.zeros(2, device="cpu").device == cr.device("cpu")
    with pytest.raises(cr.errors.ArgumentError, match="'cuda'"):
        cr.zeros(2, device="cuda")


@pytest.mark.parametrize("seed", [-1, -(2**63), 2**63 - 1, 2**63, 2**64 - 1, np.int64(3)])
def test_any_seed_of_64_bits_has_numbers_of_its_own(seed: int) -> None:
    cr.manual_seed(seed)
    kept = [cr.rand(3).tolist(), cr.nn.functional.dropout(cr.ones(50)).tolist()]
    cr.manual_seed(int(seed) % 2**64)
    assert kept == [cr.rand(3).tolist(), cr.nn.functional.dropout(cr.ones(50)).tolist()]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: m.tensor([1, 2**40], dtype=m.int32), "without overflow: 1099511627776.*-2147483648.*dtype=int64"),
        (lambda m: m.tensor(-(2**31) - 1, dtype=m.int32), "overflow: -2147483649"),
        (lambda m: m.tensor([[1e20]], dtype=m.int64), "int64 without overflow: 1e\\+20.*dtype=float64"),
        (lambda m: m.tensor(float("nan"), dtype=m.int32), "overflow: nan"),
        (lambda m: m.full((2,), 2**31, dtype=m.int32), "overflow: 2147483648"),
        (lambda m: m.tensor([2**63]), "int64 without overflow: 9223372036854775808"),
    ],
)
def test_numbers_that_do_not_fit_are_refused_as_in_pytorch(make, message):
    torch = pytest.importorskip("torch")
    with pytest.raises((RuntimeError, ValueError), match="[Oo]verflow"):
        make(torch)
    with pytest.raises(cr.errors.DTypeError, match=f"(?s){message}"):
        make(cr)


def test_numbers_at_the_limits_fit():
    agree = [[-(2**31), 2**31 - 1], [2.9, -2.9], [True, False]]
    assert [cr.tensor(values, dtype=cr.int32).tolist() for values in agree] == [agree[0], [2, -2], [1, 0]]
    assert cr.tensor([-(2**63), 2**63 - 1]).tolist() == [-(2**63), 2**63 - 1]
    assert cr.tensor([2**70, 1], dtype=cr.float64).tolist() == [2.0**70, 1.0]
    assert cr.tensor(np.array([2**40]), dtype=cr.int32).tolist() == [0]  # arrays wrap around, as in PyTorch
    with pytest.raises(cr.errors.DTypeError, match="got None"):
        cr.tensor(None)
