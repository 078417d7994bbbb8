"""Pickles read as data: the opcodes of PyTorch's files alone, and names that are looked up in a table, never imported.

A pickle is a program for a small machine with a stack. Most of its opcodes put a value there; two are dangerous: GLOBAL
imports whatever it names, REDUCE calls it. Here GLOBAL looks a name up in a closed table, and REDUCE applies what the
table gives for it (a `Recipe`, such as the one that notes shape and storage of a tensor) to values that the pickle
made. Any other name and any other opcode is refused. What a pickle can make is bounded by its size, and its size by
`MOST_BYTES`.
"""

from __future__ import annotations

import os
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chainrule.errors import ModelFileError, type_in_words

MOST_BYTES = 1 << 24
"""A state dict takes about 150 bytes of pickle per tensor, whose elements are not in it. So many take half a minute."""

_CONTAINERS = (dict, OrderedDict, Counter)
_LARGEST_KEY = 1 << 63  # integers below are spread well by the hash table of a dictionary


@dataclass(frozen=True)
class Recipe:
    """What a name of the table stands for, where a pickle calls it."""

    make: Callable[..., Any]


@dataclass(frozen=True)
class Meaning:
    """What a pickle may refer to: names, persistent ids, and the state of objects that need one."""

    names: Mapping[str, Any]
    persistent: Callable[[Any], Any]
    build: Callable[[Any, Any], None]


def read_pickle(content: bytes, meaning: Meaning, path: str | os.PathLike[str], start: int = 0) -> tuple[Any, int]:
    """Return the value of the pickle that begins at ``start``, and where it ends.

    Raises ModelFileError for a name that is not in the table, naming it, and for what is damaged.
    """
    reader = _Reader(content, meaning, path, start)
    try:
        return reader.run(), reader.position
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, struct.error) as error:
        if isinstance(error, ModelFileError):
            raise
        raise reader.damage() from None


def check_key(key: Any) -> Any:
    """A key of a dictionary: text or a number. Tuples in tuples would take for ever to be hashed."""
    if type(key) is int and not -_LARGEST_KEY <= key < _LARGEST_KEY:
        raise ValueError("a number that is too large for a key")
    if type(key) not in (str, int, float, bool, type(None)):
        raise TypeError(f"{type_in_words(key)} for a key")
    return key


class _Reader:
    """The machine: a stack, marks into it, and values that were put aside by number."""

    def __init__(self, content: bytes, meaning: Meaning, path: str | os.PathLike[str], start: int) -> None:
        self.content, self.meaning, self.path = content, meaning, path
        self.start = self.position = start
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.copied = 0

    def run(self) -> Any:
        if self.take(1) != b"\x80":
            raise self.damage()
        protocol = self.take(1)[0]
        if protocol != 2:
            raise ModelFileError(
                f"{self.path} is a pickle of protocol {protocol}, PyTorch's files have 2. "
                "fix: torch.save without pickle_protocol"
            )
        while True:
            opcode = self.take(1)
            if opcode == b".":
                break
            if opcode not in _ACTIONS:
                raise ModelFileError(
                    f"{self.path}: opcode {opcode!r} at byte {self.position - 1} of its pickle was refused: PyTorch's "
                    "state dicts have none such. The file is damaged, or holds an object of a class: in PyTorch, "
                    "torch.save(model.state_dict(), path)"
                )
            if self.position - self.start > MOST_BYTES:
                raise ModelFileError(f"{self.path}: its pickle has more than {MOST_BYTES} bytes, which no weights need")
            _ACTIONS[opcode](self)
        (value,) = self.stack
        return value

    def damage(self) -> ModelFileError:
        return ModelFileError(f"{self.path} is truncated or damaged at byte {self.position} of its pickle")

    def take(self, count: int) -> bytes:
        taken = self.content[self.position : self.position + count]
        if count < 0 or len(taken) < count:
            raise ValueError("too short")
        self.position += count
        return taken

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def last(self, count: int) -> list[Any]:
        """The last values, taken off the stack."""
        values = [self.stack.pop() for _ in range(count)]
        return values[::-1]

    def put(self, number: int) -> None:
        self.memo[number] = self.stack[-1]

    def append(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise TypeError("not a list")
        target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) not in _CONTAINERS or len(values) % 2:
            raise TypeError("not a dictionary")
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[check_key(key)] = value

    def global_name(self) -> None:
        lines = []
        for _ in range(2):
            end = self.content.index(b"\n", self.position)
            lines.append(self.content[self.position : end])
            self.position = end + 1
        name = b".".join(lines).decode("utf-8", "replace")
        if name not in self.meaning.names:
            raise ModelFileError(
                f"{self.path}: refused {name!r:.100}: PyTorch would import or call this to load the file, and here "
                "nothing of a file is executed. Read are tensors (not complex, quantised or sparse ones), numbers, "
                "text, and lists, tuples, sets and dictionaries of them. "
                "fix: in PyTorch, torch.save(model.state_dict(), path)"
            )
        self.stack.append(self.meaning.names[name])

    def reduce(self) -> None:
        arguments, recipe = self.stack.pop(), self.stack.pop()
        if type(recipe) is not Recipe or type(arguments) is not tuple:
            raise TypeError("nothing that can be applied")
        # One byte takes a long list from the memo: what is copied out of it must not be more than the pickle holds.
        self.copied += sum(len(value) for value in arguments if isinstance(value, str | bytes | list | tuple | dict))
        if self.copied > min(len(self.content) - self.start, MOST_BYTES):
            raise ModelFileError(f"{self.path}: its pickle unpacks to far more than it holds: it is damaged")
        self.stack.append(recipe.make(*arguments))

    def build(self) -> None:
        state = self.stack.pop()
        self.meaning.build(self.stack[-1], state)


