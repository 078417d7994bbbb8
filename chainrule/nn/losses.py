"""Losses as modules: a function of `chainrule.nn.functional` with its options fixed.

A loss says in ``targets`` what it compares the network's output with, and `check_targets` refuses what is nothing of
the kind; `Trainer` prepares and checks its targets by them. Weights must not be negative.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np

from ..errors import ArgumentError
from ..tensor import operations, reductions
from ..tensor.operands import as_tensor
from . import functional
from .functional.checks import DIVERGENCE_REDUCTIONS, check_labels, check_probabilities, check_reduction, check_signs
from .functional.class_margin import check_power
from .functional.distance import check_margin
from .module import Module

Targets = Literal["values", "classes", "label_lists", "probabilities", "signs"]


class Loss(Module):
    """A loss of an input (the network's output) and a target.

    ``targets``: numbers like the output (``"values"``), class indices (``"classes"``), several of them per row and then
    -1 (``"label_lists"``), numbers between 0 and 1 (``"probabilities"``), or -1 and 1 (``"signs"``). ``threshold``:
    above it an output of a network with two classes means the second one; None where that means nothing.
    """

    targets: ClassVar[Targets] = "values"
    threshold: ClassVar[float | None] = None

    def __init__(self, reduction: str = "mean") -> None:
        check_reduction(reduction)
        self.reduction = reduction

    def check_targets(self, target: Any, classes: int) -> None:
        """Refuse stored targets of impossible values, naming the first; ``classes`` is what the network tells apart."""
        if self.targets == "probabilities":
            check_probabilities("target", target)
        elif self.targets == "signs":
            check_signs(type(self).__name__, target)
        elif self.targets == "label_lists":
            check_labels(target, classes, -1)
        elif self.targets == "classes" and not target.dtype.is_floating_point:
            check_labels(target, classes, getattr(self, "ignore_index", None))

    def counted(self, target: Any) -> Any:
        """What ``reduction="mean"`` divides the sum of the losses by; None where that is the same for every row."""
        weight, ignored = getattr(self, "weight", None), getattr(self, "ignore_index", None)
        if ignored is None or target.dtype.is_floating_point:
            return None
        is_counted = operations.ne(target, ignored)
        if weight is None:
            return reductions.sum(is_counted)
        of_targets = functional.embedding(operations.where(is_counted, target, 0), weight.reshape(-1, 1))
        return reductions.sum(operations.where(is_counted, of_targets.squeeze(-1), 0.0))

    def _register_weight(self, name: str, weight: Any) -> None:
        """Keep a weight as a buffer. Errors: `ArgumentError` for a negative one."""
        tensor = None if weight is None else as_tensor(weight)
        if tensor is not None:
            values = np.asarray(tensor.detach())
            if (values < 0).any():
                place = tuple(np.argwhere(values < 0)[0])
                raise ArgumentError(
                    f"{type(self).__name__}: weights must not be negative, got {values[place]:g} at index "
                    f"{', '.join(map(str, place)) or 0} of {name}"
                )
        self.register_buffer(name, tensor)


# Regression -----------------------------------------------------------------------------------------------------------


class MSELoss(Loss):
    """(input - target)²; see `functional.mse_loss`."""

    def forward(self, input: Any, target: Any) -> Any:
        return functional.mse_loss(input, target, self.reduction)


class HalfMSELoss(Loss):
    """½ (input - target)²; see `functional.half_mse_loss`."""

    def forward(self, input: Any, target: Any) -> Any:
        return functional.half_mse_loss(input, target, self.reduction)


class L1Loss(Loss):
    """|input - target|; see `functional.l1_loss`."""

    def forward(self, input: Any, target: Any) -> Any:
        return functional.l1_loss(input, target, self.reduction)


class HuberLoss(Loss):
    """Squares for errors up to ``delta``, absolute values beyond; see `functional.huber_loss`."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def forward(self, input: Any, target: Any) -> Any:
        return functional.huber_loss(input, target, self.reduction, self.delta)


class SmoothL1Loss(Loss):
    """`HuberLoss` divided by its delta, here ``beta``; see `functional.smooth_l1_loss`."""

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input: Any, target: Any) -> Any:
        return functional.smooth_l1_loss(input, target, self.reduction, self.beta)


