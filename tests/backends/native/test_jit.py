"""Compilation, its errors, unloading, and the disk cache of object code."""

import ctypes
import os
import subprocess
import sys

import llvmlite.binding as llvm
import pytest

from chainrule.backends.native import cache, jit
from chainrule.backends.native.cpu import Target
from chainrule.backends.native.jit import compile_module
from chainrule.errors import CompilationError
from tests.backends.native.native_kernels import HOST

TRIPLE = "define i64 @triple(i64 %x) {\n  %y = mul i64 %x, 3\n  ret i64 %y\n}\n"


def call(library, x, name="triple"):
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(library.address(name))(x)


@pytest.fixture
def compilations(monkeypatch):
    """A list that grows with every real compilation."""
    done = []
    compile_text = jit.object_code
    monkeypatch.setattr(jit, "object_code", lambda *args: done.append(1) or compile_text(*args))
    return done


def test_compile_and_call():
    assert call(compile_module(TRIPLE, HOST), 14) == 42


def test_rejected_text_says_where():
    with pytest.raises(CompilationError, match="expected type"):
        compile_module("define void @f() {\n  %x = add nonsense 1, 2\n  ret void\n}", HOST)
    with pytest.raises(CompilationError, match="does not dominate"):
        compile_module("define i64 @f() {\n  %a = add i64 %b, 1\n  %b = add i64 1, 1\n  ret i64 %b\n}", HOST)


def test_unknown_functions_are_refused_before_they_can_be_called():
    text = "declare double @cos(double)\ndeclare double @kosinus(double)\n" + TRIPLE
    with pytest.raises(CompilationError, match="'kosinus'"):
        compile_module(text, HOST)


def test_functions_of_the_c_library_are_found():
    text = (
        "declare i64 @labs(i64)\ndefine i64 @f(i64 %x) {\n  %d = sitofp i64 %x to double\n  %r = frem double %d, 10.0\n"
        "  %i = fptosi double %r to i64\n  %y = call i64 @labs(i64 %i)\n  ret i64 %y\n}\n"
    )
    assert call(compile_module(text, HOST), -1234, "f") == 4


def test_c_mathematics_is_found_in_a_fresh_process():
    program = (
        "from chainrule.backends.native.cpu import host_target\n"
        "from chainrule.backends.native.jit import compile_module\n"
        "compile_module('declare double @sin(double)\\n', host_target())\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.stderr == ""


def test_unknown_and_closed_addresses():
    library = compile_module(TRIPLE, HOST)
    with pytest.raises(CompilationError, match="'quadruple'.*exports no such function"):
        library.address("quadruple")
    library.close()
    library.close()
    with pytest.raises(CompilationError, match="is closed"):
        library.address("triple")


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
def test_closed_libraries_give_their_memory_back():
    code = llvm.parse_assembly(TRIPLE)
    code.triple = HOST.triple
    code = HOST.machine().emit_object(code)
    growth = []
    for _ in range(4):
        before = resident_bytes()
        for number in range(150):
            library = jit.Library(code, HOST)
            if number % 2:
                library.close()  # the others are collected
        growth.append(resident_bytes() - before)
    assert min(growth[1:]) < 150 * 8000  # bytes; one library alone maps more than 8000


def test_second_compilation_comes_from_the_cache(tmp_path, compilations):
    for _ in range(2):
        assert call(compile_module(TRIPLE, HOST, tmp_path), 5) == 15
    assert len(compilations) == 1
    info = cache.cache_info(tmp_path)
    assert info.entries == 1 and info.bytes > 300
    assert cache.clear_cache(tmp_path) == 1
    assert cache.cache_info(tmp_path).entries == 0
    compile_module(TRIPLE, HOST, tmp_path)
    assert len(compilations) == 2


def test_everything_that_decides_the_code_is_in_the_key(tmp_path, compilations):
    other = Target(HOST.cpu, HOST.features + ",+foo", HOST.triple, HOST.vector_bits, HOST.has_fma)
    keys = {jit.cache_key(TRIPLE, HOST), jit.cache_key(TRIPLE + " ", HOST), jit.cache_key(TRIPLE, other)}
    assert len(keys) == 3


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "grow", "header"])
def test_damaged_entries_are_compiled_again(tmp_path, compilations, damage):
    compile_module(TRIPLE, HOST, tmp_path)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-100] ^= 1
    if damage == "header":
        content[3] ^= 1
    shortened = {"truncate": content[:-20], "empty": b"", "grow": content + b"more"}
    path.write_bytes(shortened.get(damage, content))
    assert call(compile_module(TRIPLE, HOST, tmp_path), 7) == 21
    assert len(compilations) == 2
    assert cache.load(tmp_path, path.stem) is not None  # repaired


def test_cache_that_cannot_be_written(tmp_path, compilations):
    not_a_directory = tmp_path / "file"
    not_a_directory.write_text("occupied")
    for directory in (not_a_directory, not_a_directory / "below"):
        assert call(compile_module(TRIPLE, HOST, directory), 2) == 6
    read_only = tmp_path / "read_only"
    read_only.mkdir()
    read_only.chmod(0o500)
    assert call(compile_module(TRIPLE, HOST, read_only), 2) == 6
    read_only.chmod(0o700)
    assert len(compilations) == 3
    assert not list(tmp_path.rglob("*.tmp"))


def test_oldest_entries_are_evicted(tmp_path):
    for number in range(5):
        cache.store(tmp_path, f"key{number}", bytes(1000))
        os.utime(tmp_path / f"key{number}{cache.SUFFIX}", (number, number))
    assert cache.load(tmp_path, "key0") == bytes(1000)  # used now, so no longer the oldest
    cache.store(tmp_path, "key5", bytes(1000))
    cache.evict(tmp_path, limit=3500)
    assert {path.stem for path in tmp_path.iterdir()} == {"key0", "key4", "key5"}


def test_storing_makes_room_now_and_then(tmp_path, monkeypatch):
    monkeypatch.setattr(cache.evict, "__defaults__", (0,))
    for number in range(5 * cache.STORES_PER_EVICTION):
        cache.store(tmp_path, f"key{number}", number.to_bytes(4, "little"))
    assert len(list(tmp_path.iterdir())) < 5 * cache.STORES_PER_EVICTION


def test_two_processes_share_a_directory(tmp_path):
    program = (
        "import sys, pathlib\n"
        "from chainrule.backends.native.cpu import host_target\n"
        "from chainrule.backends.native.jit import compile_module\n"
        "for i in range(20):\n"
        f"    text = {TRIPLE!r} + '; ' + str(i)\n"
        "    library = compile_module(text, host_target(), pathlib.Path(sys.argv[1]))\n"
        "    library.address('triple')\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    workers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for worker in workers:
        assert worker.communicate(timeout=120)[1] == ""
        assert worker.returncode == 0
    assert cache.cache_info(tmp_path).entries == 20
    assert all(cache.load(tmp_path, path.stem) is not None for path in tmp_path.iterdir())


def test_assembly_is_readable():
    assert "triple:" in jit.assembly(TRIPLE, HOST).replace("_triple", "triple")
