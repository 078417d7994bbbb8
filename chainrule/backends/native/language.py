"""The kernel language: Python that reads like the loop it emits, printed as textual LLVM IR.

No optimisation pipeline runs afterwards, so the IR must be good as emitted: explicit vectors, loop-carried values as
phis. Example, a scaled sum over rows of 1000 float32 (task = row):

    module = Module(host_target())
    with module.function("row_sums", KERNEL_ARGUMENTS) as f:
        buffers, begin, end, worker = f.arguments
        source, target = f.load_pointer(buffers, 0), f.load_pointer(buffers, 1)
        vector = Type("float32", 8)
        with f.loop(begin, end, name="row") as row:
            first = source.at(row.index * 1000, "float32")
            with f.loop(0, 1000, 8, carried=[f.constant(0.0, vector)], name="column") as column:
                x = f.load(first.at(column.index, "float32"), vector)
                column.next([x.fma(0.5, column.values[0])])
            f.store(column.results[0].sum(), target.at(row.index, "float32"))
    library = compile_module(str(module), module.target)          # jit.py
    address = library.address("row_sums")

The pieces: ``Type(element, lanes)``; ``Value`` with operators (``value.py``: arithmetic, comparisons, ``select``,
``cast``, ``fma``, ``maximum``, lanes, ``sum``, pointers by ``at``); ``Function`` with memory, constants, control flow
(``control.py``) and calls. Rules worth knowing:

* Python numbers and scalars mix with vectors; element types never mix without ``cast``.
* Arithmetic on index scalars with known values is done while emitting; loops known to run once or never leave no loop.
* Loads and stores assume the alignment of one element only; a bool is one byte in memory and a mask (i1) in registers.
* Float arithmetic has no fast-math flags, so that fused and separate kernels agree bit for bit: ask for ``fma`` where
  wanted, or put sums whose order may change under ``with f.flags("reassoc contract"):``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import overload

from chainrule.backends.native.control import Loop, Repeat, When
from chainrule.backends.native.cpu import Target
from chainrule.backends.native.value import (
    BYTES,
    FLOATS,
    INDEX,
    LLVM_ELEMENTS,
    POINTER,
    Number,
    Type,
    Value,
    constant_text,
)

__all__ = [
    "BYTES",
    "FLOATS",
    "INDEX",
    "KERNEL_ARGUMENTS",
    "POINTER",
    "Function",
    "Module",
    "Number",
    "Target",
    "Type",
    "Value",
]

Argument = tuple[str, Type]

KERNEL_ARGUMENTS: list[Argument] = [("buffers", POINTER), ("begin", INDEX), ("end", INDEX), ("worker", INDEX)]
"""What every kernel is given: an array of buffer addresses, its tasks [begin, end), and the index of its thread."""


class Module:
    """One LLVM module under construction; ``str(module)`` is its text."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._globals: list[str] = []
        self._declarations: dict[str, str] = {}
        self._functions: dict[str, str] = {}

    def __str__(self) -> str:
        return "\n".join([*self._globals, *self._declarations.values(), *self._functions.values(), ""])

    @contextmanager
    def function(
        self,
        name: str,
        arguments: Sequence[Argument],
        returns: Type | None = None,
        *,
        exported: bool = True,
        noalias: bool = False,
    ) -> Iterator[Function]:
        """Define a function; exported ones have an address in the library, others can only be called in the module.

        ``noalias`` promises that no two pointer arguments reach the same written memory. A body that ends without
        ``return_value`` returns nothing.
        """
        function = Function(self, name, arguments, returns)
        yield function
        if name in self._functions or name in self._declarations:
            raise ValueError(f"function {name!r} is already in this module: choose another name")
        self._functions[name] = function.text(exported, noalias)

    def defines(self, name: str) -> bool:
        """Whether the module has a function, table or zeros of that name."""
        return name in self._functions or any(line.startswith(f"@{name} ") for line in self._globals)

    def declare(self, name: str, arguments: Sequence[Type], returns: Type | None = None) -> None:
        """Make a function of the process (libm, libc) callable; repeating a declaration is harmless."""
        if name in self._functions:
            raise ValueError(f"function {name!r} cannot be declared, this module defines it: rename the definition")
        if name not in self._declarations:
            types = ", ".join(type.ir for type in arguments)
            self._declarations[name] = f"declare {_ir(returns)} @{name}({types})"

    def table(self, name: str, element: str, values: Sequence[Number]) -> None:
        """A constant array, aligned to 64 bytes; its address is ``f.global_pointer(name)``."""
        stored = "uint8" if element == "bool" else element
        unit = LLVM_ELEMENTS[stored]
        items = ", ".join(f"{unit} {constant_text(value, stored)}" for value in values)
        self._globals.append(f"@{name} = internal constant [{len(values)} x {unit}] [{items}], align 64")

    def zeros(self, name: str, bytes: int) -> None:
        """Writable memory of the module, zero at first, aligned to 64 bytes; address: ``f.global_pointer(name)``."""
        self._globals.append(f"@{name} = internal global [{bytes} x i8] zeroinitializer, align 64")


