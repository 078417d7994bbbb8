"""The inverse Hessian of a function, as far as the last steps and what they did to its gradient tell it."""

from __future__ import annotations

from typing import Any

import numpy as np

Vector = np.ndarray[Any, np.dtype[np.float64]]


class InverseHessian:
    """The inverse Hessian as the last steps s and gradient changes y tell it: H = γ I + corrections, γ = s·y / y·y.

    In the compact form a product costs two passes over all vectors at once, whatever their number; with P = Sᵀg,
    Q = Yᵀg, u = R⁻¹P: H g = γ g + S R⁻ᵀ((D + γ YᵀY) u - γ Q) - γ Y u, where R is the part of SᵀY in which the step is
    not younger than the change, and D its diagonal.
    Source: Byrd, Nocedal, Schnabel 1994, "Representations of quasi-Newton matrices", theorem 2.2.

    A new pair takes the row of the oldest. The formula holds for rows in any order, and for rows of zeros, which stand
    for pairs that are still to come.
    """

    def __init__(self, size: int, limit: int) -> None:
        self.limit = limit
        self.count = 0  # of pairs taken in
        self.scale = 1.0
        self._pairs = np.empty((2, 0, size))  # steps, then gradient changes
        self._inverse = np.empty((0, 0))  # R⁻¹
        self._products = np.empty((0, 0))  # YᵀY
        self._curvatures = np.empty(0)  # D

    def pairs(self) -> tuple[Vector, Vector]:
        """Steps and gradient changes as rows, oldest first."""
        order = np.arange(max(0, self.count - self.limit), self.count) % self.limit
        return self._pairs[0, order], self._pairs[1, order]

    def append(self, step: Vector, change: Vector) -> None:
        """Take in a pair with positive curvature, in place of the oldest if there are enough."""
        row = self.count % self.limit
        if row == len(self._curvatures):
            self._grow(min(max(4, row), self.limit - row))
        self.count += 1
        self._pairs[0, row], self._pairs[1, row] = step, change
        of_steps, of_changes = self._times(change)
        curvature = of_steps[row]
        inverse = self._inverse
        inverse[row] = inverse[:, row] = 0.0
        inverse[:, row] = inverse.dot(of_steps) / -curvature
        inverse[row, row] = 1 / curvature
        self._products[row] = self._products[:, row] = of_changes
        self._curvatures[row] = curvature
        self.scale = float(curvature / of_changes[row])

    def __matmul__(self, vector: Vector) -> Vector:
        if not self.count:
            return self.scale * vector
        scale, inverse = self.scale, self._inverse
        of_steps, of_changes = self._times(vector)
        u = inverse.dot(of_steps)
        inner = self._curvatures * u + scale * (self._products.dot(u) - of_changes)
        factors = np.concatenate([inner.dot(inverse), -scale * u])
        result: Vector = factors.dot(self._rows)
        result += scale * vector
        return result

    def _times(self, vector: Vector) -> Vector:
        """The products of all steps, and of all gradient changes, with a vector."""
        result: Vector = self._rows.dot(vector).reshape(2, -1)
        return result

    @property
    def _rows(self) -> Vector:
        return self._pairs.reshape(-1, self._pairs.shape[2])

    def _grow(self, more: int) -> None:
        self._pairs = np.concatenate([self._pairs, np.zeros((2, more, self._pairs.shape[2]))], axis=1)
        self._inverse, self._products = (np.pad(each, (0, more)) for each in (self._inverse, self._products))
        self._curvatures = np.pad(self._curvatures, (0, more))
