"""Every loss that PyTorch has: values, gradients, ties, unusual numbers and empty batches equal its own."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.nn import functional as F

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")

Array = np.ndarray[Any, Any]
Inputs = Callable[[np.random.Generator], tuple[Array, ...]]
TOLERANCE = {"float64": 1e-9, "float32": 2e-5}


def compare(ours: Any, theirs: Any, inputs: tuple[Array, ...], dtype: str = "float64") -> None:
    """Value and gradients of two functions of the same arrays; floats but the last (the target) get gradients."""
    arrays = [array.astype(dtype) if array.dtype.kind == "f" else array for array in inputs]
    wants_gradient = [array.dtype.kind == "f" and (i < len(arrays) - 1) for i, array in enumerate(arrays)]
    mine = [cr.tensor(array, requires_grad=wanted) for array, wanted in zip(arrays, wants_gradient, strict=True)]
    others = [torch.tensor(array, requires_grad=wanted) for array, wanted in zip(arrays, wants_gradient, strict=True)]
    found, expected = ours(*mine), theirs(*others)
    assert tuple(found.shape) == tuple(expected.shape)
    cotangent = 1 + 0.5 * np.cos(np.arange(expected.numel())).reshape(tuple(expected.shape)).astype(dtype)
    found.backward(cr.tensor(cotangent))
    expected.backward(torch.tensor(cotangent))
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), **tolerance)
    for a, b in zip(mine, others, strict=True):
        if b.grad is not None:
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), **tolerance)


def compare_modules(name: str, options: dict[str, Any], inputs: tuple[Array, ...], dtype: str = "float64") -> None:
    """A module of both libraries under one name."""

    def made(library: Any) -> Any:
        convert = cr.tensor if library is nn else torch.tensor
        arguments = {k: convert(v.astype(dtype)) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        return getattr(library, name)(**arguments)

    compare(made(nn), made(torch.nn), inputs, dtype)


def normal(*shapes: tuple[int, ...]) -> Inputs:
    return lambda random: tuple(random.normal(0, 2, shape) for shape in shapes)


def signs(*shapes: tuple[int, ...]) -> Inputs:
    """Normal inputs of all shapes but the last, which holds -1 and 1."""
    return lambda random: (
        *(random.normal(0, 1, shape) for shape in shapes[:-1]),
        np.where(random.uniform(size=shapes[-1]) < 0.5, -1.0, 1.0),
    )


def classes(shape: tuple[int, ...]) -> Inputs:
    count = shape[1] if len(shape) > 1 else shape[0]
    return lambda random: (random.normal(0, 1, shape), random.integers(0, count, shape[:1] if len(shape) > 1 else ()))


def labels(shape: tuple[int, ...]) -> Inputs:
    """Some classes of each row in random order, then -1, then what must not count."""

    def make(random: np.random.Generator) -> tuple[Array, Array]:
        rows = np.array([random.permutation(shape[-1]) for _ in range(math.prod(shape[:-1]))]).reshape(shape)
        ends = random.integers(0, shape[-1] + 1, shape[:-1])
        rows[np.arange(shape[-1]) == np.expand_dims(ends, -1)] = -1
        return random.normal(0, 1, shape), rows

    return make


def counts(random: np.random.Generator) -> tuple[Array, Array]:
    return random.normal(0, 1, (5, 3)), random.poisson(2.0, (5, 3)).astype(float)


def rates(random: np.random.Generator) -> tuple[Array, Array]:
    return random.uniform(0.1, 3, (5, 3)), random.poisson(2.0, (5, 3)).astype(float)


def distributions(random: np.random.Generator) -> tuple[Array, Array]:
    target = random.dirichlet(np.ones(4), 5)
    target[0] = [0, 1, 0, 0]
    return np.log(random.dirichlet(np.ones(4), 5)), target


def log_distributions(random: np.random.Generator) -> tuple[Array, Array]:
    return np.log(random.dirichlet(np.ones(4), 5)), np.log(random.dirichlet(np.ones(4), 5))


WEIGHT = np.array([1.0, 0.5, 3.0, 0.0])

LOSSES: list[tuple[str, dict[str, Any], Inputs]] = [
    ("MSELoss", {}, normal((4, 3), (4, 3))),
    ("L1Loss", {}, normal((), ())),
    ("HuberLoss", {}, normal((6, 3), (6, 3))),
    ("HuberLoss", {"delta": 0.3}, normal((6,), (6,))),
    ("SmoothL1Loss", {}, normal((6, 3), (6, 3))),
    ("SmoothL1Loss", {"beta": 2.5}, normal((6, 1), (6, 1))),
    ("SmoothL1Loss", {"beta": 0.0}, normal((6,), (6,))),
    ("PoissonNLLLoss", {}, counts),
    ("PoissonNLLLoss", {"full": True}, counts),
    ("PoissonNLLLoss", {"log_input": False, "full": True, "eps": 1e-3}, rates),
    ("BCELoss", {}, lambda random: (random.uniform(0.01, 0.99, (5, 4)), random.uniform(0, 1, (5, 4)))),
    ("BCEWithLogitsLoss", {"pos_weight": 2 * WEIGHT}, lambda r: (r.normal(0, 3, (5, 4)), r.uniform(0, 1, (5, 4)))),
    ("KLDivLoss", {}, distributions),
    ("KLDivLoss", {"log_target": True}, log_distributions),
    ("MultiMarginLoss", {}, classes((6, 4))),
    ("MultiMarginLoss", {"p": 2, "margin": 0.5}, classes((6, 4))),
    ("MultiMarginLoss", {"p": 2, "weight": WEIGHT}, classes((6, 4))),
    ("MultiMarginLoss", {"weight": WEIGHT}, classes((4,))),
    ("MultiLabelMarginLoss", {}, labels((5, 4))),
    ("MultiLabelMarginLoss", {}, labels((6,))),
    ("MultiLabelSoftMarginLoss", {}, lambda r: (r.normal(0, 3, (5, 4)), r.integers(0, 2, (5, 4)).astype(float))),
    ("MultiLabelSoftMarginLoss", {"weight": WEIGHT}, lambda r: (r.normal(0, 3, (5, 4)), r.uniform(0, 1, (5, 4)))),
    ("SoftMarginLoss", {}, signs((5, 3), (5, 3))),
    ("HingeEmbeddingLoss", {}, signs((5, 3), (5, 3))),
    ("HingeEmbeddingLoss", {"margin": 0.2}, lambda r: (r.normal(size=9), r.integers(-1, 2, 9).astype(float))),
    ("MarginRankingLoss", {}, signs((7,), (7,), (7,))),
    ("MarginRankingLoss", {"margin": 0.5}, signs((4, 3), (1, 3), (4, 1))),
    ("CosineEmbeddingLoss", {}, signs((6, 3), (6, 3), (6,))),
    ("CosineEmbeddingLoss", {"margin": -0.3}, signs((3,), (3,), ())),
    ("TripletMarginLoss", {}, normal((5, 3), (5, 3), (5, 3))),
    ("TripletMarginLoss", {"margin": 3.0, "p": 1.0, "swap": True}, normal((5, 3), (5, 3), (5, 3))),
    ("TripletMarginLoss", {"margin": 2.0, "p": 3.0, "eps": 1e-3}, normal((5, 3), (1, 3), (5, 3))),
    ("TripletMarginLoss", {"p": math.inf}, normal((4,), (4,), (4,))),
]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("name", "options", "inputs"), LOSSES, ids=lambda value: str(value).split(" at ")[0])
def test_losses(name: str, options: dict[str, Any], inputs: Inputs, reduction: str) -> None:
    compare_modules(name, {**options, "reduction": reduction}, inputs(np.random.default_rng(4)))


@pytest.mark.parametrize(("name", "options", "inputs"), LOSSES, ids=lambda value: str(value).split(" at ")[0])
def test_losses_in_single_precision(name: str, options: dict[str, Any], inputs: Inputs) -> None:
    compare_modules(name, options, inputs(np.random.default_rng(5)), "float32")


def test_the_divergence_averaged_over_rows() -> None:
    compare_modules("KLDivLoss", {"reduction": "batchmean"}, distributions(np.random.default_rng(0)))
    scalars = (np.array(-0.5), np.array(0.25))
    compare_modules("KLDivLoss", {"reduction": "batchmean"}, scalars)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_weights_of_elements(name: str, reduction: str) -> None:
    random = np.random.default_rng(6)
    inputs = (random.normal(size=(4, 3)), random.uniform(0, 2, (4, 3)), random.normal(size=(4, 3)))

    def of(library: Any) -> Any:
        function = getattr(library, name)
        return lambda x, weight, y: function(x, y, reduction=reduction, weight=weight)

    compare(of(F), of(torch.nn.functional), inputs)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(4, 3, 2), (4, 3), (4, 3, 1), (4, 1, 2)])
def test_shapes_of_a_variance(shape: tuple[int, ...], reduction: str) -> None:
    random = np.random.default_rng(7)
    variance = random.uniform(0.1, 2, shape)
    variance[0] = 1e-9
    inputs = (random.normal(size=(4, 3, 2)), variance, random.normal(size=(4, 3, 2)))

    def of(library: Any) -> Any:
        loss = library.GaussianNLLLoss(full=reduction == "mean", eps=1e-3, reduction=reduction)
        return lambda x, var, y: loss(x, y, var)

    compare(of(nn), of(torch.nn), inputs)


def test_a_variance_that_is_a_number_and_a_target_that_broadcasts() -> None:
    random = np.random.default_rng(8)
    inputs = random.normal(size=(4, 3)), random.normal(size=(4, 1))
    compare(
        lambda x, y: F.gaussian_nll_loss(x, y, 2.0),
        lambda x, y: torch.nn.functional.gaussian_nll_loss(x, y, 2.0),
        inputs,
    )


# Where derivatives jump, what is not finite, and nothing at all -------------------------------------------------------

TIES: list[tuple[str, dict[str, Any], tuple[Any, ...]]] = [
    ("L1Loss", {}, ([1.0, 2.0], [1.0, 1.0])),
    ("HuberLoss", {}, ([0.0, 1.0, -1.0, 2.0], [0.0, 0.0, 0.0, 1.0])),
    ("SmoothL1Loss", {"beta": 0.5}, ([0.5, -0.5, 0.0], [0.0, 0.0, 0.0])),
    ("SmoothL1Loss", {"beta": 0.0}, ([0.5, -0.5, 0.0], [0.0, 0.0, 0.0])),
    ("PoissonNLLLoss", {"full": True}, ([0.0, 1.0, 2.0], [0.0, 1.0, 2.0])),
    ("HingeEmbeddingLoss", {}, ([1.0, 0.0, 0.0, 1.0], [-1.0, 1.0, -1.0, 1.0])),
    ("MarginRankingLoss", {}, ([1.0, 1.0], [1.0, 1.0], [1.0, -1.0])),
    ("MarginRankingLoss", {"margin": 1.0}, ([2.0, 1.0], [1.0, 2.0], [1.0, -1.0])),
    ("MultiMarginLoss", {}, ([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0]], [0, 1])),
    ("MultiMarginLoss", {"p": 2}, ([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0]], [0, 1])),
    ("MultiLabelMarginLoss", {}, ([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]], [[0, -1, 2], [1, 1, -1]])),
    ("CosineEmbeddingLoss", {"margin": 1.0}, ([[1.0, 0.0], [0.0, 2.0]], [[1.0, 0.0], [1.0, 1.0]], [-1.0, 1.0])),
    ("TripletMarginLoss", {"eps": 0.0}, ([[0.0, 0.0]], [[0.0, 0.0]], [[1.0, 0.0]])),
    ("TripletMarginLoss", {"swap": True}, ([[0.0, 0.0]], [[2.0, 0.0]], [[1.0, 0.0]])),
    ("TripletMarginLoss", {"p": 1.0, "eps": 0.0}, ([[0.0, 0.0]], [[0.0, 1.0]], [[0.0, 2.0]])),
]


@pytest.mark.parametrize(("name", "options", "inputs"), TIES)
def test_ties(name: str, options: dict[str, Any], inputs: tuple[Any, ...]) -> None:
    compare_modules(name, {**options, "reduction": "none"}, tuple(np.array(value) for value in inputs))


@pytest.mark.parametrize("special", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize(
    "name",
    ["MSELoss", "L1Loss", "HuberLoss", "SmoothL1Loss", "PoissonNLLLoss", "BCEWithLogitsLoss", "HingeEmbeddingLoss"],
)
def test_inputs_that_are_not_finite(name: str, special: float) -> None:
    loss, theirs = getattr(nn, name)(reduction="none"), getattr(torch.nn, name)(reduction="none")
    x, y = np.array([special, 1.0, special]), np.array([1.0, 1.0, 0.0])
    expected = theirs(torch.tensor(x), torch.tensor(y)).numpy()
    np.testing.assert_allclose(loss(cr.tensor(x), cr.tensor(y)).numpy(), expected, rtol=1e-12)


def test_margins_of_any_size() -> None:
    """PyTorch's formula overflows here."""
    x = cr.tensor([-800.0, 800.0, 0.0], dtype=cr.float64, requires_grad=True)
    losses = F.soft_margin_loss(x, cr.tensor([1.0, 1.0, 1.0]), reduction="none")
    losses.sum().backward()
    np.testing.assert_allclose(losses.detach().numpy(), [800.0, 0.0, np.log(2)], rtol=1e-12)
    np.testing.assert_allclose(x.grad.numpy(), [-1.0, 0.0, -0.5], rtol=1e-12)


