"""Any network as an estimator: the same training as the perceptron of the same layers."""

import pickle
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn

pytest.importorskip("sklearn")
from sklearn.base import clone
from sklearn.datasets import make_moons
from sklearn.model_selection import GridSearchCV

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, y = make_moons(150, noise=0.2, random_state=0)
THREE = np.where(X[:, 1] > 0.7, "top", np.where(y == 1, "right", "left"))
SMALL: dict[str, Any] = {"batch_size": 50, "max_iter": 5, "random_state": 0}


def network(n_features: int, n_outputs: int, width: int = 6) -> nn.Module:
    return nn.Sequential(nn.Linear(n_features, width), nn.Tanh(), nn.Linear(width, n_outputs)).double()


def from_perceptron(model: Any) -> nn.Module:
    """The network of a perceptron that starts: its weights before the first epoch."""
    sizes = model.coefs_[0].shape[0], model.coefs_[-1].shape[1]
    made = network(*sizes)
    random = np.random.RandomState(0)
    for layer in (made[0], made[2]):
        outputs, inputs = layer.weight.shape
        bound = np.sqrt(6 / (inputs + outputs))
        layer.weight.detach()._array()[...] = random.uniform(-bound, bound, (inputs, outputs)).T
        layer.bias.detach()._array()[...] = random.uniform(-bound, bound, outputs)
    return made


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("Classifier", y),
        ("Classifier", THREE),
        ("Classifier", np.c_[y, 1 - y, X[:, 0] > 0].astype(int)),
        ("Regressor", X[:, 0] * X[:, 1]),
        ("Regressor", X[:, ::-1] ** 2),
    ],
    ids=["two", "three", "labels", "number", "numbers"],
)
def test_the_same_network_is_trained_the_same_way(kind: str, target: np.ndarray) -> None:
    """Rows in their own order, as the random state has other things to decide in each."""
    options = {**SMALL, "shuffle": False, "alpha": 0.1}
    perceptron = getattr(cr, f"MLP{kind}")(hidden_layer_sizes=(6,), activation="tanh", **options).fit(X, target)
    given = from_perceptron(perceptron)
    before = given[0].weight.detach().numpy().copy()
    model = getattr(cr, f"Neural{kind}")(given, **options).fit(X, target)
    np.testing.assert_array_equal(given[0].weight.detach().numpy(), before)
    np.testing.assert_allclose(model.module_[0].weight.detach().numpy().T, perceptron.coefs_[0], rtol=1e-10)
    np.testing.assert_allclose(model.loss_curve_, perceptron.loss_curve_, rtol=1e-10)
    np.testing.assert_array_equal(model.predict(X) == target, perceptron.predict(X) == target)
    if kind == "Classifier":
        np.testing.assert_allclose(model.predict_proba(X), perceptron.predict_proba(X), rtol=1e-9)


def test_two_outputs_for_two_classes() -> None:
    """As PyTorch's users write it: logits for both classes, and cross-entropy of class numbers."""
    labels = np.where(y == 1, "b", "a")
    model = cr.NeuralClassifier(network, loss="cross_entropy", learning_rate_init=0.1, max_iter=60, random_state=0)
    probabilities = model.fit(X, labels).predict_proba(X)
    logits = model.module_(cr.tensor(X)).detach().numpy()
    np.testing.assert_allclose(probabilities, np.exp(logits) / np.exp(logits).sum(1, keepdims=True), rtol=1e-9)
    np.testing.assert_array_equal(model.predict(X), np.array(["a", "b"])[logits.argmax(1)])
    assert model.score(X, labels) > 0.85


def test_margins() -> None:
    model = cr.NeuralClassifier(network, loss="hinge", learning_rate_init=0.1, max_iter=60, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), model.module_(cr.tensor(X)).detach().numpy()[:, 0] > 0)
    assert model.score(X, y) > 0.85


def test_images_and_a_forward_of_the_users() -> None:
    class Images(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.linear = nn.Conv2d(1, 4, 3), nn.Linear(4, 1)

        def forward(self, x: Any) -> Any:
            return self.linear(self.convolution(x).relu().amax((2, 3)))

    images = np.random.default_rng(0).normal(size=(80, 1, 6, 6)).astype(np.float32)
    crosses = np.arange(80) % 2
    images[crosses == 1, 0, 2:5, 3] += 3
    model = cr.NeuralClassifier(Images, learning_rate_init=0.03, max_iter=60, random_state=0).fit(images, crosses)
    assert model.score(images, crosses) > 0.9
    with pytest.raises(ValueError, match="conv2d"):
        model.predict(images[:, :, :2, :2])


def test_arguments_of_the_module_are_searched() -> None:
    model = cr.NeuralClassifier(network, module__width=3, **SMALL)
    assert clone(model).get_params()["module__width"] == 3
    found = GridSearchCV(model, {"module__width": [2, 8], "alpha": [0.0, 1.0]}, cv=2).fit(X, y)
    assert found.best_estimator_.module_[0].out_features == found.best_params_["module__width"]
    with pytest.raises(ValueError, match="the module's begin with module__"):
        cr.NeuralClassifier(network, width=3).fit(X, y)
    with pytest.raises(ValueError, match="comes too late"):
        cr.NeuralClassifier(network(2, 1), module__width=3).fit(X, y)


def test_repeats_goes_on_and_is_pickled() -> None:
    first, second = (cr.NeuralClassifier(network, **SMALL).fit(X, THREE) for _ in range(2))
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    first.partial_fit(X, THREE)
    again = pickle.loads(pickle.dumps(second)).partial_fit(X, THREE)
    np.testing.assert_array_equal(first.predict_proba(X), again.predict_proba(X))
    assert not np.array_equal(first.predict_proba(X), second.predict_proba(X))
