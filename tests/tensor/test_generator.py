"""Random numbers that are drawn at once."""

from collections.abc import Callable
from typing import Any

import pytest

import chainrule as cr
from chainrule.errors import CaptureError

DRAWS = [lambda: cr.randn(2), lambda: cr.rand(2), lambda: cr.randperm(3), lambda: cr.randint(0, 5, (2,))]


@pytest.mark.parametrize("draw", DRAWS)
def test_numbers_that_a_captured_function_would_repeat_are_refused(draw: Callable[[], Any]) -> None:
    compiled = cr.compile(lambda x: x + draw().sum())
    with pytest.raises(CaptureError, match=r"(?s)same ones in every run.*fix: draw them outside"):
        compiled(cr.zeros(2))
    assert draw() is not None
