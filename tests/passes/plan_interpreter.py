"""Runs plans by NumPy, kernel by kernel, and refuses plans that depend on the order of points or on stale memory."""

from __future__ import annotations

import math

import numpy as np

from chainrule.graph.primitive import PRIMITIVES
from chainrule.passes.memory import read_accesses, written_accesses
from chainrule.passes.plan import Contraction, Loop, Nest
from chainrule.types import contiguous_strides

BY_NATIVE = {record.native: record for record in PRIMITIVES.values() if record.family == "elementwise"}
SCANS = {record.native: record for record in PRIMITIVES.values() if record.family == "scan"}
REDUCTIONS = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min}


def spread(array, shape, strides):
    """The memory of an array that lies with ``strides`` (in elements)."""
    size = 0 if 0 in shape else 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    memory = np.zeros(size, array.dtype)
    np.lib.stride_tricks.as_strided(memory, shape, [s * memory.itemsize for s in strides])[...] = array
    return memory


def gather(memory, shape, strides):
    """The array that lies in ``memory`` with ``strides``."""
    return np.lib.stride_tricks.as_strided(memory, shape, [s * memory.itemsize for s in strides]).copy()


def run_plan(plan, graph, values, output_strides=None):
    """Return (outputs, new values of updated inputs), like `chainrule.reference.evaluate`."""
    input_strides = [vertex.attributes["strides"] or contiguous_strides(vertex.shape) for vertex in graph.inputs]
    output_strides = output_strides or [None] * len(graph.outputs)
    output_strides = [s or contiguous_strides(v.shape) for s, v in zip(output_strides, graph.outputs, strict=True)]
    memories = {}
    for number, vertex, value, strides in zip(plan.inputs, graph.inputs, values, input_strides, strict=True):
        memories[number] = spread(np.asarray(value, vertex.dtype.numpy).reshape(vertex.shape), vertex.shape, strides)
    with np.errstate(all="ignore"):
        run_kernels(plan, memories)
    results = zip(plan.outputs, graph.outputs, output_strides, strict=True)
    outputs = [gather(memories[number], vertex.shape, strides) for number, vertex, strides in results]
    targets = {vertex: index for index, vertex in enumerate(graph.inputs)}
    updated = [
        gather(memories[plan.inputs[targets[target]]], target.shape, input_strides[targets[target]])
        for target, _ in graph.updates
    ]
    return outputs, updated


def run_kernels(plan, memories):
    """Run all kernels; ``memories`` holds those of inputs, and gets those of outputs."""
    arena = np.full(plan.arena_bytes, 0xFF, np.uint8)
    for number, buffer in enumerate(plan.buffers):
        if buffer.role == "output":
            memories[number] = np.frombuffer(b"\xff" * buffer.nbytes, buffer.dtype.numpy).copy()
        elif buffer.role == "temporary":
            assert buffer.offset % 64 == 0
            piece = arena[buffer.offset : buffer.offset + buffer.nbytes]
            memories[number] = piece.view(buffer.dtype.numpy) if piece.size == buffer.nbytes else None
        assert buffer.role != "input" or number in memories
    for kernel in plan.kernels:
        check_kernel(plan, kernel)
        if isinstance(kernel, Loop):
            run_loop(kernel, memories)
        else:
            run_kernel(kernel, memories)


def run_loop(loop, memories):
    """Run the plan of one step again and again, for one part after another. Blocks and parts lie one behind another."""
    reads, writes = ([memories[access.buffer] for access in each] for each in (loop.reads, loop.writes))
    for each in loop.sums:
        for factor in each.factors:
            memories[factor.sums.buffer][...] = 0
    for task in range(loop.tasks):
        run_part(loop, reads, writes, task, memories)