class EpsilonInsensitiveLoss(Loss):
    """What |input - target| exceeds ``epsilon`` by; see `functional.epsilon_insensitive_loss`."""

    def __init__(self, epsilon: float = 0.1, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.epsilon = epsilon

    def forward(self, input: Any, target: Any) -> Any:
        return functional.epsilon_insensitive_loss(input, target, self.epsilon, self.reduction)


class QuantileLoss(Loss):
    """The pinball loss, least at the ``quantile`` of the targets; see `functional.quantile_loss`."""

    def __init__(self, quantile: float = 0.5, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.quantile = quantile

    def forward(self, input: Any, target: Any) -> Any:
        return functional.quantile_loss(input, target, self.quantile, self.reduction)


class PoissonNLLLoss(Loss):
    """Negative log-likelihood of counts; see `functional.poisson_nll_loss`."""

    def __init__(self, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, input: Any, target: Any) -> Any:
        return functional.poisson_nll_loss(input, target, self.log_input, self.full, self.eps, self.reduction)


class GaussianNLLLoss(Loss):
    """Negative log-likelihood of a normal distribution with predicted variance; see `functional.gaussian_nll_loss`."""

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.full = full
        self.eps = eps

    def forward(self, input: Any, target: Any, var: Any) -> Any:
        return functional.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


# Two classes ----------------------------------------------------------------------------------------------------------


class BCELoss(Loss):
    """Binary cross-entropy of probabilities; see `functional.binary_cross_entropy`."""

    targets = "probabilities"
    threshold = 0.5
    weight: Any

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._register_weight("weight", weight)

    def forward(self, input: Any, target: Any) -> Any:
        return functional.binary_cross_entropy(input, target, self.weight, self.reduction)


class BCEWithLogitsLoss(Loss):
    """Binary cross-entropy of logits; see `functional.binary_cross_entropy_with_logits`."""

    targets = "probabilities"
    threshold = 0.0
    weight: Any
    pos_weight: Any

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction)
        self._register_weight("weight", weight)
        self._register_weight("pos_weight", pos_weight)

    def forward(self, input: Any, target: Any) -> Any:
        return functional.binary_cross_entropy_with_logits(input, target, self.weight, self.reduction, self.pos_weight)


class SoftMarginLoss(Loss):
    """The logistic loss of targets -1 and 1; see `functional.soft_margin_loss`."""

    targets = "signs"
    threshold = 0.0

    def forward(self, input: Any, target: Any) -> Any:
        return functional.soft_margin_loss(input, target, self.reduction)


class HingeLoss(Loss):
    """(1 - M)₊ of margins M = target · input; see `functional.hinge_loss`."""

    targets = "signs"
    threshold = 0.0

    def forward(self, input: Any, target: Any) -> Any:
        return functional.hinge_loss(input, target, self.reduction)


class SquaredHingeLoss(Loss):
    """(1 - M)₊² of margins M = target · input; see `functional.squared_hinge_loss`."""

    targets = "signs"
    threshold = 0.0

    def forward(self, input: Any, target: Any) -> Any:
        return functional.squared_hinge_loss(input, target, self.reduction)


class ExponentialLoss(Loss):
    """e^-M of margins M = target · input; see `functional.exponential_loss`."""

    targets = "signs"
    threshold = 0.0

    def forward(self, input: Any, target: Any) -> Any:
        return functional.exponential_loss(input, target, self.reduction)


class PerceptronLoss(Loss):
    """(-M)₊ of margins M = target · input; see `functional.perceptron_loss`."""

    targets = "signs"
    threshold = 0.0

    def forward(self, input: Any, target: Any) -> Any:
        return functional.perceptron_loss(input, target, self.reduction)


# Many classes ---------------------------------------------------------------------------------------------------------


class CrossEntropyLoss(Loss):
    """Cross-entropy of logits with class indices or probabilities; see `functional.cross_entropy`."""

    targets = "classes"
    weight: Any

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> None:
        super().__init__(reduction)
        if not 0 <= label_smoothing <= 1:
            raise ArgumentError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
        self._register_weight("weight", weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Any, target: Any) -> Any:
        return functional.cross_entropy(
            input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )


class NLLLoss(Loss):
    """Negative log-likelihood of log-probabilities; see `functional.nll_loss`."""

    targets = "classes"
    weight: Any

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._register_weight("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Any, target: Any) -> Any:
        return functional.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class KLDivLoss(Loss):
    """The Kullback-Leibler divergence of log-probabilities from a distribution; see `functional.kl_div`."""

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        check_reduction(reduction, DIVERGENCE_REDUCTIONS)
        self.reduction = reduction
        self.log_target = log_target

    def forward(self, input: Any, target: Any) -> Any:
        return functional.kl_div(input, target, self.reduction, self.log_target)


class MultiMarginLoss(Loss):
    """Every other class should lie ``margin`` below the right one; see `functional.multi_margin_loss`."""

    targets = "classes"
    weight: Any

    def __init__(self, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        check_power(p)
        self.p = p
        self.margin = margin
        self._register_weight("weight", weight)

    def forward(self, input: Any, target: Any) -> Any:
        return functional.multi_margin_loss(input, target, self.p, self.margin, self.weight, self.reduction)


class MultiLabelMarginLoss(Loss):
    """Every class of a row should lie 1 above every other; see `functional.multilabel_margin_loss`."""

    targets = "label_lists"

    def forward(self, input: Any, target: Any) -> Any:
        return functional.multilabel_margin_loss(input, target, self.reduction)


class MultiLabelSoftMarginLoss(Loss):
    """Binary cross-entropy of the logits of every class; see `functional.multilabel_soft_margin_loss`."""

    targets = "probabilities"
    threshold = 0.0
    weight: Any

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._register_weight("weight", weight)

    def forward(self, input: Any, target: Any) -> Any:
        return functional.multilabel_soft_margin_loss(input, target, self.weight, self.reduction)


# Distances and ranks --------------------------------------------------------------------------------------------------


class HingeEmbeddingLoss(Loss):
    """Distances: small where the target is 1, at least ``margin`` where -1; see `functional.hinge_embedding_loss`."""

    targets = "signs"

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input: Any, target: Any) -> Any:
        return functional.hinge_embedding_loss(input, target, self.margin, self.reduction)


class MarginRankingLoss(Loss):
    """The target says which of two numbers should be the larger; see `functional.margin_ranking_loss`."""

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1: Any, input2: Any, target: Any) -> Any:
        return functional.margin_ranking_loss(input1, input2, target, self.margin, self.reduction)


class CosineEmbeddingLoss(Loss):
    """Vectors alike or not, by the angle between them; see `functional.cosine_embedding_loss`."""

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1: Any, input2: Any, target: Any) -> Any:
        return functional.cosine_embedding_loss(input1, input2, target, self.margin, self.reduction)


class TripletMarginLoss(Loss):
    """An anchor nearer to the positive than to the negative; see `functional.triplet_margin_loss`."""

    def __init__(
        self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        check_margin(margin)
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Any:
        return functional.triplet_margin_loss(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap, self.reduction
        )
