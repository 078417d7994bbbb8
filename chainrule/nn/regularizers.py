"""What keeps a network from fitting its training rows too closely, beside dropout.

A `Regularizer` may add a penalty to the loss of a batch, change the gradients before a step, and constrain the
parameters after it. `Trainer(regularizers=...)` calls it at these places; so does a loop written by hand:

    loss = criterion(model(x), y) + l2.penalty(model, None)
    ...
    optimizer.step()
    max_norm.constrain(model)

Decoupled weight decay belongs to the optimiser: ``AdamW(decay_groups(model, 0.01))``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import numpy as np

from ..errors import ArgumentError, ShapeError, did_you_mean
from ..tensor import operations, reductions
from ..tensor.generator import default_generator
from ..tensor.gradmode import no_grad
from ..tensor.operands import from_array
from ..tensor.random import standard_normal
from ..tensor.recording import make_slot
from .functional.activation import class_dimension
from .functional.loss import softplus
from .module import Module
from .normalization import BatchNorm1d, GroupNorm, InstanceNorm1d, LayerNorm, RMSNorm
from .parameter import Parameter

Choice = Literal["weights", "all"] | Callable[[str, Parameter], bool]
"""Which parameters: the weights, all of them, or those for which a function of the name and the parameter is true."""


class Regularizer:
    """The base class: does nothing. Subclasses override what they need; none of it reads a value."""

    def penalty(self, model: Module, output: Any) -> Any:
        """What is added to the loss of a batch: a scalar tensor, or None. ``output`` is what the model gave for it."""

    def change_gradients(self, model: Module) -> None:
        """Change the gradients of the parameters, after backward and before the optimiser's step."""

    def constrain(self, model: Module) -> None:
        """Change the parameters after the optimiser's step."""

    def state_dict(self) -> dict[str, Any]:
        """What is kept from step to step, in numbers and arrays: checkpoints hold it."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was taken."""


# Parameters -----------------------------------------------------------------------------------------------------------


NORMALIZATIONS = (BatchNorm1d, InstanceNorm1d, LayerNorm, RMSNorm, GroupNorm)


def weights(model: Module) -> Iterator[tuple[str, Parameter]]:
    """The parameters that multiply a layer's inputs, with their names: not biases, not those of normalisations.

    >>> import chainrule as cr
    >>> [name for name, _ in cr.nn.regularizers.weights(cr.nn.Sequential(cr.nn.Linear(2, 3), cr.nn.Linear(3, 1)))]
    ['0.weight', '1.weight']
    """
    scales = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, NORMALIZATIONS)
        for parameter in module.parameters(recurse=False)
    }
    for name, parameter in model.named_parameters():
        is_bias = parameter.dim() < 2 or name.rpartition(".")[2].startswith("bias")
        if not is_bias and id(parameter) not in scales:
            yield name, parameter


def decay_groups(model: Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups for an optimiser: `weights` with ``weight_decay``, all other parameters without.

    >>> import chainrule as cr
    >>> model = cr.nn.Linear(3, 2)
    >>> optimizer = cr.optim.AdamW(cr.nn.regularizers.decay_groups(model, 0.01))
    >>> [(len(group["params"]), group["weight_decay"]) for group in optimizer.param_groups]
    [(1, 0.01), (1, 0)]
    """
    decayed = [parameter for _, parameter in weights(model)]
    chosen = set(map(id, decayed))
    others = [parameter for parameter in model.parameters() if id(parameter) not in chosen]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0}]
    return [group for group in groups if group["params"]]


def _chosen(model: Module, choice: Choice) -> list[Parameter]:
    if choice == "weights":
        return [parameter for _, parameter in weights(model)]
    return [p for name, p in model.named_parameters() if not callable(choice) or choice(name, p)]


def _check_choice(choice: Choice) -> Choice:
    if choice not in ("weights", "all") and not callable(choice):
        raise ArgumentError(
            f"parameters must be 'weights', 'all' or a function of (name, parameter), got {choice!r}"
            f"{did_you_mean(str(choice), ('weights', 'all'))}"
        )
    return choice


def _check_strength(name: str, value: float) -> float:
    if not value >= 0:
        raise ArgumentError(f"{name} must be at least 0, got {value}")
    return float(value)


class ElasticNet(Regularizer):
    """λ₁ Σ|w| + λ₂ Σw² over the weights: ``l1`` drives weights to 0 exactly, ``l2`` keeps all of them small.

    ``parameters``: ``"weights"`` (neither biases nor normalisations), ``"all"``, or a function of (name, parameter).
    Errors: `ArgumentError` for a negative strength. Source: Zou, Hastie 2005.

    >>> import chainrule as cr
    >>> model = cr.nn.Linear(2, 1)
    >>> _ = cr.nn.init.constant_(model.weight, -2.0)
    >>> cr.nn.regularizers.ElasticNet(l1=1.0, l2=0.5).penalty(model, None).item()
    8.0
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0, parameters: Choice = "weights") -> None:
        self.l1 = _check_strength("l1", l1)
        self.l2 = _check_strength("l2", l2)
        self.parameters = _check_choice(parameters)

    def penalty(self, model: Module, output: Any) -> Any:
        return _sizes(_chosen(model, self.parameters), self.l1, self.l2)


