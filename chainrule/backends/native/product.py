"""Matrix products: which of the templates compute a product, and its kernel."""

from __future__ import annotations

import math
from dataclasses import replace

from chainrule.backends.native.kernel import KernelInfo
from chainrule.backends.native.language import BYTES, KERNEL_ARGUMENTS, Function, Module
from chainrule.backends.native.product_direct import Direct
from chainrule.backends.native.product_dot import Dot
from chainrule.backends.native.product_packed import Packed
from chainrule.backends.native.product_site import Site, has_short_steps, sums_in_registers
from chainrule.backends.native.product_sparse import Sparse, can_be_sparse, emit_choice
from chainrule.passes.plan import Access, Instruction, Plan, Product

PARALLEL_WORK = 1 << 18
"""Multiplications from which on a product is worth being shared by threads: a few microseconds."""

READING_WORK = 4
"""So many multiplications take as long as to read an element of the right operand: few rows wait for these."""

NEAR_BYTES = 16 << 10
"""A right operand of at most so many bytes stays in the first-level cache."""

NEAR_ROW_BYTES = 1 << 10
NEAR_DEPTH = 1024
"""So many rows of a right operand, so far apart, come from the second-level cache as fast as they are needed."""

LONG_BYTES = 4 << 20
"""A left operand of more bytes is read once, and ahead of time, by the template that packs the right one."""

FEW_ROWS = 16
"""Fewer rows of the result do not repay packing where steps are too short for that."""


Template = Direct | Dot | Packed


def emit_product(module: Module, product: Product, plan: Plan, name: str) -> KernelInfo:
    """Add the kernel function ``name`` to the module: ``sums[b, i, j] = Σₖ left[b, i, k] · right[b, k, j]``, epilogue.

    A large product has an alternative for left operands with many zeros; which one runs is decided by their elements.
    The order of every sum is fixed by the shapes and the target, never by the number of threads. Example:
    ``emit_product(module, product, plan, "kernel_3").tasks``.
    """
    product = product if product.panel else oriented(product)
    if 0 in product.domain:
        with module.function(name, KERNEL_ARGUMENTS):
            return KernelInfo(name, 0, is_parallel=False)
    work = math.prod(product.domain) * product.depth
    with module.function(name, KERNEL_ARGUMENTS) as f:
        template = choose(f, product)
        tasks = math.prod(product.batch) * math.prod(template.blocks)
        reading = READING_WORK * math.prod(product.batch) * product.columns * product.depth
        is_parallel = tasks > 1 and max(work, reading) >= PARALLEL_WORK
        template.emit(Site(f, plan, product, template.lanes, template.has_whole_rows), is_parallel)
    info = KernelInfo(name, tasks, is_parallel, template.scratch_bytes)
    if work < PARALLEL_WORK or product.panel or not can_be_sparse(product, module.target):
        return info
    sparse = Sparse(product, module.target).emit(module, plan, f"{name}_sparse")
    return replace(info, choice=emit_choice(module, plan, product, f"{name}_choice"), alternatives=(sparse,))


def choose(f: Function, product: Product) -> Template:
    """The template that is fastest for the product's shape and strides."""
    if product.panel:
        return Packed(product, f)
    depth_stride, column_stride = product.right.strides[-2:]
    in_place = column_stride == 1 or product.columns == 1
    if product.is_narrow:
        return Direct(product, f) if column_stride == 1 < product.columns else Dot(product, f)
    size, lanes = BYTES[product.dtype.name], f.module.target.lanes(product.dtype.name)
    row_bytes = (depth_stride if in_place else product.columns) * size
    is_near = product.depth * row_bytes <= NEAR_BYTES
    has_near_rows = in_place and row_bytes <= NEAR_ROW_BYTES and product.depth <= NEAR_DEPTH
    if has_short_steps(f):
        has_near_rows = has_near_rows and product.rows < FEW_ROWS
    is_one_tile = in_place and product.rows <= sums_in_registers(f) // 2
    is_long = product.rows * product.depth * size > LONG_BYTES and product.columns > lanes
    reads_in_place = is_one_tile or ((is_near or has_near_rows) and not is_long)
    return Direct(product, f) if reads_in_place else Packed(product, f)


def oriented(product: Product) -> Product:
    """The product, or its transpose if there the columns are many and consecutive in memory, so that vectors fit."""
    strides = [store.access.strides[-2:] for store in product.stores]
    stored_by_columns = all(row == 1 and column != 1 for row, column in strides) and product.rows > 1
    if product.columns == 1 < product.rows or (stored_by_columns and product.columns > 1):
        return transposed(product)
    return product


def transposed(product: Product) -> Product:
    """The product that computes the transpose: rows are columns, and left is right."""

    def swap(access: Access) -> Access:
        return replace(access, strides=(*access.strides[:-2], access.strides[-1], access.strides[-2]))

    def swap_instruction(instruction: Instruction) -> Instruction:
        return replace(instruction, access=swap(instruction.access)) if instruction.access else instruction

    return replace(
        product,
        rows=product.columns,
        columns=product.rows,
        left=swap(product.right),
        right=swap(product.left),
        body=tuple(map(swap_instruction, product.body)),
        stores=tuple(replace(store, access=swap(store.access)) for store in product.stores),
    )
