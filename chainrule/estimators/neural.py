"""`NeuralClassifier` and `NeuralRegressor`: any network of chainrule's as an estimator."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from .. import nn
from ..errors import ArgumentError, type_in_words
from ..nn.regularizers import weights
from ..tensor.generator import get_rng_state, manual_seed, set_rng_state
from ..training.names import find_loss
from ..types import float32
from .arguments import keep_arguments
from .base import NetworkEstimator
from .learner import Array, Learner
from .objective import regression_loss
from .solvers import find_solver
from .tasks import NetworkClassifier, NetworkRegressor

PREFIX = "module__"


class Wrapped(NetworkEstimator):
    """What both share: a network that the user made, or that is made when the data are known."""

    allow_nd = True
    learning_rate, power_t, nesterovs_momentum = "constant", 0.5, True
    beta_1, beta_2, epsilon, max_fun = 0.9, 0.999, 1e-8, 15000
    module: Any
    _options: tuple[str, ...] = ()

    # Arguments of the module, named module__... as in nested estimators -----------------------------------------------

    def _keep_arguments(self, arguments: dict[str, Any]) -> None:
        options = arguments.pop("options")
        keep_arguments(self, arguments | options)
        if options:
            self._options = tuple(options)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All arguments; those of the module as ``module__name``."""
        return {**super().get_params(deep=False), **{name: getattr(self, name) for name in self._options}}

    def set_params(self, **params: Any) -> Self:
        """Set arguments; those of the module as ``module__name``."""
        nested = {name: value for name, value in params.items() if name.startswith(PREFIX) or name in self._options}
        super().set_params(**{name: value for name, value in params.items() if name not in nested})
        keep_arguments(self, nested)
        new = tuple(name for name in nested if name not in self._options)
        if new:
            self._options += new
        return self

    # The network ------------------------------------------------------------------------------------------------------

    def _start(self, X: Array, y: Array, random: np.random.RandomState) -> None:
        """Make the network; where it is made here, its weights follow from ``random_state``."""
        before = get_rng_state()
        manual_seed(int(random.randint(np.iinfo(np.int32).max)))
        try:
            self.module_ = self._make_module(X)
        finally:
            set_rng_state(before)
        self._kept: Learner | None = None

    def _make_module(self, X: Array) -> nn.Module:
        for name in self._options:
            if not name.startswith(PREFIX):
                raise ArgumentError(f"{type(self).__name__} has no argument {name!r}; the module's begin with {PREFIX}")
        options = {name.removeprefix(PREFIX): getattr(self, name) for name in self._options}
        if isinstance(self.module, nn.Module):
            if options:
                raise ArgumentError(
                    f"the module is made already, so {PREFIX}{next(iter(options))} comes too late. "
                    "fix: pass its class, or a function that makes it"
                )
            return copy.deepcopy(self.module)
        if not callable(self.module):
            raise ArgumentError(f"module must be a network or make one, got {self.module!r}")
        known = inspect.signature(self.module).parameters
        found = {"n_features": X.shape[1], "n_outputs": self.n_outputs_}
        made = self.module(**{name: value for name, value in found.items() if name in known} | options)
        if not isinstance(made, nn.Module):
            raise ArgumentError(f"module made {type_in_words(made)}, expected an nn.Module")
        return made

    @contextmanager
    def _learner(self) -> Iterator[Learner]:
        """The learner of this very network: what its ``forward`` records is nobody else's business."""
        if self._kept is None:
            _, make_optimizer = find_solver(self)
            dtype = next((parameter.dtype for parameter in self.module_.parameters()), float32)
            penalised = [weight for _, weight in weights(self.module_)]
            self._kept = Learner(self.module_, self._loss, make_optimizer, penalised, self.n_outputs_, dtype)
        with self._kept.lock:  # one thread at a time
            yield self._kept

    def _keep_weights(self, learner: Learner) -> None:
        self.module_.eval()  # it has them already

    def __getstate__(self) -> dict[str, Any]:
        """Programs are no part of a pickle or copy: they are made again when they are needed."""
        state: dict[str, Any] = super().__getstate__()
        return {**state, "_kept": None} if "_kept" in state else state


class NeuralClassifier(NetworkClassifier, Wrapped):
    """Any network as a classifier of scikit-learn.

    - ``module``: an `nn.Module`, of which every fit trains a copy; or a class or function that makes one, whose
      arguments ``n_features`` and ``n_outputs`` are filled in if it has them; others are passed as ``module__name``.
    - ``loss``: ``"log_loss"`` wants logits: one output for two classes, otherwise one for each, or for each label. With
      a loss for class numbers (``"cross_entropy"``, ``"nll"``) there is an output for each of two classes too.
    - ``solver``, ``alpha`` (here 0), ``batch_size``, ``early_stopping`` and the others: see `MLPClassifier`.

    After ``fit``, ``module_`` is the trained network.
    Errors: `ValueError` for unusable data or arguments, `NonFiniteError` if the loss stops being finite.

    >>> from sklearn.datasets import make_moons
    >>> from chainrule import nn
    >>> def network(n_features, n_outputs, width=16):
    ...     return nn.Sequential(nn.Linear(n_features, width), nn.GELU(), nn.Linear(width, n_outputs))
    >>> X, y = make_moons(200, noise=0.1, random_state=0)
    >>> model = NeuralClassifier(network, module__width=32, learning_rate_init=0.01, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95, model.module_[0].weight.shape
    (True, Size([32, 2]))
    """

    def __init__(
        self,
        module: Any,
        *,
        loss: Any = "log_loss",
        solver: Any = "adam",
        alpha: float = 0.0,
        batch_size: int | str = "auto",
        learning_rate_init: float = 0.001,
        momentum: float = 0.9,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: float = 10,
        class_weight: Any = None,
        scoring: Any = None,
        **options: Any,
    ) -> None:
        self._keep_arguments(locals())

    def _find_loss(self) -> Any:
        return super()._find_loss() if self.loss == "log_loss" else find_loss(self.loss)


class NeuralRegressor(NetworkRegressor, Wrapped):
    """Any network as a regressor of scikit-learn; ``loss`` as in `MLPRegressor`, the rest as in `NeuralClassifier`.

    >>> import numpy as np
    >>> from chainrule import nn
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> def network(n_outputs):
    ...     return nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, n_outputs))
    >>> model = NeuralRegressor(network, batch_size=20, learning_rate_init=0.02, random_state=0)
    >>> model.fit(X, np.sin(3 * X[:, 0])).score(X, np.sin(3 * X[:, 0])) > 0.95
    True
    """

    def __init__(
        self,
        module: Any,
        *,
        loss: Any = "squared_error",
        solver: Any = "adam",
        alpha: float = 0.0,
        batch_size: int | str = "auto",
        learning_rate_init: float = 0.001,
        momentum: float = 0.9,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: float = 10,
        scoring: Any = None,
        **options: Any,
    ) -> None:
        self._keep_arguments(locals())

    def _find_loss(self) -> Any:
        return regression_loss(self.loss)