class L1(ElasticNet):
    """λ Σ|w| over the weights; its gradient λ·sign(w) drives weights to 0. Source: Tibshirani 1996.

    >>> import chainrule as cr
    >>> cr.nn.regularizers.L1(0.01).l1
    0.01
    """

    def __init__(self, strength: float, parameters: Choice = "weights") -> None:
        super().__init__(l1=strength, parameters=parameters)


class L2(ElasticNet):
    """λ Σw² over the weights. Its gradient is 2λw: an optimiser's ``weight_decay=2 * λ`` adds the same.

    >>> import chainrule as cr
    >>> cr.nn.regularizers.L2(0.01).l2
    0.01
    """

    def __init__(self, strength: float, parameters: Choice = "weights") -> None:
        super().__init__(l2=strength, parameters=parameters)


def _sizes(tensors: Iterable[Any], l1: float, l2: float) -> Any:
    """λ₁ Σ|x| + λ₂ Σx² over all elements of all tensors; None without any."""
    total = None
    for x in tensors:
        for strength, sizes in ((l1, operations.abs), (l2, operations.square)):
            if strength:
                term = operations.mul(reductions.sum(sizes(x)), strength)
                total = term if total is None else operations.add(total, term)
    return total


class MaxNorm(Regularizer):
    """After every step, the incoming weights of a unit are scaled down to the norm c where theirs is larger.

    w_j := w_j · min(1, c / ‖w_j‖), where j runs over the first dimension of a weight.
    Errors: `ArgumentError` for c ≤ 0. Source: Srebro, Shraibman 2005; with dropout: Srivastava et al. 2014.

    >>> import chainrule as cr
    >>> model = cr.nn.Linear(2, 1)
    >>> with cr.no_grad(): _ = model.weight.copy_(cr.tensor([[3.0, 4.0]]))
    >>> cr.nn.regularizers.MaxNorm(2.5).constrain(model)
    >>> model.weight.detach()
    tensor([[1.5000, 2.0000]])
    """

    def __init__(self, max_norm: float = 3.0, parameters: Choice = "weights") -> None:
        if not max_norm > 0:
            raise ArgumentError(f"max_norm must be greater than 0, got {max_norm}")
        self.max_norm = float(max_norm)
        self.parameters = _check_choice(parameters)

    def constrain(self, model: Module) -> None:
        with no_grad():
            for parameter in _chosen(model, self.parameters):
                norm = reductions.norm(parameter, 2, tuple(range(1, parameter.dim())) or None, keepdim=True)
                scale = operations.minimum(operations.reverse_divide(norm, self.max_norm), 1.0)
                parameter.copy_(operations.mul(parameter, scale))


# Predictions ----------------------------------------------------------------------------------------------------------

FORMS = ("logits", "binary_logits", "probabilities", "log_probabilities")


def prediction_entropy(output: Any, of: str = "logits") -> Any:
    """H(p̂) = -Σ p̂ log p̂ of every prediction, averaged over the rows.

    ``of`` says what the output is: ``"logits"`` (N, C, ...), ``"probabilities"`` or ``"log_probabilities"`` of
    classes, or ``"binary_logits"``, each of which is a yes or no of its own.
    Errors: `ShapeError` for one class, whose entropy is always 0.

    >>> import chainrule as cr
    >>> round(cr.nn.regularizers.prediction_entropy(cr.zeros(5, 4)).item(), 4)
    1.3863
    """
    if of == "binary_logits":
        losses = operations.sub(softplus(output), operations.mul(output, operations.sigmoid(output)))
        return reductions.mean(losses)
    axis = class_dimension(output)
    if output.shape[axis] == 1:
        raise ShapeError(
            f"the entropy of one class is always 0: got outputs of shape {tuple(output.shape)}. "
            "fix: of='binary_logits' for a network with one output"
        )
    if of == "probabilities":
        logarithms = operations.log(operations.where(operations.eq(output, 0), 1.0, output))
        products = operations.mul(output, logarithms)
    else:
        logarithms = reductions.log_softmax(output, axis) if of == "logits" else output
        probabilities = operations.exp(logarithms)
        finite = operations.where(operations.eq(probabilities, 0), 0.0, logarithms)
        products = operations.mul(probabilities, finite)
    return reductions.mean(operations.neg(reductions.sum(products, axis)))


