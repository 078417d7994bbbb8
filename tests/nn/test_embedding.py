"""Tables of rows: values, gradients and renormalised rows equal PyTorch's; wrong indices are named with their row."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, DTypeError, IndexOutOfRangeError, ShapeError
from chainrule.nn import functional as F

INDICES = np.array([[1, 4, 1], [0, 2, 1]])


@pytest.mark.parametrize(
    "options",
    [
        {}, {"padding_idx": 1}, {"padding_idx": -1}, {"max_norm": 1.0}, {"max_norm": 0.5, "norm_type": 1.0},
        {"scale_grad_by_freq": True}, {"scale_grad_by_freq": True, "padding_idx": 0}, {"sparse": True},
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_values_and_gradients_equal_pytorch(options: dict[str, Any], dtype: str) -> None:
    torch = pytest.importorskip("torch")
    table = np.random.default_rng(0).normal(size=(5, 3)).astype(dtype)
    ours, theirs = nn.Embedding(5, 3, **options), torch.nn.Embedding(5, 3, **options)
    assert repr(ours) == repr(theirs)
    ours.to(dtype)
    theirs.to(getattr(torch, dtype))
    theirs.weight.data = torch.tensor(table)
    ours.load_state_dict(theirs.state_dict())
    weights = np.random.default_rng(1).normal(size=(2, 3, 3)).astype(dtype)
    for _ in range(2):
        y, y_torch = ours(cr.tensor(INDICES)), theirs(torch.tensor(INDICES))
        ours.zero_grad()
        theirs.zero_grad()
        (y.square() * cr.tensor(weights)).sum().backward()
        (y_torch.square() * torch.tensor(weights)).sum().backward()
        tolerance = {"rtol": 1e-9 if dtype == "float64" else 1e-5, "atol": 1e-7}
        np.testing.assert_allclose(y.detach().numpy(), y_torch.detach().numpy(), **tolerance)
        np.testing.assert_allclose(ours.weight.detach().numpy(), theirs.weight.detach().numpy(), **tolerance)
        gradient = theirs.weight.grad.to_dense().numpy()
        np.testing.assert_allclose(ours.weight.grad.numpy(), gradient, **tolerance)


def test_every_kind_of_input() -> None:
    layer = nn.Embedding(4, 2)
    rows = layer.weight.detach().numpy()
    np.testing.assert_array_equal(layer(cr.tensor(3)).detach().numpy(), rows[3])
    np.testing.assert_array_equal(layer(cr.tensor([1, 0], dtype=cr.int32)).detach().numpy(), rows[[1, 0]])
    np.testing.assert_array_equal(layer(cr.tensor(np.array([[0, 1, 2, 3]]).T)[1:, 0]).detach().numpy(), rows[1:])
    assert layer(cr.zeros(0, 3, dtype=cr.int64)).shape == (0, 3, 2)
    assert nn.Embedding(0, 2)(cr.zeros(0, dtype=cr.int64)).shape == (0, 2)


def test_a_padding_row_is_zero_and_stays_it() -> None:
    layer = nn.Embedding(5, 3, padding_idx=2)
    optimizer = cr.optim.SGD(layer.parameters(), lr=1.0)
    layer(cr.tensor([2, 1, 2])).sum().backward()
    optimizer.step()
    assert layer.weight[2].tolist() == [0, 0, 0]
    assert layer.weight.grad.sum(1).tolist() == [0, 3, 0, 0, 0]


def test_training_in_a_compiled_step_and_with_shortened_rows() -> None:
    def trained(compiled: bool) -> np.ndarray[Any, Any]:
        cr.manual_seed(0)
        layer = nn.Embedding(5, 3, max_norm=1.0)
        optimizer = cr.optim.SGD(layer.parameters(), lr=0.5)

        def step(index: Any) -> None:
            optimizer.zero_grad()
            layer(index).square().sum().backward()
            optimizer.step()

        run = cr.compile(step) if compiled else step
        for index in INDICES:
            run(cr.tensor(index))
        return np.array(layer.weight)

    np.testing.assert_array_equal(trained(True), trained(False))


def test_from_pretrained() -> None:
    table = cr.tensor(np.eye(3))
    frozen = nn.Embedding.from_pretrained(table, padding_idx=1)
    assert (frozen.weight.requires_grad, frozen.weight.dtype, frozen.padding_idx) == (False, cr.float64, 1)
    assert frozen(cr.tensor([2])).tolist() == [[0, 0, 1]]
    assert nn.Embedding.from_pretrained(table, freeze=False).weight.requires_grad


def test_an_index_that_only_the_program_knows_gives_nan_outside_the_table() -> None:
    layer = nn.Embedding(3, 2)
    found = cr.compile(lambda index: layer(index))(cr.tensor([0, 3, 2])).detach().numpy()
    assert np.isnan(found).all(1).tolist() == [False, True, False]
    assert np.isnan(layer(cr.tensor([1, 2]) + 1).detach().numpy()).all(1).tolist() == [False, True]


def test_a_trainer_learns_rows_from_numbers_of_any_type() -> None:
    index = np.random.default_rng(0).integers(0, 6, (90, 2))
    target = (index[:, :1] * 2.0 - index[:, 1:]) / 5
    losses = []
    for kind in (np.int64, np.uint8, np.float32):
        cr.manual_seed(0)
        model = nn.Sequential(nn.Embedding(6, 3), nn.Flatten(), nn.Linear(6, 1))
        trainer = cr.Trainer(model, optimizer=lambda parameters: cr.optim.Adam(parameters, lr=0.02), seed=0)
        trainer.fit(index.astype(kind), target, epochs=40, batch_size=10, verbose=0)
        losses.append(trainer.evaluate(index.astype(kind), target)["loss"])
    assert losses[0] < 0.01 and losses == [losses[0]] * 3
    with pytest.raises(cr.errors.NonFiniteError):
        trainer.fit(index + 3, target, epochs=1, verbose=0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.Embedding(3, 2)(cr.tensor([0, 3])), IndexOutOfRangeError,
         r"index 3 in row 1, but the table has 3 rows \(0 to 2\).*test_embedding.py.*fix: Embedding\(4, ...\)"),
        (lambda: nn.Embedding(3, 2)(cr.tensor([[0, 1], [0, -1]])), IndexOutOfRangeError, r"index -1 in row 1, pos"),
        (lambda: nn.Embedding(3, 2)(cr.tensor([0.0, 0.5])), DTypeError, r"indices, got the number 0.5 in row 1"),
        (lambda: nn.Embedding(3, 2)(cr.tensor([True])), DTypeError, r"got bool.*fix: x.long\(\)"),
        (lambda: nn.Embedding(3, 2)(cr.zeros(2, requires_grad=True)), DTypeError, "requires a gradient"),
        (lambda: nn.Embedding(3, 2)(cr.tensor([0.0, 3.0])), IndexOutOfRangeError, "index 3 in row 1"),
        (lambda: nn.Embedding(3, 2, padding_idx=3), ArgumentError, r"within num_embeddings \(3\), got 3"),
        (lambda: nn.Embedding(-3, 2), ArgumentError, "must not be negative"),
        (lambda: nn.Embedding.from_pretrained(cr.ones(3)), ShapeError, "2-dimensional"),
        (lambda: F.embedding(cr.tensor([0]), cr.ones(3)), ShapeError, "2-D"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"(?s){message}"):
        make()
