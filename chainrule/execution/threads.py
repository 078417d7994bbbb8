"""The thread pool: Python threads that stay in a native loop, where compiled programs give them work without any
Python.

A program is given the pool's address for one run::

    launch(lambda pool: driver(..., pool))      # called so that the GIL is released (ctypes.CFUNCTYPE)

If it is 0, the program runs on the calling thread alone. The address is that of a `ControlBlock`, whose first word is
the address of a native function. The driver calls it, or, when the pool is 0, the kernel itself with all tasks::

    void fork_join(ptr pool, ptr kernel, ptr buffers, i64 tasks)
    void kernel(ptr buffers, i64 begin, i64 end, i64 worker)

``fork_join`` splits [0, tasks) evenly into contiguous shares, one per thread, and returns when all are done. A thread
that is done with its own share takes over what others have not begun. Tasks are independent of one another and fixed by
shapes, so neither the number of threads nor who does a task ever changes a result.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import platform
import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import TypeVar

from chainrule.backends.native.cpu import host_target
from chainrule.backends.native.jit import Library, compile_module
from chainrule.errors import ArgumentError
from chainrule.execution.threads_ir import LINE, ControlBlock, threads_ir
from chainrule.settings import settings, usable_cpus

SPIN_PAUSES = 16384  # pauses a worker spins for the next order before it sleeps: about 400 µs, a step of a Python loop

Result = TypeVar("Result")

_Post = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
_ForkJoin = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
Shared = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
_Work = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)


def get_num_threads() -> int:
    """The number of threads that one program may use, the calling one included.

    It starts as the number of CPUs that the process may run on, or as the environment variable CHAINRULE_NUM_THREADS
    says.

    >>> get_num_threads() >= 1
    True
    """
    return settings.threads


def set_num_threads(number: int) -> None:
    """Let programs use ``number`` threads from their next run on, the calling one included. Results stay the same to
    the bit.

    More threads than CPUs work, slowly. Raises `ArgumentError` if ``number`` is not a positive whole number.

    >>> set_num_threads(2)
    """
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ArgumentError(f"set_num_threads: expected a positive whole number of threads, got {number!r}")
    settings.threads = number


@cache
def _library(system: str) -> Library:
    """The compiled functions of `threads_ir` for an operating system, on this processor."""
    directory = settings.cache_directory if settings.cache_enabled else None
    return compile_module(threads_ir(system, platform.machine()), host_target(settings.cpu_features), directory)


class ThreadPool:
    """``size - 1`` daemon threads and the calling one, which share the tasks of each ``fork_join``.

    They start with the pool, spin for about 400 µs after each order and sleep afterwards, until `stop`. `open` must
    come before a program runs with the pool's ``address`` and `close` after it; only one program may run at a time:
    see `launch`. ``system`` is the operating system, as ``platform.system()`` names it, whose way of waiting is used.

    >>> pool = ThreadPool(2)
    >>> pool.stop()
    """

    def __init__(self, size: int, system: str = platform.system()) -> None:
        self.size = size
        library = _library(system)  # kept by the cache, so that its code outlives every thread
        self._enter_native_loop = _Work(library.address("work"))
        self._post = _Post(library.address("post"))
        self._memory = ctypes.create_string_buffer(ctypes.sizeof(ControlBlock) + (size + 1) * LINE)
        self._block = ControlBlock.from_buffer(self._memory, -ctypes.addressof(self._memory) % LINE)
        self.address = ctypes.addressof(self._block)
        self._block.fork_join = library.address("fork_join")
        # Where threads must share a CPU, spinning only keeps the others from their work.
        self._block.spin = SPIN_PAUSES if size <= usable_cpus() else 0
        self._threads: list[threading.Thread] = []
        # Daemons, because the interpreter joins other threads before it runs the exit function that stops these.
        with contextlib.suppress(RuntimeError):  # the system grants no more threads: the pool is smaller
            for worker in range(1, size):
                thread = threading.Thread(target=self._work, args=(worker,), name=f"chainrule-{worker}", daemon=True)
                thread.start()
                self._threads.append(thread)
        self._block.size = 1 + len(self._threads)

    def _work(self, worker: int) -> None:
        self._enter_native_loop(self.address, worker)

    def open(self) -> None:
        """Tell the workers that a program runs."""
        self._block.running = 1

    def close(self) -> None:
        """Tell the workers that no program runs."""
        self._block.running = 0

    def stop(self) -> None:
        """End the threads. No program may be running."""
        self._post(self.address, None, None, 0)
        for thread in self._threads:
            thread.join()


_pool: ThreadPool | None = None
_busy: set[int] = set()  # Python threads within `busy_thread`
_most_busy = 1  # as many as there were at once since there was none
_lock = threading.Lock()  # held while a program runs with the pool, and while the pool starts or stops


@contextlib.contextmanager
def busy_thread() -> Iterator[None]:
    """Tell that the calling Python thread has programs to run for a while, such as those of a fit.

    While several do, one at a time has the pool and the others run alone, so the pool leaves a CPU to each of them:
    together they use as many threads as one program would.

    >>> with busy_thread():
    ...     pass  # one program after another
    """
    global _most_busy
    thread = threading.get_ident()
    if thread in _busy:
        yield
        return
    if not _busy:
        _most_busy = 1
    _busy.add(thread)
    try:
        yield
    finally:
        _busy.discard(thread)


def _pool_size() -> int:
    """How many threads a program may use now; they do not become more again before all busy threads are done, since
    one that is between two fits will soon be back, and a pool of another size takes milliseconds to start.
    """
    global _most_busy
    if not _busy:
        return settings.threads
    _most_busy = max(_most_busy, len(_busy))
    return max(1, settings.threads - (_most_busy - 1))


def launch(program: Callable[[int], Result]) -> Result:
    """Lend the pool to one run of a program, which is called with its address, or with 0 when it is to run on the
    calling thread alone.

    The pool starts, or changes its size, when it is first needed. While one run has it, another (from a second Python
    thread, or nested in a callback) gets 0 rather than waiting: it computes the same bits alone, and cannot wait for
    itself. (Two that start at the very same moment may also run one after the other.)

    >>> launch(lambda pool: "driver(buffers, pool)")
    'driver(buffers, pool)'
    """
    lock = _lock  # a fork during the launch changes the global one
    size = _pool_size()
    if size == 1 or lock.locked():
        return program(0)
    # Not acquire(blocking=False), nor a context manager of our own: Ctrl-C could come between taking the lock and the
    # code that gives it back, and the pool would be lent for as long as the traceback is kept.
    with lock:
        pool = _current_pool(size)
        pool.open()
        try:
            return program(pool.address)
        finally:
            pool.close()


def share(kernel: int, buffers: int, tasks: int) -> None:
    """Run the tasks of one kernel, given by its address, on the pool's threads."""

    def run(pool: int) -> None:
        if pool:
            _ForkJoin(ControlBlock.from_address(pool).fork_join)(pool, kernel, buffers, tasks)
        else:
            Shared(kernel)(buffers, 0, tasks, 0)

    launch(run)


def is_running() -> bool:
    """Whether the pool's threads are there; starting them takes some milliseconds."""
    return _pool is not None


def _current_pool(size: int) -> ThreadPool:
    global _pool
    if _pool is None or _pool.size != size:
        outgrown, _pool = _pool, None
        if outgrown is not None:
            outgrown.stop()
        _pool = ThreadPool(size)
    return _pool


def _stop_at_exit() -> None:
    if _pool is not None and _lock.acquire(blocking=False):  # and never released: what still runs at exit runs alone
        _pool.stop()


def _forget_after_fork() -> None:
    """Threads do not survive a fork, and the lock may have been held by one of them: the child starts anew."""
    global _pool, _lock
    _pool = None
    _lock = threading.Lock()
    _busy.intersection_update({threading.get_ident()})


atexit.register(_stop_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
