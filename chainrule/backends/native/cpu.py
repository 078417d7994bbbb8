"""The processor that native code is generated for."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import llvmlite.binding as llvm

from chainrule.errors import ArgumentError


@dataclass(frozen=True)
class Target:
    """A processor as LLVM names it, and the two facts that templates ask for.

    ``vector_bits`` is the width of its vector registers: a float32 vector has ``lanes("float32")`` = vector_bits / 32
    lanes. ``has_fma`` tells whether a product and a sum can be rounded once at full speed.
    """

    cpu: str
    features: str
    triple: str
    vector_bits: int
    has_fma: bool

    def lanes(self, element: str) -> int:
        """How many elements of a floating-point or integer type fill a vector register."""
        return self.vector_bits // (64 if element.endswith("64") else 32)

    @property
    def multiplies_two(self) -> bool:
        """Whether two of the widest vectors are multiplied in each cycle, twice as many as can be loaded from afar."""
        return self.vector_bits < 512 or self.cpu in FULL_WIDTH

    def machine(self) -> llvm.TargetMachine:
        """A new LLVM target machine; level 1, as level 2 takes half as long again and makes no faster kernels."""
        return llvm.Target.from_triple(self.triple).create_target_machine(self.cpu, self.features, opt=1, jit=True)


FULL_WIDTH = (
    "skylake-avx512", "cascadelake", "cooperlake", "icelake-server", "sapphirerapids", "emeraldrapids",
    "graniterapids", "graniterapids-d", "diamondrapids", "znver5",
)  # fmt: skip
"""Processors, by LLVM's names, that multiply two vectors of 512 bits in a cycle; others with AVX-512 take two."""

LEVELS = {"avx512": "", "avx2": "-avx512f", "sse": "-avx"}
"""Names that limit code for x86 to a level; removing a feature also removes all that need it."""

C_MATHS = {"linux": "libm.so.6", "win32": "ucrtbase.dll"}
"""Where sin, cos and fmod are, on systems whose processes do not all have them."""


@cache
def initialize() -> None:
    """Prepare LLVM for this host, once per process: code generator, assembler, the C library's maths."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
    # Python's own copy is private to its extension modules; sin, cos and fmod are called from generated code.
    with suppress(RuntimeError):
        llvm.load_library_permanently(C_MATHS.get(sys.platform, ""))


@cache
def host_target(changes: str = "") -> Target:
    """This machine's processor, limited or changed as the setting ``cpu_features`` says.

    ``changes`` holds LLVM features with a sign and level names, separated by commas: ``"avx2"`` and
    ``"-avx512f"`` both leave the AVX2 part of the processor. Errors: ArgumentError for anything else.
    """
    initialize()
    try:
        features = [llvm.get_host_cpu_features().flatten()]
    except RuntimeError:
        features = []  # LLVM cannot list them on this system: the processor's name alone decides
    for change in filter(None, changes.split(",")):
        if change not in LEVELS and change[0] not in "+-":
            raise ArgumentError(
                f"CPU features {changes!r}: {change!r} is neither a level ({', '.join(LEVELS)}) nor a feature "
                f'with a sign, such as "-avx512f"'
            )
        features.append(LEVELS.get(change, change))
    cpu, triple, joined = llvm.get_host_cpu_name(), llvm.get_process_triple(), ",".join(filter(None, features))
    present = _present(joined)
    return Target(cpu, joined, triple, _vector_bits(present), _has_fma(triple, present))


def _present(features: str) -> set[str]:
    """The features left by a list like ``+avx,+avx2,-avx2``; the last word on a feature counts."""
    present: set[str] = set()
    for feature in filter(None, features.split(",")):
        (present.add if feature[0] == "+" else present.discard)(feature[1:])
    return present


def _vector_bits(present: set[str]) -> int:
    # AVX-512 needs AVX2 and FMA, so removing those removes it, although it may still be listed.
    if {"avx512f", "avx2", "avx", "fma"} <= present:
        return 512
    return 256 if {"avx", "avx2"} <= present else 128


def _has_fma(triple: str, present: set[str]) -> bool:
    return triple.startswith(("aarch64", "arm64")) or {"avx", "fma"} <= present
