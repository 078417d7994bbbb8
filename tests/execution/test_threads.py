"""The thread pool: the split of tasks, waiting, late workers, launches that collide, forks and exits."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest

from chainrule.backends.native.cpu import host_target
from chainrule.backends.native.jit import compile_module
from chainrule.errors import ArgumentError
from chainrule.execution import threads
from chainrule.execution.threads import ThreadPool, busy_thread, get_num_threads, launch, set_num_threads
from chainrule.execution.threads_ir import ControlBlock
from chainrule.settings import settings

# A compiled program, made small. `record` writes the worker of each task to buffer 0 and counts its runs
# in buffer 1; `row_sums` adds up rows of 8 floats of buffer 0, one row per task, into buffer 1; `meet` is `record`
# whose every task waits for the others to begin, so that each needs a thread of its own, and gives up after seconds.
PROGRAM = """
define void @drive(ptr %pool, ptr %kernel, ptr %buffers, i64 %tasks, i64 %repeats) {
entry:
  %serial = icmp eq ptr %pool, null
  br label %repeat
repeat:
  %done = phi i64 [ 0, %entry ], [ %more, %next ]
  br i1 %serial, label %alone, label %together
alone:
  call void %kernel(ptr %buffers, i64 0, i64 %tasks, i64 0)
  br label %next
together:
  %fork_join = load ptr, ptr %pool
  call void %fork_join(ptr %pool, ptr %kernel, ptr %buffers, i64 %tasks)
  br label %next
next:
  %more = add i64 %done, 1
  %again = icmp ult i64 %more, %repeats
  br i1 %again, label %repeat, label %end
end:
  ret void
}

define void @record(ptr %buffers, i64 %begin, i64 %end, i64 %worker) {
entry:
  %counts_at = getelementptr ptr, ptr %buffers, i64 1
  %workers = load ptr, ptr %buffers
  %counts = load ptr, ptr %counts_at
  %some = icmp ult i64 %begin, %end
  br i1 %some, label %task, label %done
task:
  %index = phi i64 [ %begin, %entry ], [ %next, %task ]
  %worker_at = getelementptr i64, ptr %workers, i64 %index
  %count_at = getelementptr i64, ptr %counts, i64 %index
  store i64 %worker, ptr %worker_at
  %count = load i64, ptr %count_at
  %counted = add i64 %count, 1
  store i64 %counted, ptr %count_at
  %next = add i64 %index, 1
  %again = icmp ult i64 %next, %end
  br i1 %again, label %task, label %done
done:
  ret void
}

define void @meet(ptr %buffers, i64 %begin, i64 %end, i64 %worker) {
entry:
  %wanted_at = getelementptr ptr, ptr %buffers, i64 2
  %present_at = getelementptr ptr, ptr %buffers, i64 3
  %wanted_pointer = load ptr, ptr %wanted_at
  %present = load ptr, ptr %present_at
  %wanted = load i64, ptr %wanted_pointer
  call void @record(ptr %buffers, i64 %begin, i64 %end, i64 %worker)
  %before = atomicrmw add ptr %present, i64 1 seq_cst
  br label %look
look:
  %looks = phi i64 [ 0, %entry ], [ %more, %wait ]
  %here = load atomic i64, ptr %present seq_cst, align 8
  %all = icmp uge i64 %here, %wanted
  br i1 %all, label %done, label %wait
wait:
  %more = add i64 %looks, 1
  %patient = icmp ult i64 %more, 20000000000
  br i1 %patient, label %look, label %done
done:
  ret void
}

