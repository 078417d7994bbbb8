"""Parameters as one vector, folded batch normalisation, and running statistics over all batches."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ShapeError
from chainrule.nn import utils

X = np.random.default_rng(0).normal(2, 3, (60, 4)).astype(np.float32)


def test_parameters_go_into_one_vector_and_back() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = nn.Linear(3, 2), torch.nn.Linear(3, 2)
    ours.load_state_dict(theirs.state_dict())
    vector = utils.parameters_to_vector(ours.parameters())
    np.testing.assert_array_equal(
        vector.detach().numpy(), torch.nn.utils.parameters_to_vector(theirs.parameters()).detach().numpy()
    )
    (vector * cr.arange(8)).sum().backward()
    assert ours.weight.grad.tolist() == [[0, 1, 2], [3, 4, 5]]
    new = np.arange(8, dtype=np.float32)
    utils.vector_to_parameters(cr.tensor(new), ours.parameters())
    assert ours.weight.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert ours.bias.tolist() == [6, 7]
    with pytest.raises(ShapeError, match=r"8 elements in all, got a tensor of shape \(7,\)"):
        utils.vector_to_parameters(cr.ones(7), ours.parameters())
    with pytest.raises(ArgumentError, match="no parameters"):
        utils.parameters_to_vector([])


def trained(*options: dict[str, Any]) -> nn.Sequential:
    cr.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(4, 5), nn.BatchNorm1d(5, **options[0]), nn.ReLU(),
        nn.Sequential(nn.Linear(5, 5, bias=False), nn.BatchNorm1d(5, **options[1])), nn.Linear(5, 2),
    ).double()  # fmt: skip
    for layer in (model[1], model[3][1]):
        for parameter in layer.parameters():
            parameter.write(np.random.default_rng(1).normal(size=tuple(parameter.shape)))
    for _ in range(3):
        model(cr.tensor(X)).sum().item()
    return model.eval()


def test_folded_networks_give_the_same_outputs() -> None:
    torch = pytest.importorskip("torch")
    model = trained({"eps": 0.1}, {"affine": False})
    folded = utils.fuse_batch_norms(model)
    assert [name for name, _ in folded.named_modules()] == ["", "0", "2", "3", "3.0", "4"]
    x = cr.tensor(X, dtype=cr.float64)
    np.testing.assert_allclose(folded(x).detach().numpy(), model(x).detach().numpy(), rtol=1e-12, atol=1e-12)
    assert not any(name.startswith("1") for name, _ in folded.named_parameters())
    layers = [torch.nn.Linear(4, 5).double().eval(), torch.nn.BatchNorm1d(5, eps=0.1).double().eval()]
    layers[0].load_state_dict({key: torch.tensor(np.array(value)) for key, value in model[0].state_dict().items()})
    layers[1].load_state_dict({key: torch.tensor(np.array(value)) for key, value in model[1].state_dict().items()})
    theirs = torch.nn.utils.fusion.fuse_linear_bn_eval(*layers)
    ours = utils.fuse_linear_bn_eval(model[0], model[1])
    np.testing.assert_allclose(ours.weight.detach().numpy(), theirs.weight.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(ours.bias.detach().numpy(), theirs.bias.detach().numpy(), rtol=1e-12)


def test_folded_convolutions_give_the_same_outputs() -> None:
    cr.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 1, groups=2), nn.BatchNorm2d(6)
    ).double()
    x = cr.randn(5, 3, 6, 7, dtype=cr.float64)
    for _ in range(3):
        model(x * 2 + 1)  # running statistics
    model.eval()
    folded = utils.fuse_batch_norms(model)
    assert [type(layer).__name__ for layer in folded] == ["Conv2d", "ReLU", "Conv2d"]
    np.testing.assert_allclose(folded(x).detach().numpy(), model(x).detach().numpy(), rtol=1e-10, atol=1e-12)

    torch = pytest.importorskip("torch")
    mine = nn.ConvTranspose2d(2, 3, 2).eval(), nn.BatchNorm2d(3).eval()
    theirs = torch.nn.ConvTranspose2d(2, 3, 2).eval(), torch.nn.BatchNorm2d(3).eval()
    mine[1].running_mean.copy_(cr.tensor([1.0, -1.0, 0.5]))
    for ours, other in zip(mine, theirs, strict=True):
        other.load_state_dict({name: torch.tensor(np.array(value)) for name, value in ours.state_dict().items()})
    found = utils.fuse_conv_bn_eval(*mine, transpose=True)
    expected = torch.nn.utils.fusion.fuse_conv_bn_eval(*theirs, transpose=True)
    np.testing.assert_allclose(found.weight.detach().numpy(), expected.weight.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(found.bias.detach().numpy(), expected.bias.detach().numpy(), rtol=1e-6)
    with pytest.raises(cr.errors.ArgumentError, match="2 groups cannot be fused"):
        utils.fuse_conv_bn_eval(nn.ConvTranspose2d(2, 4, 2, groups=2).eval(), nn.BatchNorm2d(4).eval(), transpose=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: utils.fuse_linear_bn_eval(nn.Linear(2, 3), nn.BatchNorm1d(3)), "Fusion only for eval"),
        (lambda: utils.fuse_linear_bn_eval(nn.Linear(2, 3).eval(), nn.BatchNorm1d(4).eval()), "num_features=4"),
        (
            lambda: utils.fuse_linear_bn_eval(
                nn.Linear(2, 3).eval(), nn.BatchNorm1d(3, track_running_stats=False).eval()
            ),
            "must not be None",
        ),
        (lambda: utils.update_bn([], nn.Sequential(nn.BatchNorm1d(3))), "no batches"),
    ],
)
def test_what_cannot_be_folded_or_estimated(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.parametrize("as_pairs", [True, False])
def test_statistics_over_all_batches_equal_pytorch(as_pairs: bool) -> None:
    torch = pytest.importorskip("torch")
    ours = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3), nn.BatchNorm1d(3, momentum=0.7)).double()
    theirs = torch.nn.Sequential(torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)).double()
    theirs.load_state_dict({key: torch.tensor(np.array(value)) for key, value in ours.state_dict().items()})
    ours.eval()
    ours[0].train()
    batches = [X[start : start + 20].astype(float) for start in (0, 20, 40)]
    utils.update_bn([(cr.tensor(batch), 1) if as_pairs else cr.tensor(batch) for batch in batches], ours)
    torch.optim.swa_utils.update_bn([torch.tensor(batch) for batch in batches], theirs)
    for (name, mine), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=1e-12, atol=1e-14, err_msg=name)
    assert (ours[2].momentum, ours.training, ours[0].training) == (0.7, False, True)


def test_statistics_over_the_rows_of_an_array() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4))
    utils.update_bn(X, model, batch_size=59)
    halves = X[:30].astype(float), X[30:].astype(float)
    np.testing.assert_allclose(model[0].running_mean.numpy(), X.mean(0), rtol=1e-5)
    expected = np.mean([half.var(0, ddof=1) for half in halves], 0)
    np.testing.assert_allclose(model[0].running_var.numpy(), expected, rtol=1e-5)
    utils.update_bn(X, nn.Linear(4, 2))
