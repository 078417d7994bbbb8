"""Control flow of the kernel language: counted loops, loops until a condition, conditional parts; all carry values.

Made by ``Function.loop``, ``Function.repeat`` and ``Function.when``; see ``language``.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from chainrule.backends.native.value import POINTER, Value

if TYPE_CHECKING:
    from chainrule.backends.native.language import Function


class Region:
    """A part of the body: values carried in (``values``), handed on by ``next``, available afterwards (``results``)."""

    def __init__(self, function: Function, carried: Sequence[Value], name: str) -> None:
        self.function = function
        self.values = list(carried)
        self.results: list[Value] = []
        self.carried = list(carried)
        self.following: list[Value] | None = None if carried else []
        self.body = function.unique(f"{name}.body")
        self.end = function.unique(f"{name}.end")
        self.name = name

    def next(self, values: Sequence[Value]) -> None:
        """The carried values for the next round, or as results."""
        if [value.type for value in values] != [value.type for value in self.carried]:
            raise TypeError(f"{self.name}: next got {list(values)}, expected the types of the carried {self.carried}")
        # Frozen, because loop strength reduction on carried pointers can take most of the time of code generation.
        self.following = [value.freeze() if value.type == POINTER else value for value in values]

    def handed_on(self) -> list[Value]:
        """What the body gave to ``next``."""
        if self.following is None:
            raise ValueError(f"{self.name}: the body carries {len(self.carried)} values and must call next([...])")
        return self.following

    def phis(self, targets: Sequence[Value], *sources: tuple[Sequence[Value], str]) -> list[str]:
        """``targets[i]`` is the i-th value of the list that belongs to the block control came from."""
        return [
            f"  {target.text} = phi {target.type.ir} "
            + ", ".join(f"[{values[i].text}, %{block}]" for values, block in sources)
            for i, target in enumerate(targets)
        ]

    def fresh(self, values: Sequence[Value], name: str) -> list[Value]:
        """New values of the same types, to be defined by phis."""
        return [Value(self.function, value.type, "%" + self.function.unique(name)) for value in values]

    def merge(self, skipped_from: str) -> None:
        """Start the end block, reached from the body and, skipping it, from another block."""
        function, last = self.function, self.function.block
        self.results = self.fresh(self.carried, f"{self.name}.result")
        function.start_block(self.end)
        function.lines += self.phis(self.results, (self.carried, skipped_from), (self.handed_on(), last))


class When(Region):
    """See ``Function.when``."""

    def __init__(self, function: Function, carried: Sequence[Value], name: str, condition: Value) -> None:
        super().__init__(function, carried, name)
        self.condition = condition

    def __enter__(self) -> When:
        self.before = self.function.block
        self.function.branch(self.condition, self.body, self.end)
        self.function.start_block(self.body)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.function.jump(self.end)
            self.merge(self.before)


class Repeat(Region):
    """See ``Function.repeat``."""

    until: Value | None = None

    def __enter__(self) -> Repeat:
        function = self.function
        self.before = function.block
        function.jump(self.body)
        function.start_block(self.body)
        self.values = self.fresh(self.carried, self.name)
        self.phi_line = len(function.lines)
        function.lines.append("")
        return self

    def next(self, values: Sequence[Value], until: Value | None = None) -> None:
        """The carried values for the next round, and the condition that ends the loop after this one."""
        super().next(values)
        self.until = until

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            return
        if self.until is None:
            raise ValueError(f"{self.name}: the body of repeat must call next([...], until=condition)")
        function, self.results = self.function, self.handed_on()
        function.lines[self.phi_line] = "\n".join(
            self.phis(self.values, (self.carried, self.before), (self.results, function.block))
        )
        function.branch(self.until, self.end, self.body)
        function.start_block(self.end)


class Loop(Region):
    """See ``Function.loop``."""

    def __init__(
        self, function: Function, start: Value, stop: Value, step: int, carried: Sequence[Value], name: str
    ) -> None:
        super().__init__(function, carried, name)
        if step < 1:
            raise ValueError(f"loop {name}: step is {step}, expected 1 or more")
        self.index, self.start, self.stop, self.step = start, start, stop, step
        self.rounds: int | None = None  # unknown
        if start.number is not None and stop.number is not None:
            self.rounds = max(0, -((int(start.number) - int(stop.number)) // step))

    def __enter__(self) -> Loop:
        function = self.function
        self.before, self.mark = function.block, len(function.lines)
        if self.rounds is not None and self.rounds < 2:
            return self
        if self.rounds is None:
            function.branch(self.start < self.stop, self.body, self.end)
        else:
            function.jump(self.body)
        function.start_block(self.body)
        self.index, *self.values = self.fresh([self.start, *self.carried], self.name)
        self.phi_line = len(function.lines)
        function.lines.append("")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            return
        function, following = self.function, self.handed_on()
        if self.rounds == 0:
            del function.lines[self.mark :]
            function.block, self.results = self.before, self.carried
        elif self.rounds == 1:
            self.results = following
        else:
            index = self.index + self.step
            rounds = ([self.start, *self.carried], self.before), ([index, *following], function.block)
            function.lines[self.phi_line] = "\n".join(self.phis([self.index, *self.values], *rounds))
            function.branch(index < self.stop, self.body, self.end)
            if self.rounds is None:
                self.merge(self.before)
            else:
                self.results = following
                function.start_block(self.end)
