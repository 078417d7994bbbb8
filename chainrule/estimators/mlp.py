"""`MLPClassifier` and `MLPRegressor`: scikit-learn's multi-layer perceptrons, and what was always missing there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from .. import nn
from ..errors import ArgumentError
from ..types import as_dtype
from .arguments import keep_arguments
from .base import NetworkEstimator
from .categories import as_frame, make_encoder
from .learner import Array, borrowed
from .network import PerceptronLearner, draw_weights, make_network
from .objective import PoissonDeviance, key_of, regression_loss
from .solvers import find_solver
from .tasks import NetworkClassifier, NetworkRegressor


class Perceptron(NetworkEstimator):
    """What both share: a network by its sizes, whose weights are NumPy arrays that anyone may read and change."""

    hidden_layer_sizes: Any
    activation: Any
    dropout: float
    batch_norm: bool
    categorical_features: Any
    _others: list[Array] | None

    def _hidden_sizes(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        hidden = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if not all(isinstance(size, int | np.integer) and size > 0 for size in hidden):
            raise ArgumentError(f"hidden_layer_sizes must be whole numbers above 0, got {sizes!r}")
        return hidden

    def _encode(self, X: Any, first: bool) -> Any:
        if self.categorical_features is None:
            return X
        X = as_frame(X)
        validate_data(self, X, skip_check_array=True, reset=first)
        if first:
            self._encoder = make_encoder(self.categorical_features).fit(X)
        return self._encoder.transform(X)

    def _start(self, X: Array, y: Array, random: np.random.RandomState) -> None:
        self._layer_sizes = (X.shape[1], *self._hidden_sizes(), self.n_outputs_)
        self.n_layers_ = len(self._layer_sizes)
        self.coefs_, self.intercepts_ = draw_weights(self._layer_sizes, self.activation, random, X.dtype)
        self._others = None

    @contextmanager
    def _learner(self) -> Iterator[Any]:
        """A learner for networks of this structure, whoever used it before."""
        solver, make_optimizer = find_solver(self)
        dtype = self.coefs_[0].dtype
        activation = self.activation if isinstance(self.activation, str) else key_of(self.activation)
        structure = self._layer_sizes, activation, float(self.dropout), bool(self.batch_norm)
        key = structure, key_of(self._loss), solver, dtype
        learner: Any
        with borrowed(key, lambda: self._make(make_optimizer)) as learner:
            learner.show(self.coefs_, self.intercepts_, self._others)
            yield learner

    def _make(self, make_optimizer: Any) -> PerceptronLearner:
        network = make_network(self._layer_sizes, self.activation, self.dropout, self.batch_norm)
        dtype = as_dtype(self.coefs_[0].dtype)
        return PerceptronLearner(network.to(dtype=dtype), self._loss, make_optimizer, dtype)

    def _keep_weights(self, learner: Any) -> None:
        self.coefs_, self.intercepts_, self._others = learner.shown()


class MLPClassifier(NetworkClassifier, Perceptron):
    """A multi-layer perceptron for classes: scikit-learn's `MLPClassifier
    <https://scikit-learn.org/stable/modules/generated/sklearn.neural_network.MLPClassifier.html>`_, compiled.

    All arguments of scikit-learn's mean the same, and one ``random_state`` gives the same weights up to rounding:
    cross-entropy plus alpha / (2 n) · Σ w² is minimised over batches of n rows. Beyond them:

    - ``activation``: any of `chainrule.nn` by name (``"gelu"``, ``"leaky_relu"``), or a layer such as ``nn.ELU(0.5)``.
    - ``solver``: any optimiser by name (``"adamw"``, ``"rmsprop"``, ``"lion"`` ...), or a function of the parameters,
      whose rate is its own.
    - ``dropout``: the share of each hidden layer that is dropped. ``batch_norm``: normalise before each activation.
    - ``class_weight``: ``{class: weight}`` or ``"balanced"``. ``scoring``: what early stopping watches, a name or
      function of scikit-learn's; accuracy by default. ``fit`` takes ``sample_weight`` and ``validation_data``.
    - ``categorical_features``: columns to encode, a list or ``"from_dtype"``.

    Fitted attributes are scikit-learn's: ``classes_``, ``coefs_``, ``intercepts_``, ``loss_curve_``, ``n_iter_`` ...
    Computes in float32 if X is that, else in float64.
    Errors: `ValueError` for unusable data or arguments, `NonFiniteError` if the loss stops being finite.

    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(200, noise=0.1, random_state=0)
    >>> model = MLPClassifier((16,), batch_size=20, max_iter=100, learning_rate_init=0.02, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95, [coef.shape for coef in model.coefs_]
    (True, [(2, 16), (16, 1)])
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float = 0.0,
        batch_norm: bool = False,
        class_weight: Any = None,
        scoring: Any = None,
        categorical_features: Any = None,
    ) -> None:
        keep_arguments(self, locals())


class MLPRegressor(NetworkRegressor, Perceptron):
    """A multi-layer perceptron for numbers: scikit-learn's `MLPRegressor
    <https://scikit-learn.org/stable/modules/generated/sklearn.neural_network.MLPRegressor.html>`_, compiled.

    As `MLPClassifier`; early stopping watches R² by default. ``loss``: ``"squared_error"`` (½ ε²), ``"poisson"``,
    ``"absolute_error"``, ``"huber"``, ``"quantile"`` (the median), a name of `chainrule.training.names`, or a loss
    such as ``nn.QuantileLoss(0.9)``.

    >>> import numpy as np
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> model = MLPRegressor(hidden_layer_sizes=(32,), activation="tanh", solver="lbfgs", random_state=0)
    >>> model.fit(X, np.sin(3 * X[:, 0])).score(X, np.sin(3 * X[:, 0])) > 0.99
    True
    """

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float = 0.0,
        batch_norm: bool = False,
        scoring: Any = None,
        categorical_features: Any = None,
    ) -> None:
        keep_arguments(self, locals())

    def _find_loss(self) -> Any:
        loss = regression_loss(self.loss)
        is_log = isinstance(loss, PoissonDeviance) or (isinstance(loss, nn.PoissonNLLLoss) and loss.log_input)
        self.out_activation_ = "exp" if is_log else "identity"
        return loss