define void @row_sums(ptr %buffers, i64 %begin, i64 %end, i64 %worker) {
entry:
  %sums_at = getelementptr ptr, ptr %buffers, i64 1
  %rows = load ptr, ptr %buffers
  %sums = load ptr, ptr %sums_at
  br label %row
row:
  %index = phi i64 [ %begin, %entry ], [ %next, %store ]
  %start = mul i64 %index, 8
  br label %column
column:
  %offset = phi i64 [ 0, %row ], [ %offset_next, %column ]
  %sum = phi float [ 0.0, %row ], [ %added, %column ]
  %position = add i64 %start, %offset
  %value_at = getelementptr float, ptr %rows, i64 %position
  %value = load float, ptr %value_at
  %added = fadd float %sum, %value
  %offset_next = add i64 %offset, 1
  %within = icmp ult i64 %offset_next, 8
  br i1 %within, label %column, label %store
store:
  %sum_at = getelementptr float, ptr %sums, i64 %index
  store float %added, ptr %sum_at
  %next = add i64 %index, 1
  %again = icmp ult i64 %next, %end
  br i1 %again, label %row, label %done
done:
  ret void
}
"""
LIBRARY = compile_module(PROGRAM, host_target())
POINTER, INTEGER = ctypes.c_void_p, ctypes.c_int64
DRIVE = ctypes.CFUNCTYPE(None, POINTER, POINTER, POINTER, INTEGER, INTEGER)(LIBRARY.address("drive"))
SYSTEMS = [platform.system(), "Darwin"] if platform.system() == "Linux" else [platform.system()]


def run(pool: int, kernel: str, buffers: list[np.ndarray], tasks: int, repeats: int = 1) -> None:
    pointers = (POINTER * len(buffers))(*(buffer.ctypes.data for buffer in buffers))
    DRIVE(pool, LIBRARY.address(kernel), pointers, tasks, repeats)


def record(pool: int, tasks: int, repeats: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Which worker ran each task last, and how often each task ran; the last element is no task and stays -1 and 0."""
    workers, counts = np.full(tasks + 1, -1), np.zeros(tasks + 1, np.int64)
    run(pool, "record", [workers, counts], tasks, repeats)
    return workers, counts


def meet(pool: int, size: int) -> list[int]:
    """The workers of as many tasks that wait for one another."""
    workers, counts = np.full(size, -1), np.zeros(size, np.int64)
    run(pool, "meet", [workers, counts, np.array([size]), np.array([0])], size)
    assert counts.tolist() == [1] * size
    return sorted(workers.tolist())


def workers_after_launch(size: int) -> list[int]:
    """What a process finds that launches with the number of threads it is set to."""
    return launch(lambda pool: meet(pool, size))


@pytest.fixture
def start() -> Iterator[Callable[..., ThreadPool]]:
    """A function that starts an open pool, which is stopped after the test."""
    pools: list[ThreadPool] = []

    def start_pool(size: int, system: str = platform.system()) -> ThreadPool:
        pools.append(ThreadPool(size, system))
        pools[-1].open()
        return pools[-1]

    yield start_pool
    for pool in pools:
        pool.close()
        pool.stop()
        assert not any(thread.is_alive() for thread in pool._threads)


@pytest.fixture(autouse=True)
def _restore_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "threads", settings.threads)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_every_task_runs_once(start: Callable[..., ThreadPool], size: int, system: str) -> None:
    pool = start(size, system)
    for tasks in (0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33, 100, 1001):
        workers, counts = record(pool.address, tasks)
        assert set(workers[:-1].tolist()) <= set(range(size))
        np.testing.assert_array_equal(counts, [1] * tasks + [0])


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_all_threads_take_part(start: Callable[..., ThreadPool], size: int, system: str) -> None:
    pool = start(size, system)
    for _ in range(20):
        assert meet(pool.address, size) == list(range(size))


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(("size", "forks"), [(2, 20_000), (4, 1000)])
def test_many_forks_run_every_task_every_time(
    start: Callable[..., ThreadPool], size: int, forks: int, system: str
) -> None:
    _, counts = record(start(size, system).address, tasks=7, repeats=forks)
    np.testing.assert_array_equal(counts, [forks] * 7 + [0])


def test_the_number_of_threads_does_not_change_a_bit() -> None:
    rows = np.random.default_rng(0).normal(size=(101, 8)).astype(np.float32)
    sequential = np.cumsum(rows, axis=1, dtype=np.float32)[:, -1]
    for number in (1, 2, 3, 4):
        set_num_threads(number)
        sums = np.zeros(101, np.float32)
        launch(partial(run, kernel="row_sums", buffers=[rows, sums], tasks=101))
        np.testing.assert_array_equal(sums, sequential)


@pytest.mark.parametrize("system", SYSTEMS)
def test_orders_reach_workers_that_sleep_or_fall_asleep(start: Callable[..., ThreadPool], system: str) -> None:
    pool = start(2, system)
    for gap in np.geomspace(1e-6, 3e-3, 300):  # the worker gives up spinning somewhere in between
        pool.close()
        time.sleep(gap)
        pool.open()
        assert meet(pool.address, 2) == [0, 1]


@pytest.mark.parametrize("system", SYSTEMS)
def test_an_idle_pool_uses_no_processor(start: Callable[..., ThreadPool], system: str) -> None:
    pool = start(3, system)
    record(pool.address, tasks=3)
    pool.close()
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.1  # two workers that spin would use up to 1.0