def run_part(loop, reads, writes, task, memories):
    first, last = loop.carries, loop.carries + loop.xs
    states = [part.copy() for part in parts(reads[:first], loop.tasks)[task]]
    xs = parts(reads[first:last], loop.length * loop.tasks)
    blocks_of = [min(loop.length, loop.sums[0].steps) if n in loop.rings else loop.length for n in range(len(writes))]
    for step, t in enumerate(range(loop.length)[:: -1 if loop.is_reversed else 1]):
        place = t * loop.tasks + task
        stacks = [
            parts([memory], count * loop.tasks)[step % count * loop.tasks + task if n in loop.rings else place][0]
            for n, (memory, count) in enumerate(zip(writes, blocks_of, strict=True))
        ][first:]
        values = [*states, *xs[place], *reads[last:]]
        inner = dict(zip(loop.step.inputs, (value.copy() for value in values), strict=True))
        run_kernels(loop.step, inner)
        results = [inner[number] for number in loop.step.outputs]
        homes = {number - first: states[carry] for number, carry in loop.homes}
        blocks = [block for number, block in enumerate(stacks) if number not in homes]
        for target, value in zip(blocks, results[first:], strict=True):
            target[...] = value
        for number, value in homes.items():
            stacks[number][...] = value
        states = results[:first]
        if (step + 1) % (loop.sums[0].steps if loop.sums else loop.length) == 0 or step == loop.length - 1:
            add_steps(loop, memories, task, step)
    for end, state in zip(parts(writes[:first], loop.tasks)[task], states, strict=True):
        end[...] = state


def add_steps(loop, memories, task, last):
    """Add the steps up to this one to sums; as late as can be, when rings still hold them."""
    rings = {loop.writes[number].buffer for number in loop.rings}
    for each in loop.sums:
        count = each.parts // loop.tasks
        for step in range(last - last % each.steps, last + 1):
            t = loop.length - 1 - step if loop.is_reversed else step
            for part in range(task * count, (task + 1) * count):

                def rows(access, columns, step=step, t=t, part=part, each=each):
                    place = (step % each.steps if access.buffer in rings else t) * each.parts + part
                    size = each.depth * columns
                    return memories[access.buffer][place * size : (place + 1) * size].reshape(each.depth, columns)

                for factor in each.factors:
                    sums = parts([memories[factor.sums.buffer]], each.parts)[part][0]
                    sums += (rows(factor.left, factor.rows).T @ rows(each.right, each.columns)).ravel()


