"""Typed values of the kernel language: every operator appends one or a few LLVM instructions to its function.

Imported through ``language``; see there for the whole language and an example.
"""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chainrule.backends.native.language import Function

Number = bool | int | float

LLVM_ELEMENTS = {
    "float32": "float",
    "float64": "double",
    "int32": "i32",
    "int64": "i64",
    "uint8": "i8",
    "bool": "i1",
    "pointer": "ptr",
}
MANGLED_ELEMENTS = LLVM_ELEMENTS | {"float32": "f32", "float64": "f64", "pointer": "p0"}
BYTES = {"float32": 4, "float64": 8, "int32": 4, "int64": 8, "uint8": 1, "bool": 1, "pointer": 8}
FLOATS = ("float32", "float64")
# The smallest and largest float that is in range of the integer type; conversions saturate at them.
CONVERTIBLE_RANGE = {
    ("float32", "int32"): (-(2.0**31), 2.0**31 - 2.0**7),
    ("float64", "int32"): (-(2.0**31), 2.0**31 - 1.0),
    ("float32", "int64"): (-(2.0**63), 2.0**63 - 2.0**39),
    ("float64", "int64"): (-(2.0**63), 2.0**63 - 2.0**10),
    ("float32", "uint8"): (0.0, 255.0),
    ("float64", "uint8"): (0.0, 255.0),
}


@dataclass(frozen=True)
class Type:
    """Element type and number of lanes: ``Type("float32", 16)`` is ``<16 x float>``, one lane is a scalar.

    Elements: float32, float64, int32, int64, uint8, bool (a mask, i1; one byte in memory) and pointer.
    """

    element: str
    lanes: int = 1
    ir: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        element = LLVM_ELEMENTS.get(self.element)
        if element is None or self.lanes < 1:
            expected = f"one of {', '.join(LLVM_ELEMENTS)} and at least 1 lane"
            raise TypeError(f"Type({self.element!r}, {self.lanes}): expected {expected}")
        object.__setattr__(self, "ir", element if self.lanes == 1 else f"<{self.lanes} x {element}>")

    @property
    def is_float(self) -> bool:
        """Whether the elements are float32 or float64."""
        return self.element in FLOATS

    @property
    def mangled(self) -> str:
        """The suffix of an overloaded intrinsic: ``v16f32``."""
        element = MANGLED_ELEMENTS[self.element]
        return element if self.lanes == 1 else f"v{self.lanes}{element}"

    @property
    def bytes(self) -> int:
        """Size in memory, where a bool takes one byte."""
        return BYTES[self.element] * self.lanes

    def of(self, element: str) -> Type:
        """The type with the same lanes and another element."""
        return _cached_type(element, self.lanes)


_cached_type = lru_cache(Type)

INDEX = Type("int64")
POINTER = Type("pointer")


def constant_text(number: Number, element: str) -> str:
    """One element as LLVM spells it; floats as the 64 bits of the (rounded) value."""
    if element in FLOATS:
        rounded = ctypes.c_float(number).value if element == "float32" else float(number)
        return "0x" + struct.pack(">d", rounded).hex().upper()
    if element == "bool":
        return "true" if number else "false"
    return str(int(number))


