"""State as JSON and arrays: what comes back is what went in, to the bit, and nothing is guessed."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

import chainrule as cr
from chainrule.errors import ModelFileError
from chainrule.files.archive import pack_arrays, unpack_arrays
from chainrule.files.state import pack_state, unpack_state

numbers = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())
arrays = arrays_of.arrays(st.sampled_from([np.float32, np.float64, np.uint64, np.bool_]), st.just((2, 3)))
states = st.recursive(
    numbers | arrays,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return isinstance(other, float) and (one == other or (math.isnan(one) and math.isnan(other)))
    return type(one) is type(other) and bool(one == other)


@settings(max_examples=50, deadline=None)
@given(states)
def test_state_comes_back_from_a_file(state: Any) -> None:
    document, found = pack_state(state)
    text = json.dumps(document, allow_nan=False)
    assert same(unpack_state(json.loads(text), unpack_arrays(pack_arrays(found), "file")), state)


def test_tensors_come_back_as_arrays() -> None:
    document, found = pack_state({"weights": [cr.ones(2)]})
    assert unpack_state(document, found)["weights"][0].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": [1, object()]}, "state.a.1 cannot be stored: it is a object"),
        ({"a": {2.5: 1}}, "state.a cannot be stored: its key 2.5"),
        (np.array(["text"]), "state cannot be stored: it is a ndarray"),
        (len, "it is a builtin_function_or_method"),
    ],
)
def test_what_cannot_be_stored_is_named(state: Any, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        pack_state(state)


@pytest.mark.parametrize("document", [{"array": "gone"}, {"number": "x"}, {"what": 1}, {}, {"entries": [1]}])
def test_a_damaged_document_is_refused(document: Any) -> None:
    with pytest.raises(ModelFileError, match="the stored state is damaged"):
        unpack_state(document, {})