def parts(arrays, count):
    """For each of so many equal parts of all arrays, the views of it."""
    return [[array[n * len(array) // count : (n + 1) * len(array) // count] for array in arrays] for n in range(count)]


def check_kernel(plan, kernel):
    """A kernel may read what it writes only at the same point; different buffers do not overlap."""
    accesses = read_accesses(kernel) + written_accesses(kernel)
    used = {access.buffer for access in accesses}
    temporaries = [plan.buffers[n] for n in used if plan.buffers[n].role == "temporary"]
    for i, one in enumerate(temporaries):
        for other in temporaries[:i]:
            assert one.offset + one.nbytes <= other.offset or other.offset + other.nbytes <= one.offset
    if isinstance(kernel, Loop):
        assert not {access.buffer for access in read_accesses(kernel)} & {w.buffer for w in written_accesses(kernel)}
        return
    operands = [] if isinstance(kernel, Nest) else [kernel.left, kernel.right]
    for written in written_accesses(kernel):
        for read in read_accesses(kernel):
            if read.buffer == written.buffer:
                assert read == written and read not in operands, f"{kernel.name} reads what another point writes"
    rank = len(kernel.domain)
    assert all(len(access.strides) == rank for access in accesses if access not in operands)
    if isinstance(kernel, Nest):
        assert len({reduction.axes for reduction in kernel.reductions}) <= 1
    else:
        assert kernel.body[0].operation == "accumulator"
        for access, shape in zip(operands, (kernel.left_domain, kernel.right_domain), strict=True):
            assert len(access.strides) == len(shape) and not access.dynamic


def place(access, grid, shape, results):
    index = np.full(shape, access.offset, np.int64)
    for stride, points in zip(access.strides, grid, strict=True):
        index = index + stride * points
    for term in access.dynamic:
        index = index + term.stride * np.clip(results[term.instruction], 0, term.limit)
    return index


def run_body(kernel, memories, accumulator=None):
    shape = kernel.domain
    grid = np.indices(shape)
    results = []
    for number, step in enumerate(kernel.body):
        assert all(operand < number for operand in step.operands)
        operands = [results[operand] for operand in step.operands]
        if step.operation == "accumulator":
            assert number == 0
            value = accumulator
        elif step.operation == "load":
            index = place(step.access, grid, shape, results)
            memory = memories[step.access.buffer]
            assert index.size == 0 or (index.min() >= 0 and index.max() < memory.size), "read outside its buffer"
            value = memory[index]
        elif step.operation == "constant":
            value = np.full(shape, step.value, step.dtype.numpy)
        elif step.operation == "index":
            assert step.access.buffer == -1
            value = place(step.access, grid, shape, results)
        elif step.operation == "random_uniform":
            value = uniform(*operands, step.value)
        elif step.operation in SCANS:
            record = SCANS[step.operation]
            names = [name for name in record.attributes if name != "axis"]
            options = dict(zip(names, step.value or (), strict=True))
            value = record.reference(*operands, axis=len(shape) - 1, **options)
        elif step.operation == "cast":
            value = operands[0].astype(step.dtype.numpy)
        else:
            value = np.asarray(BY_NATIVE[step.operation].reference(*operands))
            assert value.dtype == step.dtype.numpy
        results.append(value)
    return results, grid


def uniform(seed, counter, element, stream):
    if element.size == 0:
        return np.zeros(element.shape, np.float32)
    numbers = PRIMITIVES["random_uniform"].reference(
        seed.flat[0], counter.flat[0], shape=(int(element.max()) + 1,), stream=stream
    )
    return numbers[element]


def sums_of_products(kernel, memories):
    is_contraction = isinstance(kernel, Contraction)
    rows = len(kernel.rows) if is_contraction else None
    operands = []
    for access, shape in ((kernel.left, kernel.left_domain), (kernel.right, kernel.right_domain)):
        grid, memory = np.indices(shape), memories[access.buffer]
        index, has_element = place(access, grid, shape, []), np.full(shape, True)
        for each in kernel.ranges if is_contraction and access is kernel.left else ():
            position = each.row_step * grid[each.row] + each.depth_step * grid[rows + each.depth] - each.low
            has_element &= (position >= 0) & (position < each.size)
        used = index[has_element]
        assert used.size == 0 or (used.min() >= 0 and used.max() < memory.size), "read outside its buffer"
        operands.append(np.where(has_element, memory[np.where(has_element, index, 0)], 0))
    if is_contraction:
        left, right = operands  # the left one has the columns too: each column sums over its own depth
        left = left.reshape(math.prod(kernel.rows), kernel.terms, kernel.columns)
        sums = np.einsum("ikj,kj->ij", left, right.reshape(kernel.terms, kernel.columns))
        return sums.reshape(kernel.domain).astype(kernel.dtype.numpy)
    return np.matmul(*operands).astype(kernel.dtype.numpy)


def run_kernel(kernel, memories):
    accumulator = None if isinstance(kernel, Nest) else sums_of_products(kernel, memories)
    results, grid = run_body(kernel, memories, accumulator)
    for store in kernel.stores:
        wanted = results[store.instruction].shape  # less than the domain where a scan gives only the first points
        points = grid[(slice(None), *map(slice, wanted))]
        index = place(store.access, points, wanted, results)
        memory, value = memories[store.access.buffer], results[store.instruction]
        assert memory.dtype == value.dtype
        assert index.size == 0 or (index.min() >= 0 and index.max() < memory.size), "written outside its buffer"
        if store.accumulate:
            np.add.at(memory, index.reshape(-1), value.reshape(-1))
        else:
            assert store.access.dynamic or np.unique(index).size == index.size, "an element is written twice"
            memory[index] = value
    for reduction in getattr(kernel, "reductions", ()):
        run_reduction(reduction, kernel, results, grid, memories)


def run_reduction(reduction, kernel, results, grid, memories):
    value, axes = results[reduction.instruction], reduction.axes
    assert axes and all(reduction.access.strides[axis] == 0 for axis in axes)
    if reduction.operation in ("argmax", "argmin"):
        assert len(axes) == 1
        value = getattr(np, reduction.operation)(value, axes[0])
    else:
        value = REDUCTIONS[reduction.operation](value, axes).astype(value.dtype)
    kept = tuple(extent for axis, extent in enumerate(kernel.domain) if axis not in axes)
    strides = [stride for axis, stride in enumerate(reduction.access.strides) if axis not in axes]
    index = np.full(kept, reduction.access.offset, np.int64)
    for stride, points in zip(strides, np.indices(kept), strict=True):
        index = index + stride * points
    memories[reduction.access.buffer][index] = value
