"""The loop: a body graph that runs step after step, with state carried from each step to the next.

A run of a loop has many results: the states behind its last step, and of any vertex of the body the values at all
steps, stacked. Each result is a vertex of its own; vertices that say the same but for which result they are belong to
one run (`Run`), and whoever evaluates a graph runs it once. So what a derivative needs of the forward loop is one more
result of it, and what nobody asks for is not stacked. A third kind of result is for passes alone: the products of two
vertices, as gradients of weights are, summed over steps and rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..graph.graph import Graph, topological_order
from ..graph.primitive import Invalid, Primitive, Sample, register
from ..graph.vertex import Vertex, apply, make_vertex
from ..types import TensorType, as_dtype, float32, float64, tensor_type
from .arithmetic import add, multiply
from .comparison import less, where
from .elementwise import TANH, absolute
from .source import constant, make_input, zeros_like

Array = np.ndarray[Any, Any]
Step = Callable[[list[Array]], Sequence[Array]]
"""From the values of a body's inputs at a step to its next carries and what is stacked."""
Matmul = Callable[[Array, Array], Array]
PullBack = Callable[[Sequence[Vertex], Sequence[Vertex], Sequence[Vertex]], list[Vertex | None]]
"""From roots, their cotangents and leaves to the gradients of the leaves: `chainrule.autodiff.reverse.pull_back`."""


def _type_rule(
    *types: TensorType,
    body: Graph,
    carries: int,
    xs: int,
    length: int,
    reverse: bool,
    recompute: bool,
    result: str,
    number: int | tuple[int, int, int],
) -> TensorType:
    if len(types) != len(body.inputs) or not carries + xs <= len(types) or not carries <= len(body.outputs):
        raise ArgumentError(
            f"a loop with {carries} carries and {xs} inputs per step got {len(types)} operands for a body of "
            f"{len(body.inputs)} inputs and {len(body.outputs)} outputs"
        )
    for position, (type, inside) in enumerate(zip(types, body.inputs, strict=True)):
        is_per_step = carries <= position < carries + xs
        expected = tensor_type(inside.dtype, (length, *inside.shape)) if is_per_step else inside.type
        if type is not expected:
            raise ShapeError(f"operand {position} of a loop of {length} steps is {type}, its body expects {expected}")
    for position in range(carries):
        before, after = body.inputs[position].type, body.outputs[position].type
        if before is not after:
            raise ShapeError(f"carry {position} of a loop is {before} before a step and {after} behind it")
    if isinstance(number, tuple):
        left, right, parts = number
        one, other = body.members[left], body.members[right]
        return tensor_type(other.dtype, (parts, one.shape[1], other.shape[1]))
    if result == "carry" and 0 <= number < carries:
        return types[number]
    if result == "stack" and 0 <= number < len(body.members):
        member = body.members[number]
        return tensor_type(member.dtype, (length, *member.shape))
    raise ArgumentError(f"a loop with {carries} carries has no result {result} {number}")


