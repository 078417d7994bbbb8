"""Convolutions over one, two and three dimensions, and their transposes."""

from __future__ import annotations

from typing import Any

from ...errors import ArgumentError, ShapeError
from ...graph.site import find_site
from ...graph.vertex import Vertex
from ...ops.arithmetic import add
from ...ops.convolution import convolution, spread_size, turned_weights, window_size
from ...ops.movement import reshape
from ...tensor.operands import as_tensor, enter_all, meet
from ...tensor.recording import Handle, pending, type_of
from ...tensor.remembered import remembered
from ...types import Shape
from .linear import converted
from .windows import Sizes, channels_moved, per_axis


def paddings(name: str, padding: Any, window: Shape, strides: Shape, dilation: Shape) -> tuple[Shape, Shape]:
    """The zeros before and behind each dimension; ``"same"`` keeps the sizes, ``"valid"`` adds none."""
    rank = len(strides)
    if not isinstance(padding, str):
        both = per_axis(name, "padding", padding, rank, 0)
        return both, both
    if padding == "valid":
        return (0,) * rank, (0,) * rank
    if padding != "same":
        raise ArgumentError(f"padding must be 'same', 'valid' or numbers, got {padding!r}\n  where: {find_site()}")
    if max(strides, default=1) > 1:
        raise ArgumentError(f"padding='same' is not supported for strided convolutions\n  where: {find_site()}")
    spans = [window_size(size, step) - 1 for size, step in zip(window, dilation, strict=False)]  # checked later
    return tuple(span // 2 for span in spans), tuple(span - span // 2 for span in spans)


def conv1d(
    input: Any, weight: Any, bias: Any = None, stride: Sizes = 1, padding: Any = 0, dilation: Sizes = 1, groups: int = 1
) -> Any:
    """`conv2d` over sequences: input (N, C, L) or (C, L), weight (K, C / groups, R).

    >>> import chainrule as cr
    >>> cr.nn.functional.conv1d(cr.tensor([[[1.0, 2.0, 4.0]]]), cr.tensor([[[1.0, -1.0]]]))
    tensor([[[-1., -2.]]])
    """
    return _convolve(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Any, weight: Any, bias: Any = None, stride: Sizes = 1, padding: Any = 0, dilation: Sizes = 1, groups: int = 1
) -> Any:
    """out[n, k] = bias[k] + Σ_c weight[k, c] ⋆ input[n, c], where ⋆ is the cross-correlation.

    Shapes: input (N, C, H, W) or (C, H, W), weight (K, C / groups, R, S), bias (K); result (N, K, H', W') with
    H' = ⌊(H + 2 padding - dilation (R - 1) - 1) / stride⌋ + 1. ``padding`` is a number, one per dimension, ``"valid"``
    or ``"same"``. Errors: `ShapeError`, `DTypeError`, `ArgumentError`.

    >>> import chainrule as cr
    >>> cr.nn.functional.conv2d(cr.ones(1, 1, 3, 3), cr.ones(1, 1, 2, 2))
    tensor([[[[4., 4.],
              [4., 4.]]]])
    """
    return _convolve(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Any, weight: Any, bias: Any = None, stride: Sizes = 1, padding: Any = 0, dilation: Sizes = 1, groups: int = 1
) -> Any:
    """`conv2d` over volumes: input (N, C, D, H, W) or (C, D, H, W), weight (K, C / groups, Q, R, S).

    >>> import chainrule as cr
    >>> cr.nn.functional.conv3d(cr.ones(1, 1, 2, 2, 2), cr.ones(1, 1, 2, 2, 2)).item()
    8.0
    """
    return _convolve(3, input, weight, bias, stride, padding, dilation, groups)


def _convolve(
    rank: int, input: Any, weight: Any, bias: Any, stride: Sizes, padding: Any, dilation: Sizes, groups: int
) -> Any:
    name = f"conv{rank}d"
    strides, steps = per_axis(name, "stride", stride, rank, 1), per_axis(name, "dilation", dilation, rank, 1)
    w = weight if isinstance(weight, Handle) else as_tensor(weight)
    low, high = paddings(name, padding, type_of(w).shape[2:], strides, steps)
    return remembered_convolution(input, w, bias, strides=strides, low=low, high=high, dilation=steps, groups=groups)


@remembered
def remembered_convolution(
    input: Any, weight: Any, bias: Any, *, strides: Shape, low: Shape, high: Shape, dilation: Shape, groups: int
) -> Any:
    """`conv1d`, `conv2d` or `conv3d` with everything given per dimension."""
    rank, shape, window = len(strides), type_of(input).shape, type_of(weight).shape
    check_weight(f"conv{rank}d", rank, window, bias, groups, 0)
    check_image(f"conv{rank}d", rank, shape, window, window[1] * groups, groups)
    for axis, (size, a, b, r, step) in enumerate(zip(shape[-rank:], low, high, window[2:], dilation, strict=True)):
        padded, span = spread_size(size, a, b, 1), window_size(r, step)
        if padded < span:
            raise ShapeError(
                f"conv{rank}d: a window of {span} does not fit into the input of size {size} along dimension "
                f"{axis - rank}, which is {padded} with its padding\n  where: {find_site()}\n"
                f"  fix: padding={-(-(span - size) // 2)}, a smaller kernel or dilation, or larger images"
            )
    segment, (x, w, *added) = enter_all(*_operands(input, weight, bias))
    images = reshape(x, (1, *shape)) if len(shape) == rank + 1 else x
    result = convolution(images, w, strides, low, high, dilation, (1,) * rank, groups)
    return pending(_finished(result, added, rank, len(shape)), segment)


def _operands(input: Any, weight: Any, bias: Any) -> list[Any]:
    x = converted(input, weight.dtype)
    return [x, weight] if bias is None else [x, weight, bias]


def _finished(result: Vertex, added: list[Vertex], rank: int, given: int) -> Vertex:
    """With the bias, and without the batch where there was none."""
    for bias in added:
        result = add(*meet(result, reshape(bias, (bias.shape[0], *(1,) * rank))))
    return reshape(result, result.shape[1:]) if given == rank + 1 else result


def check_weight(name: str, rank: int, weight: Shape, bias: Any, groups: int, outputs: int) -> None:
    """Errors: `ShapeError` for a weight or bias of another shape; ``outputs``: the weight's axis that counts them."""
    if len(weight) != rank + 2:
        raise ShapeError(
            f"{name} needs a weight with {rank + 2} dimensions, got one of size {list(weight)}\n  where: {find_site()}"
        )
    if groups < 1 or weight[0] % groups:
        raise ArgumentError(
            f"{name}: groups must be at least 1 and divide the {weight[0]} first channels of the weight, got {groups}\n"
            f"  where: {find_site()}"
        )
    channels = weight[outputs] * (groups if outputs else 1)
    if bias is not None and type_of(bias).shape != (channels,):
        raise ShapeError(
            f"{name} has {channels} output channels, so the bias must have size [{channels}], got "
            f"{list(type_of(bias).shape)}\n  where: {find_site()}"
        )


def check_image(name: str, rank: int, shape: Shape, weight: Shape, channels: int, groups: int) -> None:
    """Errors: `ShapeError` for an input of another rank or with other channels than the weight's."""
    if len(shape) not in (rank + 1, rank + 2):
        fix = f"an input with {rank} dimensions behind the channels"
        if len(shape) == rank:
            fix = "x.unsqueeze(0) for a single image of one channel; x.view(N, C, ...) for images that lie flat in rows"
        elif len(shape) > rank + 2:
            fix = f"x.flatten(0, {len(shape) - rank - 2}), if there are several dimensions of rows"
        raise ShapeError(
            f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to {name}, but got input of size: "
            f"{list(shape)}\n  where: {find_site()}\n  fix: {fix}"
        )
    found = shape[-rank - 1]
    if found == channels:
        return
    if shape[-1] == channels:
        fix = f"{channels_moved(shape, rank)}, as the channels seem to come last"
    elif channels == 1 and len(shape) == rank + 1:
        fix = f"x.unsqueeze(1), if these are {found} images of one channel"
    else:
        fix = f"a layer with in_channels={found}, or an input with {channels} channels"
    raise ShapeError(
        f"Given groups={groups}, weight of size {list(weight)}, expected input{list(shape)} to have {channels} "
        f"channels, but got {found} channels instead\n  where: {find_site()}\n  fix: {fix}"
    )


def conv_transpose1d(
    input: Any, weight: Any, bias: Any = None, stride: Sizes = 1, padding: Sizes = 0, output_padding: Sizes = 0,
    groups: int = 1, dilation: Sizes = 1,
) -> Any:  # fmt: skip
    """`conv_transpose2d` over sequences."""
    return _transposed(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Any, weight: Any, bias: Any = None, stride: Sizes = 1, padding: Sizes = 0, output_padding: Sizes = 0,
    groups: int = 1, dilation: Sizes = 1,
) -> Any:  # fmt: skip
    """The transpose of `conv2d`, its gradient with respect to the input.

    Shapes: input (N, C, H, W) or (C, H, W), weight (C, K / groups, R, S), bias (K); result (N, K, H', W') with
    H' = (H - 1) stride - 2 padding + dilation (R - 1) + output_padding + 1. Errors: `ShapeError`, `ArgumentError`.

    >>> import chainrule as cr
    >>> cr.nn.functional.conv_transpose2d(cr.ones(1, 1, 2, 2), cr.ones(1, 1, 2, 2), stride=2).shape
    Size([1, 1, 4, 4])
    """
    return _transposed(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Any, weight: Any, bias: Any = None, stride: Sizes = 1, padding: Sizes = 0, output_padding: Sizes = 0,
    groups: int = 1, dilation: Sizes = 1,
) -> Any:  # fmt: skip
    """`conv_transpose2d` over volumes."""
    return _transposed(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


def _transposed(
    rank: int, input: Any, weight: Any, bias: Any, stride: Sizes, padding: Any, output_padding: Sizes, groups: int,
    dilation: Sizes,
) -> Any:  # fmt: skip
    name = f"conv_transpose{rank}d"
    strides, steps = per_axis(name, "stride", stride, rank, 1), per_axis(name, "dilation", dilation, rank, 1)
    cut, more = per_axis(name, "padding", padding, rank, 0), per_axis(name, "output_padding", output_padding, rank, 0)
    if any(size >= max(a, b) for size, a, b in zip(more, strides, steps, strict=True)):
        raise ArgumentError(
            f"output padding must be smaller than either stride or dilation, got output_padding {more}, stride "
            f"{strides}, dilation {steps}\n  where: {find_site()}"
        )
    w = weight if isinstance(weight, Handle) else as_tensor(weight)
    return remembered_transposed(input, w, bias, strides=strides, cut=cut, more=more, groups=groups, dilation=steps)


@remembered
def remembered_transposed(
    input: Any, weight: Any, bias: Any, *, strides: Shape, cut: Shape, more: Shape, groups: int, dilation: Shape
) -> Any:
    """A transposed convolution with everything given per dimension."""
    rank, shape, window = len(strides), type_of(input).shape, type_of(weight).shape
    check_weight(f"conv_transpose{rank}d", rank, window, bias, groups, 1)
    check_image(f"conv_transpose{rank}d", rank, shape, window, window[0], groups)
    spans = [window_size(r, step) - 1 for r, step in zip(window[2:], dilation, strict=True)]
    low = tuple(span - a for span, a in zip(spans, cut, strict=True))
    high = tuple(a + b for a, b in zip(low, more, strict=True))
    for axis, (size, step, span) in enumerate(zip(shape[-rank:], strides, spans, strict=True)):
        whole = spread_size(size, 0, more[axis], step) + span
        if size and whole <= 2 * cut[axis]:
            raise ShapeError(
                f"conv_transpose{rank}d: padding {cut[axis]} cuts {2 * cut[axis]} elements off an output of {whole} "
                f"along dimension {axis - rank}, and leaves none\n  where: {find_site()}\n"
                f"  fix: padding={(whole - 1) // 2} or less, or larger inputs"
            )
    segment, (x, w, *added) = enter_all(*_operands(input, weight, bias))
    images = reshape(x, (1, *shape)) if len(shape) == rank + 1 else x
    ones = (1,) * rank
    result = convolution(images, turned_weights(w, groups), ones, low, high, dilation, strides, groups)
    return pending(_finished(result, added, rank, len(shape)), segment)