def _push(make: Callable[[_Reader], Any]) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(make(reader))


def _text(form: str) -> Callable[[_Reader], None]:
    """Text in UTF-8, behind its length."""
    return _push(lambda reader: reader.take(reader.number(form)).decode("utf-8"))


def _integer(reader: _Reader) -> int:
    return int.from_bytes(reader.take(reader.number("<B")), "little", signed=True)


_ACTIONS: dict[bytes, Callable[[_Reader], None]] = {
    b"N": _push(lambda reader: None),  # NONE
    b"\x88": _push(lambda reader: True),  # NEWTRUE
    b"\x89": _push(lambda reader: False),  # NEWFALSE
    b"K": _push(lambda reader: reader.number("<B")),  # BININT1
    b"M": _push(lambda reader: reader.number("<H")),  # BININT2
    b"J": _push(lambda reader: reader.number("<i")),  # BININT
    b"\x8a": _push(_integer),  # LONG1
    b"G": _push(lambda reader: reader.number(">d")),  # BINFLOAT
    b"X": _text("<I"),  # BINUNICODE
    b"U": _text("<B"),  # SHORT_BINSTRING, as Python 2 wrote it
    b"T": _text("<i"),  # BINSTRING
    b"}": _push(lambda reader: {}),  # EMPTY_DICT
    b"]": _push(lambda reader: []),  # EMPTY_LIST
    b")": _push(lambda reader: ()),  # EMPTY_TUPLE
    b"(": lambda reader: reader.marks.append(len(reader.stack)),  # MARK
    b"t": lambda reader: reader.stack.append(tuple(reader.since_mark())),  # TUPLE
    b"\x85": lambda reader: reader.stack.append(tuple(reader.last(1))),  # TUPLE1
    b"\x86": lambda reader: reader.stack.append(tuple(reader.last(2))),  # TUPLE2
    b"\x87": lambda reader: reader.stack.append(tuple(reader.last(3))),  # TUPLE3
    b"a": lambda reader: reader.append(reader.last(1)),  # APPEND
    b"e": lambda reader: reader.append(reader.since_mark()),  # APPENDS
    b"s": lambda reader: reader.set_items(reader.last(2)),  # SETITEM
    b"u": lambda reader: reader.set_items(reader.since_mark()),  # SETITEMS
    b"q": lambda reader: reader.put(reader.number("<B")),  # BINPUT
    b"r": lambda reader: reader.put(reader.number("<I")),  # LONG_BINPUT
    b"h": _push(lambda reader: reader.memo[reader.number("<B")]),  # BINGET
    b"j": _push(lambda reader: reader.memo[reader.number("<I")]),  # LONG_BINGET
    b"c": _Reader.global_name,  # GLOBAL
    b"R": _Reader.reduce,  # REDUCE
    b"b": _Reader.build,  # BUILD
    b"Q": _push(lambda reader: reader.meaning.persistent(reader.stack.pop())),  # BINPERSID
}