class Run(NamedTuple):
    """One run of a loop: what the vertices of its results have in common.

    ``operands``: the first values of the carries, what is read step by step (stacked along its first axis), and what
    is the same at all steps, in the order of the body's inputs. The body's outputs begin with the next carries.
    ``reverse``: the steps go from the last elements of stacks to the first. ``recompute``: the derivative of a step
    computes the step again from what it was given, instead of having all of it stacked; then nothing is moved out of
    the loop that would be stacked.
    """

    operands: tuple[Vertex, ...]
    body: Graph
    carries: int
    xs: int
    length: int
    reverse: bool
    recompute: bool = False

    @classmethod
    def of(cls, result: Vertex) -> Run:
        """The run that a vertex is a result of."""
        shared = (value for name, value in result.attributes.items() if name not in ("result", "number"))
        return cls(result.inputs, *shared)

    def carry(self, number: int) -> Vertex:
        """The state behind the last step."""
        return self._result("carry", number)

    def stack(self, member: Vertex) -> Vertex:
        """The values of a vertex of the body at all steps."""
        return self._result("stack", self.body.members.index(member))

    def _result(self, result: str, number: int) -> Vertex:
        attributes = {**self._asdict(), "result": result, "number": number}
        operands = attributes.pop("operands")
        return apply(LOOP, *operands, **attributes)

    def step(self, stacked: Iterable[int]) -> Graph:
        """One step as a graph: from the body's inputs to the next carries and these members of the body."""
        next_carries = self.body.outputs[: self.carries]
        return Graph(self.body.inputs, (*next_carries, *(self.body.members[number] for number in stacked)))

    def evaluate(
        self, results: Sequence[Vertex], operands: Sequence[Array], step: Step, matmul: Matmul = np.matmul
    ) -> list[Array]:
        """The values of results, where ``step`` computes the graph that `step` gives for `stacked_numbers`."""
        first, last = self.carries, self.carries + self.xs
        state, stacked, fixed = [*operands[:first]], operands[first:last], operands[last:]
        members = [self.body.members[number] for number in stacked_numbers(results)]
        stacks = [np.empty((self.length, *each.shape), each.dtype.numpy) for each in members]
        for t in range(self.length)[:: -1 if self.reverse else 1]:
            values = step([*state, *(x[t, ...] for x in stacked), *fixed])
            state = [*values[:first]]
            for stack, value in zip(stacks, values[first:], strict=True):
                stack[t] = value
        return self.values(results, operands, state, stacks, matmul)

    def values(
        self,
        results: Sequence[Vertex],
        operands: Sequence[Array],
        carries: Sequence[Array],
        stacks: Sequence[Array],
        matmul: Matmul,
    ) -> list[Array]:
        """The values of results, given the last carries and the stacks of `stacked_numbers`."""
        known = dict(enumerate(operands[: self.carries + self.xs])) | dict(
            zip(stacked_numbers(results), stacks, strict=True)
        )

        def value(result: Vertex) -> Array:
            kind, number = result.attributes["result"], result.attributes["number"]
            if kind == "carry":
                return carries[number]
            if kind == "stack":
                return known[number]
            left, right, parts = number
            pairs = zip(self._by_parts(known[left], parts), self._by_parts(known[right], parts), strict=True)
            return np.stack([matmul(one.T, other) for one, other in pairs])

        return [value(result) for result in results]

    def _by_parts(self, stack: Array, parts: int) -> Iterator[Array]:
        """The rows of each part at all steps, in the order in which the steps are run; copies, one at a time."""
        steps, rows, columns = stack.shape
        cut = stack[:: -1 if self.reverse else 1].reshape(steps, parts, rows // parts, columns)
        return (cut[:, number].reshape(-1, columns) for number in range(parts))


def find_runs(order: Iterable[Vertex]) -> dict[Run, list[Vertex]]:
    """The runs of all loops among vertices, each with its results in order."""
    found: dict[Run, list[Vertex]] = {}
    for vertex in order:
        if vertex.primitive is LOOP:
            found.setdefault(Run.of(vertex), []).append(vertex)
    return found


def stacked_numbers(results: Iterable[Vertex]) -> list[int]:
    """The numbers, in the body, of what results of a run stack, and then of what else their products need stacked."""
    stacks, factors = list[int](), list[int]()
    for result in results:
        number, first = result.attributes["number"], result.attributes["carries"]
        if result.attributes["result"] == "stack":
            stacks.append(number)
        elif result.attributes["result"] == "product":
            given = range(first, first + result.attributes["xs"])
            factors += [factor for factor in number[:2] if factor not in given]
    return [*stacks, *(factor for factor in dict.fromkeys(factors) if factor not in stacks)]


def _reference(*operands: Array, result: str, number: int, **attributes: Any) -> Array:
    inputs = tuple(make_input(tensor_type(as_dtype(x.dtype), x.shape)) for x in operands)
    vertex = make_vertex(LOOP, inputs, {**attributes, "result": result, "number": number})
    run = Run.of(vertex)
    graph = run.step(stacked_numbers([vertex]))

    def step(values: list[Array]) -> list[Array]:
        known = dict(zip(graph.inputs, values, strict=True))
        for each in graph.order():
            if each not in known:
                assert each.primitive.reference is not None
                inputs = [known[operand] for operand in each.inputs]
                known[each] = np.asarray(each.primitive.reference(*inputs, **each.attributes), each.dtype.numpy)
        return [known[output] for output in graph.outputs]

    return run.evaluate([vertex], operands, step)[0]


def loop_vjp(
    gradients: Sequence[Vertex], results: Sequence[Vertex], needed: Sequence[bool], pull_back: PullBack
) -> list[Vertex | None]:
    """The gradients of the operands of a run, given those of some of its results: a loop in the other direction.

    Its carries are the adjoints of the carries, 0 where they have vanished, and for each invariant the sum of its
    gradients so far. What its body reads of a forward step is stacked by the forward loop. ``needed``: of which
    operands a gradient is wanted.
    """
    run = Run.of(results[0])
    inputs, count = run.body.inputs, run.carries
    floats = [k for k in range(count) if inputs[k].dtype.is_floating_point]
    adjoints = {k: make_input(inputs[k].type) for k in floats}
    starts = {k: zeros_like(inputs[k]) for k in floats}
    roots, cotangents = [run.body.outputs[k] for k in floats], [*adjoints.values()]
    given: dict[Vertex, Vertex] = {}
    for gradient, result in zip(gradients, results, strict=True):
        number = result.attributes["number"]
        if result.attributes["result"] == "carry":
            starts[number] = gradient
        else:
            roots.append(run.body.members[number])
            cotangents.append(make_input(roots[-1].type))
            given[cotangents[-1]] = gradient
    leaves = [k for k in range(len(inputs)) if k in adjoints or (k >= count and needed[k])]
    pulled = zip(leaves, pull_back(roots, cotangents, [inputs[k] for k in leaves]), strict=True)
    found = {k: gradient for k, gradient in pulled if gradient is not None}
    per_step = [k for k in found if count <= k < count + run.xs]
    sums = {k: make_input(inputs[k].type) for k in found if k >= count + run.xs}
    outputs = [_fading(found[k]) if k in found else zeros_like(inputs[k]) for k in floats]
    outputs += [add(total, found[k]) for k, total in sums.items()] + [found[k] for k in per_step]
    carried = {adjoints[k]: starts[k] for k in floats} | {total: zeros_like(total) for total in sums.values()}
    backward = _reversed_run(run, outputs, carried, given)
    back: list[Vertex | None] = [None] * len(inputs)
    for place, k in enumerate([*floats, *sums]):
        back[k] = backward.carry(place)
    for place, k in enumerate(per_step, len(carried)):
        back[k] = backward.stack(backward.body.outputs[place])
    return back


def _fading(adjoint: Vertex) -> Vertex:
    """An adjoint, but 0 where it has vanished: below 2⁻¹⁰⁰ in single precision, 2⁻⁹⁹⁶ in double.

    A gradient that vanishes through time would go through subnormal numbers, on each of which many processors take a
    hundred times as long. The limit lies so far above these that what a step makes of an adjoint is none of them.
    """
    limit = constant(float(np.finfo(adjoint.dtype.numpy).smallest_normal) * 2.0**26, adjoint.dtype)
    return where(less(absolute(adjoint), limit), constant(0.0, adjoint.dtype), adjoint)


_VIEWS = ("reshape", "transpose", "broadcast", "slice", "flip")
# Operations that take less time than to load their result.
_CHEAP = (
    "add", "subtract", "multiply", "negative", "absolute", "where", "cast",
    "equal", "not_equal", "less", "less_equal", "logical_and", "logical_or", "logical_not",
)  # fmt: skip


def _reversed_run(
    run: Run, outputs: Sequence[Vertex], carried: dict[Vertex, Vertex], given: dict[Vertex, Vertex]
) -> Run:
    """The run, in the other direction, of a body with these outputs, which read vertices of the body of ``run``.

    ``carried`` maps inputs of the new body to the first values of its carries, ``given`` others to stacks. Vertices of
    the old body that depend on no step, views, and what follows cheaply from others are computed again; all others
    become inputs, stacked or invariant.
    """
    taken = _taken_over(run)
    for vertex in _following(run, taken, topological_order(outputs, taken)):
        del taken[vertex]
    _take_parts(run, taken, outputs)
    stacks, fixed, new = dict[Vertex, Vertex](), dict[Vertex, Vertex](), dict[Vertex, Vertex]()
    for vertex in topological_order(outputs, taken):
        if vertex in given:
            stacks[vertex] = given[vertex]
        if vertex in taken:
            slot = new[vertex] = make_input(vertex.type, site=vertex.site)
            position = taken[vertex]
            if position is None or position < run.carries:
                stacks[slot] = run.stack(vertex)
            else:
                (stacks if position < run.carries + run.xs else fixed)[slot] = run.operands[position]
        else:
            inputs = tuple(new[operand] for operand in vertex.inputs)
            is_same = inputs == vertex.inputs
            new[vertex] = vertex if is_same else make_vertex(vertex.primitive, inputs, vertex.attributes, vertex.site)
    body = Graph((*carried, *stacks, *fixed), tuple(new[output] for output in outputs))
    operands = (*carried.values(), *stacks.values(), *fixed.values())
    return Run(operands, body, len(carried), len(stacks), run.length, not run.reverse, run.recompute)


def _taken_over(run: Run) -> dict[Vertex, int | None]:
    """What a reversed body does not compute again of a body: with the position of inputs, None for other vertices."""
    positions = {vertex: position for position, vertex in enumerate(run.body.inputs)}
    if run.recompute:
        return dict(positions)
    is_fixed = {vertex: position >= run.carries + run.xs for vertex, position in positions.items()}
    taken: dict[Vertex, int | None] = {}
    for vertex in run.body.members:
        if vertex in positions:
            taken[vertex] = positions[vertex]
        else:
            is_fixed[vertex] = all(is_fixed[operand] for operand in vertex.inputs)
            if not is_fixed[vertex] and vertex.primitive.name not in _VIEWS:
                taken[vertex] = None
    return taken


def _following(run: Run, taken: dict[Vertex, int | None], order: Sequence[Vertex]) -> list[Vertex]:
    """What a reversed body need not take over: one cheap operation gives it from what the body reads anyway.

    Stacking a vertex costs a store and a load, at each step, that may go to memory.
    """
    read = {vertex for vertex in order if vertex in taken}
    known = {vertex for vertex, position in taken.items() if position is not None and position >= run.carries}
    following = list[Vertex]()
    for vertex in run.body.members:
        is_known = all(operand in known for operand in vertex.inputs)
        if vertex in read and taken[vertex] is None and is_known and vertex.primitive.name in _CHEAP:
            following.append(vertex)
        if vertex in read or (vertex not in taken and is_known):
            known.add(vertex)
    return following


def _take_parts(run: Run, taken: dict[Vertex, int | None], outputs: Sequence[Vertex]) -> None:
    """Take over, of a vertex that is no input, only the slices that are read of it, where these are less."""
    members = set(run.body.members)
    readers: dict[Vertex, list[Vertex]] = {}
    for vertex in topological_order(outputs, taken):
        for operand in vertex.inputs if vertex not in taken else ():
            readers.setdefault(operand, []).append(vertex)
    for operand, parts in readers.items():
        if operand in taken and taken[operand] is None and operand not in outputs:
            are_slices = all(part.primitive.name == "slice" and part in members for part in parts)
            if are_slices and sum(part.type.size for part in parts) < operand.type.size:
                del taken[operand]
                taken.update(dict.fromkeys(parts))


def _samples(rng: np.random.Generator) -> list[Sample]:
    """h' = tanh(h ⊙ w + x), forwards and backwards, the last state and all; no steps; a state without inputs."""

    def sample(xs: int, length: int, reverse: bool, result: str, recompute: bool = False) -> Sample:
        h, x, w = (make_input(tensor_type(float64, (3,))) for _ in range(3))
        after = apply(TANH, add(multiply(h, w), x)) if xs else multiply(apply(TANH, h), w)
        body = Graph((h, x, w) if xs else (h, w), (after,))
        number = 0 if result == "carry" else body.members.index(after)
        attributes = {
            "body": body, "carries": 1, "xs": xs, "length": length, "reverse": reverse, "recompute": recompute,
            "result": result, "number": number,
        }  # fmt: skip
        shapes = ((3,), (length, 3), (3,)) if xs else ((3,), (3,))
        return Sample(tuple(rng.normal(size=shape) for shape in shapes), attributes)

    return [
        sample(1, 4, False, "carry"), sample(1, 4, False, "stack"), sample(1, 3, True, "stack"),
        sample(1, 1, True, "carry"), sample(1, 0, False, "carry"), sample(1, 0, False, "stack"),
        sample(0, 5, False, "stack"), sample(1, 4, False, "stack", True),
    ]  # fmt: skip


def _invalid() -> tuple[Invalid, ...]:
    vector, number = tensor_type(float32, (3,)), tensor_type(float32, ())
    h, x = make_input(vector), make_input(vector)
    shared = {"carries": 1, "xs": 1, "length": 2, "reverse": False, "recompute": False, "result": "carry", "number": 0}
    body, growing = Graph((h, x), (add(h, x),)), Graph((h, x), (make_input(number),))
    stack = tensor_type(float32, (2, 3))
    return (
        Invalid((vector,), "1 operands for a body of 2 inputs", {"body": body, **shared}),
        Invalid((vector, vector), "its body expects float32[2,3]", {"body": body, **shared}),
        Invalid((vector, stack), "behind it", {"body": growing, **shared}),
        Invalid((vector, stack), "no result carry 1", {"body": body, **shared, "number": 1}),
    )


LOOP = register(
    Primitive(
        name="loop",
        family="loop",
        meaning="`length` steps s ← body(s, xs[t], invariants) from the carries s on, backwards in t if `reverse`; its "
        "result is carry `number` behind the last step, or what vertex `number` of the body was at each step, stacked, "
        "or with `number` (l, r, parts), for each of equal parts of the rows, the sum over them and all steps of l' r",
        attributes=("body", "carries", "xs", "length", "reverse", "recompute", "result", "number"),
        type_rule=_type_rule,
        reference=_reference,
        vjp=loop_vjp,
        native="loop",
        xla="scan",
        samples=_samples,
        invalid=_invalid(),
        cost=lambda out, *types: out.size,
    )
)
