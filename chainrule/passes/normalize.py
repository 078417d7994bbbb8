"""Give kernels the loops that run fastest, without changing what they compute.

Nests: dimensions are ordered so that memory is walked in steps of 1, and neighbours that every access walks as one are
merged; most elementwise nests end as one flat loop.
Products: turned over (``C = A·B`` as ``Cᵀ = Bᵀ·Aᵀ``) if their results lie column by column; batch dimensions over which
the right operand is the same become rows.
Contractions: neighbouring dimensions that every access walks as one are merged; with one dimension of rows and one of
depth they are products.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..types import Shape
from .emit import Draft
from .plan import Access, Computation, Contraction, Instruction, Kernel, Loop, Nest, Product, Reduction, Scan, Store


def normalize(draft: Draft) -> Draft:
    """Return the draft with better loops; kernels that have nothing to do are dropped."""
    kernels = (_normalize_kernel(kernel) for kernel in draft.kernels)
    return replace(draft, kernels=tuple(kernel for kernel in kernels if kernel is not None))


def _normalize_kernel(kernel: Kernel) -> Kernel | None:
    if isinstance(kernel, Loop):
        return kernel
    if isinstance(kernel, Product):
        return None if 0 in kernel.domain else _join_batch(_orient(kernel))
    if isinstance(kernel, Contraction):
        return None if 0 in kernel.domain else _merge_contraction(kernel)
    if 0 in kernel.domain and not any(_has_result(reduction, kernel.domain) for reduction in kernel.reductions):
        return None
    return kernel if isinstance(kernel, Scan) else _merge_dimensions(_order_dimensions(kernel))


def _has_result(reduction: Reduction, domain: Shape) -> bool:
    return all(extent for dimension, extent in enumerate(domain) if dimension not in reduction.axes)


def _accesses(kernel: Computation) -> list[Access]:
    """Every access over the kernel's domain."""
    found = [step.access for step in kernel.body if step.access is not None]
    found += [store.access for store in kernel.stores]
    if isinstance(kernel, Nest):
        found += [reduction.access for reduction in kernel.reductions]
    return found


def _select(access: Access, dimensions: Sequence[int]) -> Access:
    """The access over some of its dimensions, in the order given."""
    return replace(access, strides=tuple(access.strides[d] for d in dimensions))


def _select_body(
    body: Sequence[Instruction], stores: Sequence[Store], dimensions: Sequence[int]
) -> tuple[tuple[Instruction, ...], tuple[Store, ...]]:
    steps = tuple(
        step if step.access is None else replace(step, access=_select(step.access, dimensions)) for step in body
    )
    return steps, tuple(replace(store, access=_select(store.access, dimensions)) for store in stores)


def _select_nest(nest: Nest, dimensions: Sequence[int], domain: Shape) -> Nest:
    """The nest over some of its dimensions, with these extents."""
    body, stores = _select_body(nest.body, nest.stores, dimensions)
    reductions = tuple(
        replace(
            reduction,
            access=_select(reduction.access, dimensions),
            axes=tuple(dimensions.index(axis) for axis in reduction.axes if axis in dimensions),
        )
        for reduction in nest.reductions
    )
    return Nest(nest.name, domain, body, stores, reductions)


def _order_dimensions(nest: Nest) -> Nest:
    """Outermost the dimension with the longest steps, as most accesses see it; innermost the one with steps of 1."""
    rank = len(nest.domain)
    if rank < 2 or any(store.is_ordered for store in nest.stores):  # writes into one place keep their order
        return nest
    memory = [access for access in _accesses(nest) if access.buffer >= 0]
    # An access that moves along every dimension outweighs one that only repeats: it touches more elements.
    pairs = [
        (access, math.prod(n for n, stride in zip(nest.domain, access.strides, strict=True) if stride))
        for access in memory
    ]
    steps = [sum(abs(access.strides[d]) * weight for access, weight in pairs) for d in range(rank)]
    unit = [sum(weight for access, weight in pairs if abs(access.strides[d]) == 1) for d in range(rank)]
    innermost = max(range(rank), key=lambda d: (unit[d], d))
    order = sorted((d for d in range(rank) if d != innermost), key=lambda d: (-steps[d], d))
    order.append(innermost)
    if order == list(range(rank)):
        return nest
    return _select_nest(nest, order, tuple(nest.domain[d] for d in order))


def _are_one(accesses: Sequence[Access], outer: int, inner: int, extent: int) -> bool:
    """Whether every access walks dimensions ``outer`` and ``inner`` (of ``extent``) as one longer dimension."""
    return all(access.strides[outer] == access.strides[inner] * extent for access in accesses)