def test_launch_starts_the_pool_and_changes_its_size() -> None:
    set_num_threads(3)
    assert get_num_threads() == 3
    assert workers_after_launch(3) == [0, 1, 2]
    former = threads._pool
    assert workers_after_launch(3) == [0, 1, 2]
    assert threads._pool is former
    set_num_threads(2)
    assert workers_after_launch(2) == [0, 1]
    assert former is not None and not any(thread.is_alive() for thread in former._threads)
    set_num_threads(1)
    assert launch(int) == 0


def test_a_launch_within_a_launch_runs_alone() -> None:
    set_num_threads(2)
    others: list[int] = []

    def launch_elsewhere() -> None:
        others.append(launch(int))

    def program(pool: int) -> int:
        assert launch(int) == 0
        assert launch(lambda nested: record(nested, tasks=3))[1].tolist() == [1, 1, 1, 0]
        thread = threading.Thread(target=launch_elsewhere)
        thread.start()
        thread.join()
        return pool

    pool = launch(program)
    assert others == [0]
    launch_elsewhere()
    assert others == [0, pool]
    assert pool != 0


def size_of(pool: int) -> int:
    """How many threads a program has that runs with this address of a pool."""
    return ControlBlock.from_address(pool).size if pool else 1


@pytest.mark.parametrize(("number", "busy"), [(4, 1), (4, 2), (4, 3), (4, 4), (2, 2), (2, 5)])
def test_busy_threads_use_as_many_threads_together_as_one_would(number: int, busy: int) -> None:
    """All launch while the first holds the pool, when every thread has said that it is busy."""
    set_num_threads(number)
    begun, held = threading.Barrier(busy), threading.Barrier(busy)
    first = threading.Event()
    sizes: list[int] = []

    def run(pool: int) -> None:
        first.set()
        sizes.append(size_of(pool))
        held.wait(60)

    def work(turn: int) -> None:
        with busy_thread(), busy_thread():
            begun.wait(60)
            if turn:
                first.wait(60)
            launch(run)

    workers = [threading.Thread(target=work, args=(turn,)) for turn in range(busy)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(sizes) == busy
    assert sum(sizes) == max(number, busy)
    assert launch(size_of) == number  # nobody is busy any more


def test_the_pool_stays_small_until_all_busy_threads_are_done() -> None:
    set_num_threads(3)
    begun, is_over = threading.Event(), threading.Event()

    def fit() -> None:
        with busy_thread():
            begun.set()
            is_over.wait(60)

    other = threading.Thread(target=fit)
    with busy_thread():
        assert workers_after_launch(3) == [0, 1, 2]
        other.start()
        begun.wait(60)
        assert workers_after_launch(2) == [0, 1]
        former = threads._pool
        is_over.set()
        other.join()
        assert workers_after_launch(2) == [0, 1]  # the other may only be between two fits
        assert threads._pool is former
    with busy_thread():
        assert workers_after_launch(3) == [0, 1, 2]


def test_an_exception_during_a_launch_gives_the_pool_back() -> None:
    set_num_threads(2)
    with pytest.raises(ZeroDivisionError):
        launch(lambda pool: 1 // (pool - pool))
    assert workers_after_launch(2) == [0, 1]


@pytest.fixture
def incomplete(start: Callable[..., ThreadPool], monkeypatch: pytest.MonkeyPatch) -> ThreadPool:
    """A pool of 4 for which the system grants 2 threads, the calling one included."""

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "chainrule-2":
            raise RuntimeError("can't start new thread")
        original(thread)

    original = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", refuse)
    return start(4)


def test_a_system_that_refuses_threads_leaves_a_smaller_pool(incomplete: ThreadPool) -> None:
    assert incomplete._block.size == 2
    assert meet(incomplete.address, 2) == [0, 1]


def test_nobody_waits_for_a_worker_that_does_not_come(incomplete: ThreadPool) -> None:
    incomplete._block.size = 4  # two shares belong to nobody
    workers, counts = record(incomplete.address, 100, repeats=50)
    assert set(workers[:-1].tolist()) <= {0, 1}
    np.testing.assert_array_equal(counts, [50] * 100 + [0])


@pytest.mark.parametrize("number", [0, -1, 1.5, "2", True, None])
def test_wrong_numbers_of_threads_are_refused(number: object) -> None:
    with pytest.raises(ArgumentError, match="positive whole number of threads, got"):
        set_num_threads(number)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_starts_its_own_pool_and_the_parent_goes_on() -> None:
    set_num_threads(2)

    def program(pool: int) -> int:
        record(pool, tasks=2)  # the worker spins, and the pool is taken, at the moment of the fork
        child = os.fork()
        if child == 0:
            os._exit(0 if workers_after_launch(2) == [0, 1] else 1)
        assert meet(pool, 2) == [0, 1]
        return child

    child = launch(program)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert workers_after_launch(2) == [0, 1]


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_processes_of_multiprocessing_have_their_own_pools(method: str) -> None:
    set_num_threads(2)
    assert workers_after_launch(2) == [0, 1]
    context = multiprocessing.get_context(method)
    with context.Pool(2, initializer=set_num_threads, initargs=(2,)) as processes:
        assert processes.map(workers_after_launch, [2] * 4) == [[0, 1]] * 4


def python(code: str, before_import: str = "", **variables: str) -> subprocess.Popen[str]:
    """A new interpreter that runs code with this module's names, and with more environment variables."""
    path = os.pathsep.join([os.path.dirname(__file__), *filter(None, sys.path)])
    script = f"{before_import}\nfrom test_threads import *\n{textwrap.dedent(code)}"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = {**os.environ, **variables, "PYTHONPATH": path}
    return subprocess.Popen([sys.executable, "-c", script], env=environment, text=True, **pipes)


ENDINGS = {
    "at the end of the script": ("", 0),
    "while workers sleep": ("time.sleep(0.01)", 0),
    "by sys.exit": ("sys.exit(3)", 3),
    "by an exception": ("raise SystemError('on purpose')", 1),
    "by an exception during a launch": ("launch(lambda pool: exec('raise SystemError(\"on purpose\")'))", 1),
    "while another thread runs a program": (
        """
        run_for_ever = lambda pool: record(pool, 4, 10**12)
        threading.Thread(target=launch, args=[run_for_ever], daemon=True).start()
        time.sleep(0.05)
        """,
        0,
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_interpreter_ends_cleanly(ending: str) -> None:
    code, expected = ENDINGS[ending]
    code = "set_num_threads(3)\nassert workers_after_launch(3) == [0, 1, 2]\n" + textwrap.dedent(code)
    processes = [python(code) for _ in range(2)]
    for process in processes:
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, output) == (expected, ""), errors
        assert ("on purpose" in errors) if "on purpose" in code else (errors == "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to a process")
def test_control_c_ends_a_program_that_launches_again_and_again() -> None:
    process = python(
        """
        signal.signal(signal.SIGINT, signal.default_int_handler)  # also where tests run behind nohup or &
        set_num_threads(2)
        print(workers_after_launch(2), flush=True)
        try:
            while True:
                launch(lambda pool: record(pool, 4, 1000))
        except KeyboardInterrupt:
            print(workers_after_launch(2))
        """
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "[0, 1]\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    try:
        assert (process.communicate(timeout=60), process.returncode) == (("[0, 1]\n", ""), 0)
    finally:
        process.kill()


def test_the_environment_sets_the_number_of_threads() -> None:
    process = python("print(get_num_threads(), workers_after_launch(3))", CHAINRULE_NUM_THREADS="3")
    output, errors = process.communicate(timeout=60)
    assert output == "3 [0, 1, 2]\n", errors


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not tell a process's CPUs")
def test_the_cpus_of_the_process_are_honoured() -> None:
    process = python(
        """
        assert (get_num_threads(), launch(int)) == (1, 0)
        set_num_threads(3)
        for _ in range(5):
            assert workers_after_launch(3) == [0, 1, 2]
            time.sleep(0.001)
        assert [os.sched_getaffinity(thread.native_id) for thread in threading.enumerate()] == [{cpu}] * 3
        """,
        before_import="import os; cpu = max(os.sched_getaffinity(0)); os.sched_setaffinity(0, {cpu})",
    )
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not tell a process's CPUs")
def test_workers_that_moved_may_still_use_every_cpu(start: Callable[..., ThreadPool]) -> None:
    pool = start(2)
    for _ in range(50):  # a worker that wakes on the master's CPU moves
        time.sleep(0.002)
        record(pool.address, tasks=2, repeats=3)
    worker = pool._threads[0].native_id or 0
    deadline = time.monotonic() + 30  # orders may be done without the worker, which may be on its way just now
    while os.sched_getaffinity(worker) != os.sched_getaffinity(0) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert os.sched_getaffinity(worker) == os.sched_getaffinity(0)


def test_the_pool_can_be_the_first_thing_compiled_in_a_process() -> None:
    first = "from chainrule.execution.threads import *\nset_num_threads(2)\nassert launch(int)"
    process = python("assert workers_after_launch(2) == [0, 1]", before_import=first)
    assert process.communicate(timeout=60) == ("", "")
