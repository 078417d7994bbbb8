"""Index maps of views, compared with NumPy's strides."""

import numpy as np
import pytest

from chainrule.graph.primitive import PRIMITIVES
from chainrule.graph.vertex import apply
from chainrule.ops.movement import broadcast, reshape, slice_, transpose
from chainrule.ops.source import make_input
from chainrule.passes.access import as_permutation, core, find_base, identity_map, is_alias, is_row_major, locate
from chainrule.types import contiguous_strides, float64, tensor_type

X = make_input(tensor_type(float64, (4, 1, 6)))


def flip(x, *axes):
    return apply(PRIMITIVES["flip"], x, axes=axes)


VIEWS = {
    "itself": X,
    "transpose": transpose(X, (2, 0, 1)),
    "broadcast": broadcast(X, (2, 4, 3, 6)),
    "slice": slice_(X, (1, 0, 0), (4, 1, 5), (2, 1, 3)),
    "flip": flip(X, 0, 2),
    "unit axes": reshape(X, (1, 4, 6, 1)),
    "all": slice_(
        flip(transpose(broadcast(reshape(X, (4, 6)), (2, 4, 6)), (2, 0, 1)), 0), (1, 0, 1), (5, 2, 3), (3, 1, 1)
    ),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_affine(name):
    view = VIEWS[name]
    base, index = find_base(view, identity_map(view.shape))
    assert base is X
    memory = np.arange(24.0)
    values = {X: memory.reshape(X.shape)}

    def value(vertex):
        if vertex not in values:
            values[vertex] = vertex.primitive.reference(value(vertex.inputs[0]), **vertex.attributes)
        return values[vertex]

    domain = core(view.shape)
    offset, strides = locate(index, contiguous_strides(X.shape), 0, len(domain))
    addresses = offset + sum((s * i for s, i in zip(strides, np.indices(domain), strict=True)), np.zeros(domain, int))
    np.testing.assert_array_equal(memory[addresses], value(view).reshape(domain))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("itself", (0, 1)), ("transpose", (1, 0)), ("unit axes", (0, 1)), ("broadcast", None), ("slice", None),
     ("flip", None)],
)  # fmt: skip
def test_points_of_views_that_meet_each_element_once(name, expected):
    view = VIEWS[name]
    _, index = find_base(view, identity_map(view.shape))
    assert as_permutation(index, X.shape, core(view.shape)) == expected


def test_a_slice_from_the_start_does_not_meet_every_element():
    view = slice_(X, (0, 0, 0), (4, 1, 5), (1, 1, 1))
    _, index = find_base(view, identity_map(view.shape))
    assert as_permutation(index, X.shape, core(view.shape)) is None


def test_reshapes_that_join_axes_are_aliases():
    joined = reshape(X, (24,))
    assert is_alias(joined) and not is_alias(VIEWS["unit axes"])
    assert find_base(joined, identity_map((24,)))[0] is joined


def test_row_major_ignores_strides_of_single_elements():
    assert is_row_major((4, 1, 6), (6, 99, 1)) and is_row_major((4, 6), None)
    assert not is_row_major((4, 6), (1, 4))
