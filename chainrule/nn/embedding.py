"""Tables of rows that are looked up by number, as layers."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError, ShapeError
from ..tensor.generator import default_generator
from ..tensor.operands import as_tensor
from ..tensor.tensor import Device
from ..types import as_dtype, float32
from .functional.embedding import check_padding, embedding
from .module import Module
from .parameter import Parameter, empty_parameter


class Embedding(Module):
    """Row i of ``weight`` for every index i of the input.

    Options as in `chainrule.nn.functional.embedding`; the padding row starts at 0. ``weight`` (num_embeddings,
    embedding_dim) starts normal with mean 0 and variance 1, as in PyTorch.
    Shapes: input (...) of integers, result (..., embedding_dim). Errors: `IndexOutOfRangeError`, `DTypeError`.

    >>> import chainrule as cr
    >>> cr.nn.Embedding(10, 3, padding_idx=0)(cr.tensor([[1, 2], [4, 0]])).shape
    Size([2, 2, 3])
    """

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if device is not None:
            Device(device)
        if num_embeddings < 0 or embedding_dim < 0:
            raise ArgumentError(f"Embedding: sizes must not be negative, got {num_embeddings} and {embedding_dim}")
        check_padding(padding_idx, num_embeddings)
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        self.weight = empty_parameter((num_embeddings, embedding_dim), float32 if dtype is None else as_dtype(dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new rows; the padding row becomes 0."""
        values = default_generator.numpy().normal(0.0, 1.0, tuple(self.weight.shape))
        if self.padding_idx is not None:
            values[self.padding_idx] = 0.0
        self.weight.write(values)

    def forward(self, input: Any) -> Any:
        return embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, **options: Any) -> Embedding:
        """A layer with a copy of the rows ``embeddings``, by default not trained; further options as for the class.

        >>> import chainrule as cr
        >>> cr.nn.Embedding.from_pretrained(cr.eye(2))(cr.tensor([1]))
        tensor([[0., 1.]])
        """
        table = as_tensor(embeddings)
        if table.dim() != 2:
            raise ShapeError(f"Embeddings parameter is expected to be 2-dimensional, got shape {tuple(table.shape)}")
        rows, columns = table.shape
        layer = cls(rows, columns, dtype=table.dtype, **options)
        layer.weight.write(table.detach())
        layer.weight.requires_grad_(not freeze)
        return layer

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        defaults = {"padding_idx": None, "max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False}
        shown = [name for name, default in defaults.items() if getattr(self, name) != default]
        text += "".join(f", {name}={getattr(self, name)}" for name in shown)
        return text + (", sparse=True" if self.sparse else "")