def _merge_dimensions(nest: Nest) -> Nest:
    """Merge neighbouring dimensions that are not reduced; the order of sums follows from those that are."""
    if len(nest.domain) < 2:
        return nest
    accesses = _accesses(nest)
    axes = set(nest.reductions[0].axes) if nest.reductions else set()
    kept: list[int] = []
    domain: list[int] = []
    for d, extent in enumerate(nest.domain):
        if kept and kept[-1] not in axes and d not in axes and _are_one(accesses, kept[-1], d, extent):
            kept[-1] = d
            domain[-1] *= extent
        else:
            kept.append(d)
            domain.append(extent)
    return nest if len(kept) == len(nest.domain) else _select_nest(nest, kept, tuple(domain))


def _orient(product: Product) -> Product:
    """Swap operands if more results and epilogue loads lie along rows of the transposed product."""
    rank = len(product.domain)
    accesses = _accesses(product)
    along_rows = sum(abs(access.strides[rank - 2]) == 1 for access in accesses)
    along_columns = sum(abs(access.strides[rank - 1]) == 1 for access in accesses)
    if along_rows <= along_columns or product.rows == 1:
        return product
    swap = (*range(rank - 2), rank - 1, rank - 2)
    body, stores = _select_body(product.body, product.stores, swap)
    return replace(
        product, rows=product.columns, columns=product.rows, body=body, stores=stores,
        left=_select(product.right, swap), right=_select(product.left, swap),
    )  # fmt: skip


def _join_batch(product: Product) -> Product:
    """Drop batch dimensions of extent 1; make the last batch dimension rows while all accesses allow."""
    rank = len(product.domain)
    kept = [d for d in range(rank - 2) if product.batch[d] != 1] + [rank - 2, rank - 1]
    product = _select_product(product, kept, tuple(n for n in product.batch if n != 1), product.rows)
    while product.batch:
        batch, rows = len(product.batch) - 1, product.rows
        walked = [*_accesses(product), product.left]
        if product.right.strides[batch] or not (rows == 1 or _are_one(walked, batch, batch + 1, rows)):
            break
        dimensions = [*range(batch), batch if rows == 1 else batch + 1, batch + 2]
        product = _select_product(product, dimensions, product.batch[:-1], rows * product.batch[-1])
    return product


def _select_product(product: Product, dimensions: Sequence[int], batch: Shape, rows: int) -> Product:
    body, stores = _select_body(product.body, product.stores, dimensions)
    left, right = _select(product.left, dimensions), product.right
    # The right operand has the depth where the others have the rows.
    depth, rank = len(product.domain) - 2, len(product.domain)
    batches = [d for d in dimensions if d < depth][: len(batch)]
    right = _select(right, [*batches, rank - 2, rank - 1])
    return replace(product, batch=batch, rows=rows, body=body, stores=stores, left=left, right=right)


def _merge_contraction(kernel: Contraction) -> Contraction | Product:
    rows, depth = len(kernel.rows), len(kernel.depth)
    outer = [replace(kernel.left, strides=kernel.left.strides[:rows]), *_accesses(kernel)]
    kept_rows, row_extents = _runs(kernel.rows, outer, {each.row for each in kernel.ranges})
    inner = [replace(kernel.left, strides=kernel.left.strides[rows:-1]), kernel.right]
    kept_depth, depth_extents = _runs(kernel.depth, inner, {each.depth for each in kernel.ranges})
    left = _select(kernel.left, [*kept_rows, *(rows + d for d in kept_depth), rows + depth])
    right = _select(kernel.right, [*kept_depth, depth])
    body, stores = _select_body(kernel.body, kernel.stores, [*kept_rows, rows])
    if len(row_extents) == len(depth_extents) == 1 and not kernel.ranges and not left.strides[-1]:
        (row,), (size,) = row_extents, depth_extents
        left = replace(left, strides=left.strides[:-1])
        return Product(kernel.name, kernel.dtype, (), row, kernel.columns, size, left, right, body, stores)
    ranges = tuple(
        replace(each, row=kept_rows.index(each.row), depth=kept_depth.index(each.depth)) for each in kernel.ranges
    )
    return replace(
        kernel, rows=row_extents, depth=depth_extents, left=left, right=right, body=body, stores=stores, ranges=ranges
    )  # fmt: skip


def _runs(extents: Shape, accesses: Sequence[Access], fixed: set[int]) -> tuple[list[int], Shape]:
    """Dimensions that are left when those are merged that all accesses walk as one, and their extents; at least one.

    ``fixed`` ones stay as they are.
    """
    kept: list[int] = []
    merged: list[int] = []
    for d, extent in enumerate(extents):
        if extent == 1 and d not in fixed and (kept or d < len(extents) - 1):
            continue
        if kept and not fixed & {kept[-1], d} and _are_one(accesses, kept[-1], d, extent):
            kept[-1] = d
            merged[-1] *= extent
        else:
            kept.append(d)
            merged.append(extent)
    return kept, tuple(merged)