ROWS = {"CosineEmbeddingLoss": ((0, 3), (0, 3), (0,)), "MultiMarginLoss": ((0, 3), (0,))}


@pytest.mark.parametrize("name", sorted({name for name, _, _ in LOSSES}))
def test_an_empty_batch_costs_nan_in_the_mean_and_nothing_in_the_sum(name: str) -> None:
    kinds = {"TripletMarginLoss": 3, "MarginRankingLoss": 3}
    shapes = ROWS.get(name, ((0, 3),) * kinds.get(name, 2))
    is_class = name in ("MultiMarginLoss", "MultiLabelMarginLoss")
    inputs = [cr.zeros(*shape, dtype=cr.int64 if is_class and i else cr.float32) for i, shape in enumerate(shapes)]
    options = {"pos_weight": None} if name == "BCEWithLogitsLoss" else {}
    assert math.isnan(getattr(nn, name)(**options)(*inputs).item())
    assert getattr(nn, name)(reduction="sum")(*inputs).item() == 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = getattr(torch.nn, name)(reduction="none")(*(torch.from_numpy(np.asarray(x)) for x in inputs))
    assert getattr(nn, name)(reduction="none")(*inputs).shape == tuple(expected.shape)


# Distances ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shapes", [((4, 3), (4, 3)), ((4, 3), (3,)), ((2, 3, 1), (1, 3, 4)), ((3, 1), (3, 1))])
def test_cosine_similarity(shapes: tuple[tuple[int, ...], ...]) -> None:
    random = np.random.default_rng(9)
    first, second = (random.normal(size=shape) for shape in shapes)
    first[0] = 0.0
    dim = 1 if first.ndim == second.ndim else -1
    inputs = (first, second, np.zeros(0))

    def of(library: Any) -> Any:
        similarity = library.CosineSimilarity(dim=dim, eps=1e-3)
        return lambda a, b, _: similarity(a, b)

    compare(of(nn), of(torch.nn), inputs)


@pytest.mark.parametrize("p", [2.0, 1.0, 3.0, 0.5, math.inf, -math.inf])
@pytest.mark.parametrize("shapes", [((4, 3), (4, 3)), ((4, 3), (3,)), ((3,), (3,))])
def test_pairwise_distance(shapes: tuple[tuple[int, ...], ...], p: float) -> None:
    random = np.random.default_rng(10)
    inputs = (*(random.integers(-2, 3, shape).astype(float) for shape in shapes), np.zeros(0))
    for eps, keepdim in ((1e-6, False), (0.0, True)):

        def of(library: Any, eps: float = eps, keepdim: bool = keepdim) -> Any:
            distance = library.PairwiseDistance(p, eps, keepdim)
            return lambda a, b, _: distance(a, b)

        compare(of(nn), of(torch.nn), inputs)


def test_the_distance_of_order_0_counts_what_differs() -> None:
    distance = F.pairwise_distance(cr.tensor([[1.0, 2.0, 3.0]]), cr.tensor([[1.0, 0.0, 0.0]]), p=0, eps=0)
    assert distance.tolist() == [2.0]
