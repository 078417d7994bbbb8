"""What the tests of optimisers share."""

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def torch_in_double() -> Iterator[Any]:
    """torch, whose optimisers keep even their own numbers in float64."""
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(before)