class Value:
    """A typed result of an instruction, an argument or a constant.

    Python numbers mix with values (they take the value's type) and scalars are broadcast to the lanes of the other
    operand; element types never convert silently: use ``cast``. Comparisons give bool values (masks). ``//`` and ``%``
    are index arithmetic: unsigned, undefined for negative operands and zero divisors. Float arithmetic carries the
    flags of ``Function.flags`` (none by default).
    """

    __slots__ = ("function", "number", "text", "type")
    __array_ufunc__ = None

    def __init__(self, function: Function, type: Type, text: str, number: Number | None = None) -> None:
        self.function = function
        self.type = type
        self.text = text
        self.number = number

    def __repr__(self) -> str:
        return f"{self.type.ir} {self.text}"

    @property
    def lanes(self) -> int:
        """The number of lanes; 1 for scalars."""
        return self.type.lanes

    # Operands

    def like(self, other: Value | Number) -> Value:
        """``other`` as an operand of this value: a number becomes a constant of this type, a scalar is broadcast."""
        if not isinstance(other, Value):
            return self.function.constant(other, self.type)
        if other.type.element != self.type.element:
            raise TypeError(f"operands {self!r} and {other!r}: element types differ; cast one of them")
        return other if other.lanes == self.lanes else other.broadcast(self.lanes)

    def _operands(self, other: Value | Number) -> tuple[Value, Value]:
        if isinstance(other, Value) and self.lanes == 1 and other.lanes > 1:
            return other.like(self), other
        return self, self.like(other)

    def _emit(self, name: str, type: Type, instruction: str) -> Value:
        return self.function.emit(name, type, instruction)

    def _arithmetic(self, other: Value | Number, name: str, float_operation: str, int_operation: str) -> Value:
        left, right = self._operands(other)
        type = left.type
        if type.is_float:
            operation = f"{float_operation} {self.function.fast_math}{type.ir}"
            return self._emit(name, type, f"{operation} {left.text}, {right.text}")
        return self._integer(left, right, name, int_operation)

    def _integer(self, left: Value, right: Value, name: str, operation: str) -> Value:
        if left.type.element in ("pointer", *FLOATS):
            raise TypeError(f"{name} of {left!r}: expected integers or masks")
        return self._emit(name, left.type, f"{operation} {left.type.ir} {left.text}, {right.text}")

    def _index_constants(self, other: Value | Number) -> tuple[int | None, int | None]:
        """The operands as Python integers where both are index scalars and known while emitting."""
        if self.type != INDEX or (isinstance(other, Value) and other.type != INDEX):
            return None, None
        right = other.number if isinstance(other, Value) else other
        return (None if self.number is None else int(self.number)), (None if right is None else int(right))

    # Arithmetic

    def __add__(self, other: Value | Number) -> Value:
        left, right = self._index_constants(other)
        if left is not None and right is not None:
            return self.function.index(left + right)
        if right == 0:
            return self
        if left == 0:
            return self.like(other)
        return self._arithmetic(other, "add", "fadd", "add")

    def __sub__(self, other: Value | Number) -> Value:
        left, right = self._index_constants(other)
        if left is not None and right is not None:
            return self.function.index(left - right)
        return self if right == 0 else self._arithmetic(other, "sub", "fsub", "sub")

    def __mul__(self, other: Value | Number) -> Value:
        left, right = self._index_constants(other)
        if left is not None and right is not None:
            return self.function.index(left * right)
        if right == 1:
            return self
        if left == 1:
            return self.like(other)
        return self._arithmetic(other, "mul", "fmul", "mul")

    def __truediv__(self, other: Value | Number) -> Value:
        left, right = self._operands(other)
        if not left.type.is_float:
            raise TypeError(f"division of {left!r}: / is for floats; use // for indices, signed_divide for integers")
        return self._emit("div", left.type, f"fdiv {self.function.fast_math}{left.type.ir} {left.text}, {right.text}")

    def __floordiv__(self, other: Value | Number) -> Value:
        left, right = self._index_constants(other)
        if left is not None and right is not None:
            return self.function.index(left // right)
        return self if right == 1 else self._integer(*self._operands(other), "quotient", "udiv")

    def __mod__(self, other: Value | Number) -> Value:
        left, right = self._index_constants(other)
        if left is not None and right is not None:
            return self.function.index(left % right)
        return self._integer(*self._operands(other), "remainder", "urem")

    def __radd__(self, other: Number) -> Value:
        return self + other

    def __rsub__(self, other: Number) -> Value:
        return self.like(other) - self

    def __rmul__(self, other: Number) -> Value:
        return self * other

    def __rtruediv__(self, other: Number) -> Value:
        return self.like(other) / self

    def __neg__(self) -> Value:
        if self.type.is_float:
            return self._emit("negative", self.type, f"fneg {self.type.ir} {self.text}")
        return self.like(0) - self

    def signed_divide(self, other: Value | Number) -> Value:
        """Integer quotient rounded towards zero; it traps for the divisor 0, and for the smallest integer over -1."""
        return self._integer(*self._operands(other), "quotient", "sdiv")

    def signed_remainder(self, other: Value | Number) -> Value:
        """Remainder with the sign of the dividend, C's fmod and %; integers trap where ``signed_divide`` does."""
        return self._arithmetic(other, "remainder", "frem", "srem")

    def fma(self, factor: Value | Number, addend: Value | Number) -> Value:
        """self * factor + addend, rounded once where the target has such an instruction, else a product and a sum."""
        left, right = self._operands(factor)
        if isinstance(addend, Value) and addend.lanes > left.lanes:
            left, right = addend.like(left), addend.like(right)
        last, type = left.like(addend), left.type
        if self.function.module.target.has_fma:
            return self.function.intrinsic(f"llvm.fma.{type.mangled}", [left, right, last], type)
        # llvm.fma would call libm for every lane here.
        product = self._emit("product", type, f"fmul contract {type.ir} {left.text}, {right.text}")
        return self._emit("fma", type, f"fadd contract {type.ir} {product.text}, {last.text}")

    def maximum(self, other: Value | Number) -> Value:
        """The larger operand; NaN where either is NaN (for integers the larger)."""
        return self._extremum(other, Value.__lt__, max)

    def minimum(self, other: Value | Number) -> Value:
        """The smaller operand; NaN where either is NaN (for integers the smaller)."""
        return self._extremum(other, Value.__gt__, min)

    def _extremum(
        self, other: Value | Number, loses: Callable[[Value, Value], Value], choose: Callable[[int, int], int]
    ) -> Value:
        number, other_number = self._index_constants(other)
        if number is not None and other_number is not None:
            return self.function.index(choose(number, other_number))
        left, right = self._operands(other)
        # An ordered comparison with NaN is false and keeps `left`: one instruction where `right` is a known number.
        chosen = loses(left, right).select(right, left)
        known = right.number is not None and not math.isnan(right.number)
        return chosen if known or not left.type.is_float else right.is_nan().select(right, chosen)

    def __abs__(self) -> Value:
        if self.type.is_float:
            return self.function.intrinsic(f"llvm.fabs.{self.type.mangled}", [self], self.type)
        return (self < 0).select(-self, self)

    def sqrt(self) -> Value:
        """Correctly rounded square root; NaN below 0."""
        return self.function.intrinsic(f"llvm.sqrt.{self.type.mangled}", [self], self.type)

    def copysign(self, sign: Value) -> Value:
        """This magnitude with the sign bit of ``sign``."""
        return self.function.intrinsic(f"llvm.copysign.{self.type.mangled}", [self, self.like(sign)], self.type)

    # Bits

    def __and__(self, other: Value | Number) -> Value:
        return self._integer(*self._operands(other), "and", "and")

    def __or__(self, other: Value | Number) -> Value:
        return self._integer(*self._operands(other), "or", "or")

    def __xor__(self, other: Value | Number) -> Value:
        return self._integer(*self._operands(other), "xor", "xor")

    def __invert__(self) -> Value:
        return self ^ (True if self.type.element == "bool" else -1)

    def __lshift__(self, bits: Value | Number) -> Value:
        return self._integer(*self._operands(bits), "shl", "shl")

    def __rshift__(self, bits: Value | Number) -> Value:
        """Arithmetic shift: copies of the sign come in from the left."""
        return self._integer(*self._operands(bits), "ashr", "ashr")

    def shift_right_logical(self, bits: Value | Number) -> Value:
        """Shift with zeros coming in from the left."""
        return self._integer(*self._operands(bits), "lshr", "lshr")

    def trailing_zeros(self) -> Value:
        """How many bits below the lowest that is set are 0; undefined for 0."""
        undefined = self.function.constant(True, Type("bool"))
        return self.function.intrinsic(f"llvm.cttz.{self.type.mangled}", [self, undefined], self.type)

    # Comparisons

    def _compare(self, other: Value | Number, float_predicate: str, int_predicate: str) -> Value:
        left, right = self._operands(other)
        type = left.type
        if type.is_float:
            comparison = f"fcmp {float_predicate}"
        elif int_predicate in ("eq", "ne"):
            comparison = f"icmp {int_predicate}"
        else:
            comparison = f"icmp {'u' if type.element in ('bool', 'uint8', 'pointer') else 's'}{int_predicate}"
        return self._emit("mask", type.of("bool"), f"{comparison} {type.ir} {left.text}, {right.text}")

    def __lt__(self, other: Value | Number) -> Value:
        return self._compare(other, "olt", "lt")

    def __le__(self, other: Value | Number) -> Value:
        return self._compare(other, "ole", "le")

    def __gt__(self, other: Value | Number) -> Value:
        return self._compare(other, "ogt", "gt")

    def __ge__(self, other: Value | Number) -> Value:
        return self._compare(other, "oge", "ge")

    def equal(self, other: Value | Number) -> Value:
        """True where both are equal; NaN equals nothing. (``==`` stays Python identity.)"""
        return self._compare(other, "oeq", "eq")

    def not_equal(self, other: Value | Number) -> Value:
        """True where they differ, NaN included."""
        return self._compare(other, "une", "ne")

    def is_nan(self) -> Value:
        """True where this float is NaN."""
        return self._emit("isnan", self.type.of("bool"), f"fcmp uno {self.type.ir} {self.text}, {self.text}")

    def select(self, then: Value | Number, otherwise: Value | Number) -> Value:
        """``then`` where this mask is true, else ``otherwise``; a scalar mask selects whole vectors."""
        if isinstance(then, Value):
            then, other = then._operands(otherwise)
        elif isinstance(otherwise, Value):
            then, other = otherwise.like(then), otherwise
        else:
            raise TypeError("select between two Python numbers: make one of them a constant of the wanted type")
        if self.lanes > then.lanes:
            then, other = then.broadcast(self.lanes), other.broadcast(self.lanes)
        return self._emit("select", then.type, f"select {self!r}, {then!r}, {other!r}")

    # Conversions

    def bitcast(self, element: str) -> Value:
        """The same bits read as another element type of the same size."""
        type = self.type.of(element)
        return self._emit("bits", type, f"bitcast {self!r} to {type.ir}")

    def zero_extend(self, element: str) -> Value:
        """An integer or mask as a wider integer without sign."""
        type = self.type.of(element)
        return self._emit("wide", type, f"zext {self!r} to {type.ir}")

    def cast(self, element: str) -> Value:
        """Convert every lane as NumPy does where the result is in range.

        A float becomes an integer by rounding towards zero; out of range it saturates (at the last float in range) and
        NaN gives 0. Anything becomes bool by being different from 0.
        """
        source = self.type.element
        if element == source:
            return self
        if element == "bool":
            return self.not_equal(0)
        if source in FLOATS and element not in FLOATS:
            lowest, highest = CONVERTIBLE_RANGE[source, element]
            inside = (self < lowest).select(lowest, self)
            inside = (inside > highest).select(highest, inside)
            return self.is_nan().select(0.0, inside).truncate_to_integer(element)
        return self._convert("cast", element, self._conversion(element))

    def _conversion(self, element: str) -> str:
        source, unsigned = self.type.element, self.type.element in ("bool", "uint8")
        if source in FLOATS:
            return "fpext" if element == "float64" else "fptrunc"
        if element in FLOATS:
            return "uitofp" if unsigned else "sitofp"
        if BYTES[element] > BYTES[source] or source == "bool":
            return "zext" if unsigned else "sext"
        return "trunc"

    def truncate_to_integer(self, element: str) -> Value:
        """A float known to be in range as an integer, rounded towards zero; otherwise undefined: see ``cast``."""
        return self._convert("integer", element, "fptoui" if element == "uint8" else "fptosi")

    def _convert(self, name: str, element: str, operation: str) -> Value:
        type = self.type.of(element)
        return self._emit(name, type, f"{operation} {self!r} to {type.ir}")

    # Lanes

    def broadcast(self, lanes: int) -> Value:
        """This scalar in every one of ``lanes`` lanes."""
        if lanes == self.lanes:
            return self
        if self.lanes != 1:
            raise TypeError(f"broadcast {self!r} to {lanes} lanes: only scalars can be broadcast")
        type = Type(self.type.element, lanes)
        if self.number is not None:
            return self.function.constant(self.number, type)
        first = self._emit("lane", type, f"insertelement {type.ir} poison, {self!r}, i64 0")
        splat = f"shufflevector {first!r}, {type.ir} poison, <{lanes} x i32> zeroinitializer"
        return self._emit("broadcast", type, splat)

    def extract(self, lane: int | Value) -> Value:
        """One lane as a scalar."""
        if self.lanes == 1:
            return self
        return self._emit("lane", Type(self.type.element), f"extractelement {self!r}, {self.function.index(lane)!r}")

    def insert(self, scalar: Value | Number, lane: int | Value) -> Value:
        """This vector with one lane replaced."""
        element = scalar if isinstance(scalar, Value) else self.function.constant(scalar, Type(self.type.element))
        return self._emit("insert", self.type, f"insertelement {self!r}, {element!r}, {self.function.index(lane)!r}")

    def shuffle(self, lanes: Sequence[int], other: Value | None = None) -> Value:
        """The chosen lanes as a new vector; lanes of ``other`` count on after those of this one."""
        if len(lanes) == 1 and other is None:
            return self.extract(lanes[0])
        type = Type(self.type.element, len(lanes))
        picks = ", ".join(f"i32 {lane}" for lane in lanes)
        second = f"{self.type.ir} poison" if other is None else repr(other)
        return self._emit("shuffle", type, f"shufflevector {self!r}, {second}, <{len(lanes)} x i32> <{picks}>")

    def reduce(self, combine: Callable[[Value, Value], Value]) -> Value:
        """All lanes combined into one: the upper half onto the lower, again and again; lanes must be a power of two."""
        if self.lanes & (self.lanes - 1):
            raise TypeError(f"reduction of {self!r}: the number of lanes must be a power of two")
        value = self
        while value.lanes > 2:
            half = value.lanes // 2
            value = combine(value.shuffle(range(half)), value.shuffle(range(half, value.lanes)))
        return value if value.lanes == 1 else combine(value.extract(0), value.extract(1))

    def sum(self) -> Value:
        """Sum of the lanes, in the fixed order of ``reduce``."""
        return self.reduce(Value.__add__)

    def max(self) -> Value:
        """Largest lane, NaN if any is NaN."""
        return self.reduce(Value.maximum)

    def min(self) -> Value:
        """Smallest lane, NaN if any is NaN."""
        return self.reduce(Value.minimum)

    def any(self) -> Value:
        """True if any lane of this mask is."""
        return self._reduce_mask("or")

    def all(self) -> Value:
        """True if every lane of this mask is."""
        return self._reduce_mask("and")

    def _reduce_mask(self, operation: str) -> Value:
        if self.lanes == 1:
            return self
        return self.function.intrinsic(f"llvm.vector.reduce.{operation}.{self.type.mangled}", [self], Type("bool"))

    def bits(self) -> Value:
        """The lanes of this mask, a vector, as the low bits of an index, lane 0 the lowest."""
        packed = self._emit("bits", self.type, f"bitcast {self!r} to i{self.lanes}")
        return self._emit("wide", INDEX, f"zext i{self.lanes} {packed.text} to i64")

    # Pointers

    def at(self, index: Value | int, element: str) -> Value:
        """The address of the ``index``-th element after this pointer; an index vector gives a pointer in every lane."""
        return self._offset(index, "i8" if element == "bool" else LLVM_ELEMENTS[element])

    def byte(self, offset: Value | int) -> Value:
        """The address ``offset`` bytes after this pointer."""
        return self._offset(offset, "i8")

    def _offset(self, index: Value | int, unit: str) -> Value:
        offset = index if isinstance(index, Value) else self.function.index(index)
        if offset.type == INDEX and offset.number == 0:
            return self
        type = Type("pointer", max(self.lanes, offset.lanes))
        return self._emit("pointer", type, f"getelementptr {unit}, {self!r}, {offset!r}")

    def freeze(self) -> Value:
        """The same value, opaque to loop strength reduction, which makes code generation slow on pointers."""
        return self._emit("frozen", self.type, f"freeze {self!r}")
