"""The solver "lbfgs": SciPy's L-BFGS-B over the loss and gradient of all rows, which one native call computes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .learner import Array, Learner, Rows


def run_lbfgs(estimator: Any, learner: Learner, rows: Rows) -> None:
    """Minimise over all parameters, in the order in which scikit-learn packs them: weights, then biases.

    Fills ``loss_`` and ``n_iter_``. Source: Byrd, Lu, Nocedal, Zhu 1995.
    """
    from scipy.optimize import minimize

    parameters = sorted(learner.network.parameters(), key=lambda parameter: parameter.dim() < 2)
    learner.set_options(None, estimator.alpha)

    def loss_and_gradient(packed: Array) -> tuple[float, Array]:
        _unpack(packed, parameters)
        loss = rows.train()
        return loss, _pack(learner.gradients(parameters))

    result = minimize(
        loss_and_gradient,
        _pack([parameter._array() for parameter in parameters]),
        method="L-BFGS-B",
        jac=True,
        options={"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol},
    )
    _unpack(result.x, parameters)
    estimator.loss_ = float(result.fun)
    estimator.n_iter_ = min(int(result.nit), estimator.max_iter)
    if result.status != 0:
        warnings.warn(
            f"lbfgs has not converged after {estimator.n_iter_} iterations: {result.message}. "
            "fix: a larger max_iter, or scaled inputs (StandardScaler)",
            ConvergenceWarning,
            stacklevel=4,
        )


def _pack(arrays: list[Array]) -> Array:
    """One vector; weights are transposed, as scikit-learn has them, so that SciPy takes the same way."""
    return np.concatenate([array.T.ravel() for array in arrays]).astype(np.float64)


def _unpack(packed: Array, parameters: list[Any]) -> None:
    start = 0
    for parameter in parameters:
        memory = parameter._array()
        memory[...] = packed[start : start + memory.size].reshape(memory.T.shape).T
        start += memory.size
