"""Switching the recording of gradients off and on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import TracebackType
from typing import Any

from .segment import state


class _GradMode:
    """A context manager, also a decorator, that sets whether gradients are recorded."""

    def __init__(self, is_enabled: bool) -> None:
        self.is_enabled = is_enabled
        self.previous: list[bool] = []

    def __enter__(self) -> None:
        self.previous.append(state.is_grad_enabled)
        state.is_grad_enabled = self.is_enabled

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        state.is_grad_enabled = self.previous.pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*arguments: Any, **options: Any) -> Any:
            with _GradMode(self.is_enabled):
                return function(*arguments, **options)

        return wrapped


class _GradModeFromHereOn(_GradMode):
    """The mode is set at once; leaving the context brings back what was before."""

    def __init__(self, is_enabled: bool) -> None:
        super().__init__(is_enabled)
        super().__enter__()

    def __enter__(self) -> None:
        state.is_grad_enabled = self.is_enabled


def _mode(is_enabled: bool, function: Callable[..., Any] | None) -> Any:
    mode = _GradMode(is_enabled)
    return mode if function is None else mode(function)


def no_grad(function: Callable[..., Any] | None = None) -> Any:
    """Within this context, or in the decorated function, nothing records gradients."""
    return _mode(False, function)


def enable_grad(function: Callable[..., Any] | None = None) -> Any:
    """Within this context, or in the decorated function, gradients are recorded again."""
    return _mode(True, function)


def inference_mode(mode: Any = True) -> Any:
    """As `no_grad`; as a context with ``mode=False``, gradients are recorded. Also a decorator."""
    return _mode(False, mode) if callable(mode) else _GradMode(not mode)


def set_grad_enabled(mode: bool) -> Any:
    """Record gradients or not, from here on or within the context."""
    return _GradModeFromHereOn(mode)


def is_grad_enabled() -> bool:
    """Whether gradients are being recorded."""
    return state.is_grad_enabled