class Function:
    """The body of one function: instructions are appended where the builder stands."""

    def __init__(self, module: Module, name: str, arguments: Sequence[Argument], returns: Type | None) -> None:
        self.module = module
        self.name = name
        self.returns = returns
        self.arguments = [Value(self, type, f"%{argument}") for argument, type in arguments]
        self.fast_math = ""
        self.block = "entry"
        self.lines: list[str] = []
        self._allocations: list[str] = []
        self._constants: dict[tuple[str, Number | str], Value] = {}
        self._count = 0
        self._returned = False

    def text(self, exported: bool, noalias: bool) -> str:
        """The whole definition."""
        pointer = "ptr noalias" if noalias else "ptr"
        arguments = ", ".join(f"{pointer if a.type == POINTER else a.type.ir} {a.text}" for a in self.arguments)
        head = (
            f"define {'' if exported else 'internal '}{_ir(self.returns)} @{self.name}({arguments}) nounwind {{\nentry:"
        )
        if not self._returned and self.returns is not None:
            raise ValueError(f"function {self.name!r} is declared to return {self.returns.ir}: end with return_value")
        end = [] if self._returned else ["  ret void"]
        return "\n".join([head, *self._allocations, *self.lines, *end, "}"])

    def unique(self, name: str) -> str:
        """A name that the function has not used yet."""
        self._count += 1
        return f"{name}.{self._count}"

    def emit(self, name: str, type: Type, instruction: str) -> Value:
        """Append an instruction with a result."""
        self._count += 1
        text = f"%{name}.{self._count}"
        self.lines.append(f"  {text} = {instruction}")
        return Value(self, type, text)

    # Constants

    def constant(self, number: Number, type: Type) -> Value:
        """The same number in every lane, rounded to the element type."""
        key = (type.ir, number if number else repr(number))  # 0.0 == -0.0
        known = self._constants.get(key)
        if known is None:
            known = self._constants[key] = self._new_constant(number, type)
        return known

    def _new_constant(self, number: Number, type: Type) -> Value:
        text = "null" if type.element == "pointer" else constant_text(number, type.element)
        if type.lanes > 1:
            text = f"splat ({LLVM_ELEMENTS[type.element]} {text})"
        return Value(self, type, text, number)

    def vector(self, numbers: Sequence[Number], element: str) -> Value:
        """A constant with its own number in every lane."""
        items = ", ".join(f"{LLVM_ELEMENTS[element]} {constant_text(number, element)}" for number in numbers)
        return Value(self, Type(element, len(numbers)), f"<{items}>")

    def index(self, number: int | Value) -> Value:
        """An index (int64) constant; values pass through."""
        return number if isinstance(number, Value) else Value(self, INDEX, str(number), number)

    def iota(self, lanes: int, element: str = "int64") -> Value:
        """0, 1, 2, ... in the lanes."""
        return self.constant(0, Type(element)) if lanes == 1 else self.vector(range(lanes), element)

    def global_pointer(self, name: str) -> Value:
        """Address of a table, of zeros, or of a function of the module."""
        return Value(self, POINTER, f"@{name}")

    # Memory

    def allocate(self, element: str, count: int, align: int = 64) -> Value:
        """Uninitialised stack memory for ``count`` elements, once per call of the function wherever it is asked for."""
        text = f"%{self.unique('stack')}"
        unit = LLVM_ELEMENTS["uint8" if element == "bool" else element]
        self._allocations.append(f"  {text} = alloca [{count} x {unit}], align {align}")
        return Value(self, POINTER, text)

    def load(self, pointer: Value, type: Type, active: int | Value | None = None, align: int | None = None) -> Value:
        """Load consecutive elements.

        ``active`` restricts it to some lanes, the others are 0 and their memory is not touched: a number of leading
        lanes known now, or a mask. ``align`` is in bytes, by default the size of one element.
        """
        stored = _stored(type)
        align = align or BYTES[type.element]
        mask = self._active_mask(active, type.lanes)
        if mask is None:
            value = self.emit("load", stored, f"load {stored.ir}, {pointer!r}, align {align}")
        else:
            name = f"{stored.ir} @llvm.masked.load.{stored.mangled}.p0"
            self._declare_masked("load", stored, f"{name}(ptr, i32, {mask.type.ir}, {stored.ir})")
            arguments = f"{pointer!r}, i32 {align}, {mask!r}, {stored.ir} zeroinitializer"
            value = self.emit("load", stored, f"call {name}({arguments})")
        return value.not_equal(0) if type.element == "bool" else value

    def store(self, value: Value, pointer: Value, active: int | Value | None = None, align: int | None = None) -> None:
        """Store to consecutive elements; ``active`` and ``align`` as in ``load``, inactive lanes keep their memory."""
        mask = self._active_mask(active, value.lanes)
        align = align or BYTES[value.type.element]
        value = value.zero_extend("uint8") if value.type.element == "bool" else value
        if mask is None:
            self.lines.append(f"  store {value!r}, {pointer!r}, align {align}")
        else:
            name = f"@llvm.masked.store.{value.type.mangled}.p0"
            self._declare_masked("store", value.type, f"void {name}({value.type.ir}, ptr, i32, {mask.type.ir})")
            self.lines.append(f"  call void {name}({value!r}, {pointer!r}, i32 {align}, {mask!r})")

    def gather(self, pointers: Value, element: str, mask: Value | None = None) -> Value:
        """Load one element from every lane's address (``base.at(index_vector, element)``); 0 where not ``mask``."""
        type = Type(element, pointers.lanes)
        if pointers.lanes == 1:
            return self.load(pointers, type, mask)
        stored, mask = _stored(type), mask or self.constant(True, type.of("bool"))
        name = f"{stored.ir} @llvm.masked.gather.{stored.mangled}.{pointers.type.mangled}"
        self._declare_masked("gather", stored, f"{name}({pointers.type.ir}, i32, {mask.type.ir}, {stored.ir})")
        arguments = f"{pointers!r}, i32 {BYTES[element]}, {mask!r}, {stored.ir} zeroinitializer"
        value = self.emit("gather", stored, f"call {name}({arguments})")
        return value.not_equal(0) if element == "bool" else value

    def scatter(self, value: Value, pointers: Value, mask: Value | None = None) -> None:
        """Store every lane to its own address, where ``mask`` is true; of equal addresses the last lane wins."""
        if pointers.lanes == 1:
            self.store(value, pointers, mask)
            return
        align, mask = BYTES[value.type.element], mask or self.constant(True, value.type.of("bool"))
        value = value.zero_extend("uint8") if value.type.element == "bool" else value
        name = f"void @llvm.masked.scatter.{value.type.mangled}.{pointers.type.mangled}"
        self._declare_masked("scatter", value.type, f"{name}({value.type.ir}, {pointers.type.ir}, i32, {mask.type.ir})")
        self.lines.append(f"  call {name}({value!r}, {pointers!r}, i32 {align}, {mask!r})")

    def load_strided(self, pointer: Value, type: Type, stride: int | Value, active: int | Value | None = None) -> Value:
        """Load lane i from ``stride`` * i elements after the pointer; stride 0 broadcasts and 1 is an ordinary load."""
        if isinstance(stride, int) and stride == 1:
            return self.load(pointer, type, active)
        if isinstance(stride, int) and stride == 0:
            return self.load(pointer, Type(type.element)).broadcast(type.lanes)
        return self.gather(self.strided(pointer, type, stride), type.element, self._active_mask(active, type.lanes))

    def store_strided(
        self, value: Value, pointer: Value, stride: int | Value, active: int | Value | None = None
    ) -> None:
        """Store lane i to ``stride`` * i elements after the pointer; stride 1 is an ordinary store."""
        if isinstance(stride, int) and stride == 1:
            self.store(value, pointer, active)
        else:
            self.scatter(value, self.strided(pointer, value.type, stride), self._active_mask(active, value.lanes))

    def strided(self, pointer: Value, type: Type, stride: int | Value) -> Value:
        """The addresses 0, stride, 2 stride, ... elements after the pointer, one in every lane of ``type``."""
        if isinstance(stride, int):
            return pointer.at(self.vector(range(0, stride * type.lanes, stride), "int64"), type.element)
        return pointer.at(self.iota(type.lanes) * stride, type.element)

    def first_lanes(self, count: Value | int, lanes: int) -> Value:
        """The mask of the first ``count`` lanes; ``count`` may be known only at run time."""
        if isinstance(count, int):
            return self.vector([lane < count for lane in range(lanes)], "bool")
        return self.iota(lanes) < count

    def _active_mask(self, active: int | Value | None, lanes: int) -> Value | None:
        if active is None or (isinstance(active, int) and active >= lanes):
            return None
        mask = self.first_lanes(active, lanes) if isinstance(active, int) else active
        # Masked access exists for vectors only; a scalar tail is a plain `with f.when(...)`.
        if mask.type != Type("bool", lanes) or lanes == 1:
            raise TypeError(
                f"active lanes {active!r}: expected a number or a mask of {lanes} lanes, of a vector of 2 lanes or more"
            )
        return mask

    def _declare_masked(self, operation: str, type: Type, signature: str) -> None:
        self.module._declarations.setdefault(f"llvm.masked.{operation}.{type.mangled}", f"declare {signature}")

    def load_pointer(self, array: Value, index: int | Value) -> Value:
        """Load a pointer from an array of pointers, frozen (see ``Value.freeze``)."""
        return self.load(array.at(index, "pointer"), POINTER).freeze()

    def prefetch(self, pointer: Value, write: bool = False) -> None:
        """Ask for the cache line at an address; any address is harmless."""
        self.module.declare("llvm.prefetch.p0", [POINTER, Type("int32"), Type("int32"), Type("int32")])
        self.lines.append(f"  call void @llvm.prefetch.p0({pointer!r}, i32 {int(write)}, i32 3, i32 1)")

    def fill(self, pointer: Value, byte: int, bytes: int | Value) -> None:
        """Set ``bytes`` bytes to one value, as memset."""
        self.module.declare("llvm.memset.p0.i64", [POINTER, Type("uint8"), INDEX, Type("bool")])
        self.lines.append(f"  call void @llvm.memset.p0.i64({pointer!r}, i8 {byte}, {self.index(bytes)!r}, i1 false)")

    def copy(self, source: Value, target: Value, bytes: int | Value) -> None:
        """Copy ``bytes`` bytes between regions that do not overlap, as memcpy."""
        self.module.declare("llvm.memcpy.p0.p0.i64", [POINTER, POINTER, INDEX, Type("bool")])
        self.lines.append(
            f"  call void @llvm.memcpy.p0.p0.i64({target!r}, {source!r}, {self.index(bytes)!r}, i1 false)"
        )

    # Threads

    def atomic_load(self, pointer: Value, type: Type = INDEX) -> Value:
        """Load with acquire ordering."""
        return self.emit("atomic", type, f"load atomic {type.ir}, {pointer!r} acquire, align {type.bytes}")

    def atomic_store(self, value: Value, pointer: Value) -> None:
        """Store with release ordering."""
        self.lines.append(f"  store atomic {value!r}, {pointer!r} release, align {value.type.bytes}")

    def atomic_add(self, pointer: Value, value: Value) -> Value:
        """Add to memory, sequentially consistent; the value before."""
        return self.emit("atomic", value.type, f"atomicrmw add {pointer!r}, {value!r} seq_cst")

    # Calls

    @overload
    def call(self, callee: str | Value, arguments: Sequence[Value], returns: Type) -> Value: ...

    @overload
    def call(self, callee: str | Value, arguments: Sequence[Value]) -> None: ...

    def call(self, callee: str | Value, arguments: Sequence[Value], returns: Type | None = None) -> Value | None:
        """Call a function of the module or a declared one by name, or any function by its address."""
        name = callee.text if isinstance(callee, Value) else f"@{callee}"
        passed = ", ".join(map(repr, arguments))
        if returns is None:
            self.lines.append(f"  call void {name}({passed})")
            return None
        return self.emit("call", returns, f"call {returns.ir} {name}({passed})")

    def intrinsic(self, name: str, arguments: Sequence[Value], returns: Type) -> Value:
        """Call an LLVM intrinsic by its full (mangled) name, declaring it by the types given."""
        self.module.declare(name, [argument.type for argument in arguments], returns)
        return self.emit("call", returns, f"call {returns.ir} @{name}({', '.join(map(repr, arguments))})")

    def return_value(self, value: Value) -> None:
        """End the function with a result; nothing may follow."""
        self.lines.append(f"  ret {value!r}")
        self._returned = True

    # Control flow

    def start_block(self, name: str) -> None:
        """Begin a basic block; what follows is emitted into it."""
        self.lines.append(f"{name}:")
        self.block = name

    def branch(self, condition: Value, then: str, otherwise: str) -> None:
        """End the block: go to one of two blocks."""
        self.lines.append(f"  br {condition!r}, label %{then}, label %{otherwise}")

    def jump(self, block: str) -> None:
        """End the block: go to another."""
        self.lines.append(f"  br label %{block}")

    def loop(
        self, start: int | Value, stop: int | Value, step: int = 1, carried: Sequence[Value] = (), name: str = "i"
    ) -> Loop:
        """Count ``index`` from start while below stop: ``with f.loop(0, n, 8, carried=[zero]) as loop:``.

        In the body ``loop.index`` and ``loop.values`` (the carried values) can be used, and ``loop.next([...])`` must
        be called once if values are carried; afterwards ``loop.results`` holds their last values.
        """
        return Loop(self, self.index(start), self.index(stop), step, carried, name)

    def repeat(self, carried: Sequence[Value] = (), name: str = "repeat") -> Repeat:
        """Run the body at least once, and until the condition given in it: ``loop.next([...], until=condition)``."""
        return Repeat(self, carried, name)

    def when(self, condition: Value, carried: Sequence[Value] = (), name: str = "when") -> When:
        """Run the body only if the scalar condition is true; ``results``: what ``next`` gave, else the carried."""
        return When(self, carried, name, condition)

    @contextmanager
    def flags(self, fast_math: str) -> Iterator[None]:
        """Give the float arithmetic in the block LLVM fast-math flags: "contract", "reassoc contract"; "" for none."""
        outer, self.fast_math = self.fast_math, fast_math + " " if fast_math else ""
        yield
        self.fast_math = outer


def _ir(returns: Type | None) -> str:
    return "void" if returns is None else returns.ir


def _stored(type: Type) -> Type:
    """What a type is in memory."""
    return type.of("uint8") if type.element == "bool" else type