class EntropyMinimization(Regularizer):
    """Adds +λ H(p̂) to the loss: predictions become sharper. `ConfidencePenalty` has the opposite sign.

    ``of``: what the model's output is, see `prediction_entropy`. Source: Grandvalet, Bengio 2004.

    >>> import chainrule as cr
    >>> round(cr.nn.regularizers.EntropyMinimization(0.5).penalty(cr.nn.Identity(), cr.zeros(3, 2)).item(), 4)
    0.3466
    """

    sign = 1.0

    def __init__(self, strength: float = 0.1, of: str = "logits") -> None:
        if of not in FORMS:
            raise ArgumentError(f"of={of!r} is unknown{did_you_mean(of, FORMS)}; expected one of {', '.join(FORMS)}")
        self.strength = _check_strength("strength", strength)
        self.of = of

    def penalty(self, model: Module, output: Any) -> Any:
        return operations.mul(prediction_entropy(output, self.of), self.sign * self.strength)


class ConfidencePenalty(EntropyMinimization):
    """Adds -λ H(p̂) to the loss: predictions become less sure of themselves. `EntropyMinimization` is the opposite.

    Source: Pereyra et al. 2017.

    >>> import chainrule as cr
    >>> round(cr.nn.regularizers.ConfidencePenalty(0.5).penalty(cr.nn.Identity(), cr.zeros(3, 2)).item(), 4)
    -0.3466
    """

    sign = -1.0


# Activity and gradients -----------------------------------------------------------------------------------------------


class ActivityRegularization(Regularizer):
    """λ₁ Σ|a| + λ₂ Σa² over what the given modules put out, divided by the number of rows: sparse or small activity.

    It listens to the modules from the moment it is made, in training mode only; `remove` ends that.

    >>> import chainrule as cr
    >>> model = cr.nn.Sequential(cr.nn.Identity(), cr.nn.ReLU())
    >>> activity = cr.nn.regularizers.ActivityRegularization(model[1], l1=0.5)
    >>> output = model(cr.tensor([[1.0, -1.0], [2.0, 3.0]]))
    >>> activity.penalty(model, output).item()
    1.5
    """

    def __init__(self, modules: Module | Iterable[Module], l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = _check_strength("l1", l1)
        self.l2 = _check_strength("l2", l2)
        listened = [modules] if isinstance(modules, Module) else list(modules)
        self._heard: list[Any] = []
        self._hooks = [module.register_forward_hook(self._hear) for module in listened]

    def _hear(self, module: Module, inputs: Any, output: Any) -> None:
        if module.training:
            self._heard.append(output)

    def penalty(self, model: Module, output: Any) -> Any:
        heard = list(self._heard)
        self._heard.clear()
        rows = heard[0].shape[0] if heard and heard[0].dim() else 1
        return _sizes(heard, self.l1 / rows, self.l2 / rows)

    def remove(self) -> None:
        """Stop listening."""
        for hook in self._hooks:
            hook.remove()


class GradientNoise(Regularizer):
    """Adds N(0, η / (1 + t)^γ) to every element of every gradient at step t = 0, 1, ... Helps deep networks start.

    The noise follows from the seed. Errors: `ArgumentError` for a negative η or γ. Source: Neelakantan et al. 2015.

    >>> import chainrule as cr
    >>> noise = cr.nn.regularizers.GradientNoise(eta=0.01, gamma=0.55)
    >>> noise.steps
    0
    """

    def __init__(self, eta: float = 0.01, gamma: float = 0.55) -> None:
        self.eta = _check_strength("eta", eta)
        self.gamma = _check_strength("gamma", gamma)
        self._steps = from_array(np.zeros(()))
        make_slot(self._steps)

    @property
    def steps(self) -> int:
        """How many steps have had noise."""
        return int(self._steps.item())

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._steps._array()[...] = state_dict["steps"]

    def change_gradients(self, model: Module) -> None:
        with no_grad():
            variance = operations.mul(operations.pow(operations.add(self._steps, 1), -self.gamma), self.eta)
            deviation = operations.sqrt(variance)
            for parameter in model.parameters():
                if parameter.grad is not None:
                    noise = operations.mul(standard_normal(default_generator, tuple(parameter.shape)), deviation)
                    parameter.grad = operations.add(parameter.grad, operations.convert(noise, parameter.dtype))
            self._steps.add_(1)
