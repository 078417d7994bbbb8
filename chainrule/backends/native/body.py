"""Bodies of kernels: the instructions of a nest or of a product's epilogue, evaluated point by point.

A template walks through its loops and tells where it is; everything else happens here: each instruction and each store
is emitted as far out in the loops as its operands allow, with one lane where it does not vary along the vector
dimension, and each access becomes the cheapest kind of load or store. Example, y = exp(x) over 100 rows of 16:

    body = Body(f, plan, nest, order=(0, 1), vector=1, lanes=16)
    origin = body.origin()
    with f.loop(0, 100) as row:
        origin.enter(0, row.index).enter(1, f.index(0))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from chainrule.backends.native.kernel import base_pointers, whole_lines
from chainrule.backends.native.language import Function, Type, Value
from chainrule.backends.native.threefry import random_uniform
from chainrule.backends.native.vector_math import ELEMENTWISE
from chainrule.errors import CompilationError
from chainrule.passes.plan import Access, Computation, DynamicTerm, Instruction, Nest, Plan, Store


class Place(NamedTuple):
    """What accesses that differ by a fixed distance have in common: they share one running pointer."""

    buffer: int
    strides: tuple[int, ...]
    dynamic: tuple[DynamicTerm, ...]


def place(access: Access) -> Place:
    return Place(access.buffer, access.strides, access.dynamic)


class Piece(NamedTuple):
    """Some neighbouring points of a dimension, as `Point.enter` takes them."""

    start: Value
    offset: int
    lanes: int
    active: int | None


class Variation:
    """Which loops decide an instruction or an access: ``depth`` is the number of loops, counted from the outermost,
    that must have been entered before it is known; ``varies`` tells whether it differs along the vector dimension.
    """

    def __init__(self, body: Sequence[Instruction], order: Sequence[int], vector: int | None) -> None:
        self.order, self.vector = order, vector
        self.depths: list[int] = []
        self.varying: list[bool] = []
        for instruction in body:
            depth, varies = self.of(instruction.access, instruction.operands)
            if instruction.operation == "accumulator":
                depth, varies = len(order), True
            self.depths.append(depth)
            self.varying.append(varies)

    def of(self, access: Access | None, operands: Sequence[int] = ()) -> tuple[int, bool]:
        """(depth, varies) of something at an access that uses the values of instructions."""
        used = [*operands, *(term.instruction for term in access.dynamic)] if access else operands
        depth = max((self.depths[operand] for operand in used), default=0)
        varies = any(self.varying[operand] for operand in used)
        if access is not None:
            moves = [position + 1 for position, dimension in enumerate(self.order) if access.strides[dimension]]
            depth = max(depth, *moves) if moves else depth
            varies = varies or (self.vector is not None and access.strides[self.vector] != 0)
        return depth, varies


class Body:
    """The instructions and stores of a kernel, scheduled for loops over its dimensions in the given order.

    ``vector`` is the dimension whose points lie in the lanes of vectors (None: scalar code) and ``lanes`` the widest
    vector. It must be made at the start of the function. ``others`` are accesses that the template itself uses through
    ``Point.load`` and ``Point.store``, whose dimensions must be those of the body (a nest's reductions).
    """

    def __init__(
        self,
        f: Function,
        plan: Plan,
        kernel: Computation,
        order: Sequence[int],
        vector: int | None,
        lanes: int,
        others: Sequence[Access] = (),
    ) -> None:
        self.f, self.plan, self.order, self.vector, self.lanes = f, plan, tuple(order), vector, lanes
        self.instructions = kernel.body
        self.pointers = base_pointers(f, plan, kernel)
        self.variation = variation = Variation(kernel.body, self.order, vector)
        rank = range(len(self.order) + 1)
        self.instructions_at = [[i for i, depth in enumerate(variation.depths) if depth == at] for at in rank]
        depths = [len(order) if s.is_ordered else variation.of(s.access, [s.instruction])[0] for s in kernel.stores]
        self.stores_at = [[s for s, depth in zip(kernel.stores, depths, strict=True) if depth == at] for at in rank]
        own = [item.access for item in kernel.body if item.operation == "load" and item.access is not None]
        own += [store.access for store in kernel.stores]
        self.places = list(dict.fromkeys(map(place, [*own, *others])))
        self.splatted = self._splatted(kernel)
        loaded = {item.access.buffer for item in kernel.body if item.operation == "load" and item.access is not None}
        in_place = any(store.access.buffer in loaded for store in kernel.stores) and len(self.order) > 1
        self.masks_tails = f.module.target.vector_bits == 512 and not in_place

    def _splatted(self, kernel: Computation) -> set[int]:
        """Instructions that do not vary but are used by something that does."""
        varying = self.variation.varying
        used = {operand for i, item in enumerate(kernel.body) if varying[i] for operand in item.operands}
        used |= {store.instruction for store in kernel.stores if self.variation.of(store.access)[1]}
        if isinstance(kernel, Nest):
            used |= {reduction.instruction for reduction in kernel.reductions}
        return {i for i in used if not varying[i] and kernel.body[i].operation != "constant"}

    def pieces(self, start: Value, count: int, lanes: int, always_whole: bool = False) -> list[Piece]:
        """``count`` points from ``start`` on: whole vectors, then one with the last points active.

        Unless ``always_whole``, the last points are in ever smaller vectors where masks are slow: on processors before
        AVX-512, and where rows are updated in place, as loading the next row would wait for the masked store.
        """
        done = count // lanes * lanes
        pieces = [Piece(start, offset, lanes, None) for offset in range(0, done, lanes)]
        while done < count:
            left = count - done
            width = 1 << (left.bit_length() - 1)
            if always_whole:
                width = lanes
            elif self.masks_tails and width < left:
                width *= 2
            pieces.append(Piece(start, done, width, left))
            done += width
        return pieces

    def origin(self) -> Point:
        """Outside of all loops; emits what no loop decides."""
        pointers = {place: self.pointers[place.buffer] for place in self.places}
        zeros = (self.f.index(0),) * len(self.order)
        point = Point(self, 0, zeros, 1, None, {}, {}, pointers)
        point.evaluate()
        return point


class Point:
    """A point of the loops, or a vector of points along the vector dimension: the values that are known there.

    ``indices`` are those of the dimensions entered so far; ``lanes`` is 1 until the vector dimension is entered;
    ``active`` is the number of lanes that exist, None for all.
    """

    def __init__(
        self,
        body: Body,
        depth: int,
        indices: tuple[Value, ...],
        lanes: int,
        active: int | None,
        values: dict[int, Value],
        splats: dict[int, Value],
        pointers: dict[Place, Value],
    ) -> None:
        self.body, self.depth, self.indices = body, depth, indices
        self.lanes, self.active = lanes, active
        self.values, self.splats, self.pointers = values, splats, pointers

    def enter(
        self,
        dimension: int,
        index: Value,
        offset: int = 0,
        lanes: int | None = None,
        active: int | None = None,
        given: Mapping[int, Value] | None = None,
    ) -> Point:
        """The next loop's point at index + offset; emits the instructions and stores which that loop decides.

        Dimensions are entered in the order of the body. For the vector dimension, ``lanes`` (default: the body's) and
        ``active`` say how many points; ``given`` are values computed elsewhere: {0: sums} for a product.
        """
        body = self.body
        if dimension == body.vector:
            lanes = lanes or body.lanes
            active = None if active is None or active >= lanes else active
        else:
            lanes, active = self.lanes, self.active
        pointers = {place: self._advance(place, dimension, index, offset) for place in self.pointers}
        indices = (*self.indices[:dimension], index + offset, *self.indices[dimension + 1 :])
        values = self.values | dict(given or {})
        point = Point(body, self.depth + 1, indices, lanes, active, values, dict(self.splats), pointers)
        point.evaluate()
        return point

    def _advance(self, place: Place, dimension: int, index: Value, offset: int) -> Value:
        pointer, stride = self.pointers[place], place.strides[dimension]
        if stride == 0:
            return pointer
        element = self.body.plan.buffers[place.buffer].dtype.name
        if index.number is not None:
            return pointer.at((int(index.number) + offset) * stride, element)
        moved = pointer.at(index * stride, element).at(offset * stride, element)
        # Inner loops see an opaque row pointer: code generation is faster, and addresses need no more registers.
        return moved.freeze() if self.depth + 1 < len(self.body.order) else moved

    def evaluate(self) -> None:
        """Emit the instructions and stores that are decided at this depth."""
        body = self.body
        for number in body.instructions_at[self.depth]:
            if body.instructions[number].operation != "constant" and number not in self.values:
                self.values[number] = self._emit(number)
            if number in body.splatted:
                self.splats[number] = self.values[number].broadcast(body.lanes)
            self._settle(number)
        for store in body.stores_at[self.depth]:
            self._store(store)

    def _settle(self, number: int) -> None:
        """Add the dynamic terms that an instruction decides for all lanes alike to the pointers."""
        for place in self.pointers:
            for term in place.dynamic:
                if term.instruction == number and not self.body.variation.varying[number]:
                    element = self.body.plan.buffers[place.buffer].dtype.name
                    moved = self.pointers[place].at(self._distance(term), element)
                    self.pointers[place] = moved.freeze()

    def _distance(self, term: DynamicTerm) -> Value:
        """stride · clamp(value, 0, limit), in elements."""
        clamped = self.value(term.instruction).cast("int64").maximum(0).minimum(term.limit)
        return clamped * term.stride

    def value(self, number: int, lanes: int = 1) -> Value:
        """The value of an instruction; in as many lanes as it varies or ``lanes`` says."""
        instruction = self.body.instructions[number]
        if instruction.operation == "constant":
            return self.body.f.constant(instruction.value, Type(instruction.dtype.name, lanes))
        if lanes == 1 or self.body.variation.varying[number]:
            return self.values[number]
        splat = self.splats[number]
        return splat if splat.lanes == lanes else splat.shuffle(range(lanes))

    def _emit(self, number: int) -> Value:
        instruction = self.body.instructions[number]
        lanes = self.lanes if self.body.variation.varying[number] else 1
        element, access = instruction.dtype.name, instruction.access
        if instruction.operation == "load" and access is not None:
            return self.load(access, Type(element, lanes))
        if instruction.operation == "index" and access is not None:
            return self._index(access, lanes)
        operands = [self.value(operand, lanes) for operand in instruction.operands]
        if instruction.operation == "cast":
            return operands[0].cast(element)
        if instruction.operation == "identity":
            return operands[0]
        if instruction.operation == "random_uniform":
            return random_uniform(instruction.value, *operands)
        emit = ELEMENTWISE.get(instruction.operation)
        if emit is None:
            raise CompilationError(f"native backend: no code for operation {instruction.operation!r} of {element}")
        return emit(*operands)

    def _index(self, access: Access, lanes: int) -> Value:
        total = self.body.f.index(access.offset)
        for dimension, stride in enumerate(access.strides):
            total = total + self.indices[dimension] * stride
        stride = 0 if self.body.vector is None else access.strides[self.body.vector]
        if lanes == 1 or stride == 0:
            return total
        return self.body.f.vector(range(0, stride * lanes, stride), "int64") + total

    # Memory

    def load(self, access: Access, type: Type) -> Value:
        """The elements at an access: one, or one per lane."""
        f, element = self.body.f, type.element
        if type.lanes == 1:
            return f.load(self._address(access), type)
        stride = self._vector_stride(access)
        if stride == -1:
            first, mask = self._reversed(access, type)
            return f.load(first, type, mask).shuffle(range(type.lanes - 1, -1, -1))
        if stride is not None:
            return f.load_strided(self._address(access), type, stride, self._touched(access))
        return f.gather(self._addresses(access, type), element, self.mask())

    def store(self, value: Value, access: Access) -> None:
        """Write a value, or its active lanes, to an access."""
        f, stride = self.body.f, self._vector_stride(access)
        if value.lanes == 1:
            f.store(value, self._address(access))
        elif stride == 0:
            f.store(value.extract((self.active or value.lanes) - 1), self._address(access))
        elif stride == -1:
            first, mask = self._reversed(access, value.type)
            f.store(value.shuffle(range(value.lanes - 1, -1, -1)), first, mask)
        elif stride is not None:
            f.store_strided(value, self._address(access), stride, self._touched(access))
        else:
            f.scatter(value, self._addresses(access, value.type), self.mask())

    def _store(self, store: Store) -> None:
        variation, access = self.body.variation, store.access
        varies = variation.varying[store.instruction] or variation.of(access)[1]
        value = self.value(store.instruction, self.lanes if varies else 1)
        if store.accumulate:
            value = self.load(access, value.type) + value
        self.store(value, access)

    def mask(self) -> Value | None:
        """The active lanes, None for all."""
        return None if self.active is None else self.body.f.first_lanes(self.active, self.lanes)

    def _touched(self, access: Access) -> int | None:
        """The active lanes, or None where the others may be touched: a temporary owns all of its last cache line.

        The next kernel need not wait then: processors do not forward masked stores to loads.
        """
        buffer, vector = self.body.plan.buffers[access.buffer], self.body.vector
        if self.active is None or vector is None or buffer.role != "temporary" or access.dynamic:
            return self.active
        start = self.indices[vector].number
        if start is None or any(stride != (axis == vector) for axis, stride in enumerate(access.strides)):
            return self.active
        first = access.offset + int(start)
        room = whole_lines(buffer.nbytes) // buffer.dtype.size
        return None if first + self.active == buffer.size and first + self.lanes <= room else self.active

    def _vector_stride(self, access: Access) -> int | None:
        """The distance between lanes, None if it is known only when the program runs."""
        if any(self.body.variation.varying[term.instruction] for term in access.dynamic):
            return None
        return 0 if self.body.vector is None else access.strides[self.body.vector]

    def _address(self, access: Access) -> Value:
        """Where the element of lane 0 lies, but for dynamic terms that vary."""
        element = self.body.plan.buffers[access.buffer].dtype.name
        address = self.pointers[place(access)].at(access.offset, element)
        for term in access.dynamic:
            if self.lanes == 1 and self.body.variation.varying[term.instruction]:
                address = address.at(self._distance(term), element)
        return address

    def _addresses(self, access: Access, type: Type) -> Value:
        offsets = None
        for term in access.dynamic:
            if self.body.variation.varying[term.instruction]:
                distance = self._distance(term)
                offsets = distance if offsets is None else offsets + distance
        stride = 0 if self.body.vector is None else access.strides[self.body.vector]
        if stride and offsets is not None:
            offsets = offsets + self.body.f.vector(range(0, stride * type.lanes, stride), "int64")
        assert offsets is not None
        return self._address(access).at(offsets, type.element)

    def _reversed(self, access: Access, type: Type) -> tuple[Value, Value | None]:
        """Where a vector lies that is stored backwards, and the mask of its active lanes, which are the last ones."""
        first = self._address(access).at(1 - type.lanes, type.element)
        if self.active is None:
            return first, None
        return first, self.body.f.vector([lane >= type.lanes - self.active for lane in range(type.lanes)], "bool")
