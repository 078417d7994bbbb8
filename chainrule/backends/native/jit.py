"""From LLVM IR text to callable addresses: compile (or find in the disk cache), link, keep alive.

Compiling always goes through object code, so that a fresh compilation and one from the cache run the same way.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

from chainrule.backends.native import cache
from chainrule.backends.native.cpu import Target, initialize
from chainrule.errors import CompilationError


class Library:
    """Machine code in memory. Its addresses are valid as long as the library is neither closed nor collected."""

    def __init__(self, object_code: bytes | None, target: Target) -> None:
        initialize()
        # The engine owns the target machine, and cannot be made without a module. That goes again before it is
        # compiled, which would take longer than all the rest; the object is copied into the engine's memory.
        empty = llvm.parse_assembly("")
        empty.triple = target.triple
        self._engine = llvm.create_mcjit_compiler(empty, target.machine())
        self._engine.remove_module(empty)
        if object_code is not None:
            self.add(object_code)

    def add(self, object_code: bytes) -> None:
        """Load machine code, whose functions have names of their own: much cheaper than another library."""
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(object_code))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Address of an exported function.

        Errors: CompilationError for a name that the module does not export, or after ``close``.
        """
        address = self._engine.get_function_address(name) if self._engine is not None else 0
        if address == 0:
            state = "is closed" if self._engine is None else "exports no such function"
            raise CompilationError(f"native library: no address for {name!r}: the library {state}")
        return int(address)

    def close(self) -> None:
        """Free the machine code; no thread may be running it. Dropping the last reference does the same."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None


def compile_module(text: str, target: Target, cache_directory: Path | None = None) -> Library:
    """Compile a module's text, or load its object code from the cache directory (None: no cache).

    Errors: CompilationError when LLVM rejects the text, or when the process lacks a declared function.

    Example: ``compile_module(str(module), module.target, settings.cache_directory).address("row_sums")``
    """
    if cache_directory is None:
        return Library(object_code(text, target), target)
    key = cache_key(text, target)
    code = cache.load(cache_directory, key)
    if code is None:
        code = object_code(text, target)
        cache.store(cache_directory, key, code)
    return Library(code, target)


def assembly(text: str, target: Target) -> str:
    """The machine code of a module as assembly text, for people."""
    initialize()
    module, machine = _parse(text, target)
    return str(machine.emit_assembly(module))


def object_code(text: str, target: Target) -> bytes:
    """Machine code of a module's text, which `Library` loads. Errors: as `compile_module`."""
    initialize()
    _check_declarations(text)
    module, machine = _parse(text, target)
    return bytes(machine.emit_object(module))


@functools.cache
def _emitter(target: Target) -> llvm.TargetMachine:
    """The machine that emits all code for a target: making one takes a good part of a small program's compilation."""
    return target.machine()


def _parse(text: str, target: Target) -> tuple[llvm.ModuleRef, llvm.TargetMachine]:
    machine = _emitter(target)
    try:
        module = llvm.parse_assembly(text)
        module.triple, module.data_layout = target.triple, str(machine.target_data)
        module.verify()
    except RuntimeError as error:
        raise CompilationError(f"LLVM rejects the generated module:\n{error}") from error
    return module, machine


def cache_key(text: str, target: Target) -> str:
    """Hash a text that stands for a program with everything else that decides its machine code.

    Code for another processor would load, and crash when run.
    """
    compiler = f"llvmlite {llvmlite.__version__} LLVM {llvm.llvm_version_info} level 1"
    parts = (compiler, target.triple, target.cpu, target.features, text)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _check_declarations(text: str) -> None:
    """Refuse unknown functions now: linking would succeed silently, and calling them would end the process."""
    for line in text.splitlines():
        if not line.startswith("declare "):
            continue
        name = line[line.index("@") + 1 : line.index("(")]
        if not name.startswith("llvm.") and not llvm.address_of_symbol(name):
            raise CompilationError(f"native module declares function {name!r}, which this process does not have")
