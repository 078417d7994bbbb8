"""The native half of the thread pool: its control block and the LLVM IR of ``fork_join`` and of the workers' loop.

One thread, the master, posts an order (kernel, buffers, number of tasks) and raises ``generation``. The tasks are
divided into one share per thread. Every thread takes the tasks of its own share one after another, which keeps what
they use in its caches, and then, from the end, what the others have not begun of theirs: so nobody waits for a thread
that sleeps, or whose CPU the system has given to another process. The master returns when no task is unfinished; a
worker that comes too late finds nothing to do. An order without a kernel tells the workers to leave. Both sides spin at
first, since a fork and join then takes some 100 ns, against 20-50 µs from sleep.

What is taken of a share is one word: the generation, and the first and the last that is not taken of at most 16 units
of tasks. A word of an earlier generation stands for a share that nobody has begun. So a late worker can do no harm: the
exchange by which it would take a unit fails, since all words have come to the generation of its order, or beyond. While
an order is written, ``generation`` is odd; who finds it changed after reading the order has not read that order.

Master and worker must not wait for one another on one CPU, where each would use up its time before the other runs;
yet Linux often wakes a worker on the CPU of the master, and may leave it there for 100 ms. So the master publishes
the CPU it runs on; a worker that wakes there moves to another CPU, one that finds itself there later sleeps at once,
and a master that has waited for long yields its CPU.

On Linux a worker sleeps by futex. Elsewhere it only yields its CPU while a program is running, and between programs it
looks for an order every millisecond.
"""

from __future__ import annotations

import ctypes
from string import Template

LINE = 128  # bytes: a cache line and the neighbour that is fetched with it, so that no two counters share one


class ControlBlock(ctypes.Structure):
    """The memory that master and workers share; each counter has a cache line of its own. Starts with ``fork_join``'s
    address. Behind it lies, for each thread, a line with the word of its share."""

    _fields_ = (
        # line 0 is only read while programs run
        ("fork_join", ctypes.c_void_p),
        ("size", ctypes.c_int64),  # threads, the master included
        ("spin", ctypes.c_int64),  # pauses a worker spins before it sleeps
        ("running", ctypes.c_int32),  # 1 while a program runs
        ("_gap_0", ctypes.c_char * (LINE - 28)),
        # line 1: the order and its number, which travel together
        ("kernel", ctypes.c_void_p),
        ("buffers", ctypes.c_void_p),
        ("tasks", ctypes.c_int64),
        ("generation", ctypes.c_int64),
        ("master_cpu", ctypes.c_int32),
        ("_gap_1", ctypes.c_char * (LINE - 36)),
        ("pending", ctypes.c_int64),  # tasks that are not finished
        ("_gap_2", ctypes.c_char * (LINE - 8)),
        ("sleepers", ctypes.c_int32),  # workers that sleep or are about to
        ("_gap_3", ctypes.c_char * (LINE - 4)),
    )


# Number of Linux's futex system call, per machine as Python's platform.machine() names it (all are little-endian).
FUTEX_CALLS = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "ppc64le": 221}

MASTER_PAUSES = 400  # about 10 µs; after them the master yields its CPU, in case a worker needs it

PROTOCOL = """
; Run what nobody has begun of an order: units of the own share in order, of the others from their ends.
define internal void @run_order(ptr %pool, ptr %kernel, ptr %buffers, i64 %tasks, i64 %generation, i64 %worker) {
entry:
  %size_at = getelementptr i8, ptr %pool, i64 $size
  %pending_at = getelementptr i8, ptr %pool, i64 $pending
  %shares_at = getelementptr i8, ptr %pool, i64 $shares
  %size = load i64, ptr %size_at
  %least = udiv i64 %tasks, %size
  %whole = mul i64 %least, %size
  %rest = sub i64 %tasks, %whole                  ; the first %rest shares have one task more
  %stamp = shl i64 %generation, 16
  br label %share
share:
  %turn = phi i64 [ 0, %entry ], [ %turn_after, %left ]
  %is_own = icmp eq i64 %turn, 0
  %number = add i64 %worker, %turn
  %wrapped = sub i64 %number, %size
  %wraps = icmp uge i64 %number, %size
  %owner = select i1 %wraps, i64 %wrapped, i64 %number
  %before = mul i64 %owner, %least
  %extra_before = call i64 @llvm.umin.i64(i64 %owner, i64 %rest)
  %begin = add i64 %before, %extra_before
  %has_extra = icmp ult i64 %owner, %rest
  %extra = zext i1 %has_extra to i64
  %count = add i64 %least, %extra
  %end = add i64 %begin, %count
  %raised = add i64 %count, 15
  %unit = lshr i64 %raised, 4                     ; tasks in a unit
  %word_at = getelementptr [$line x i8], ptr %shares_at, i64 %owner
  %none = icmp eq i64 %count, 0
  br i1 %none, label %left, label %begun
begun:
  %padded = add i64 %count, %unit
  %last = sub i64 %padded, 1
  %units = udiv i64 %last, %unit
  %untouched = or i64 %stamp, %units
  br label %look
look:
  %done = phi i64 [ 0, %begun ], [ %done_after, %run ]
  %found = load atomic i64, ptr %word_at monotonic, align 8
  br label %try
try:
  %word = phi i64 [ %found, %look ], [ %changed, %take ]
  %is_earlier = icmp ult i64 %word, %stamp
  %state = select i1 %is_earlier, i64 %untouched, i64 %word
  %next_shifted = lshr i64 %state, 8
  %next = and i64 %next_shifted, 255
  %stop = and i64 %state, 255
  %state_stamp = and i64 %state, -65536
  %is_current = icmp eq i64 %state_stamp, %stamp
  %some = icmp ult i64 %next, %stop
  %can_take = and i1 %is_current, %some
  br i1 %can_take, label %take, label %account
take:
  %without_first = add i64 %state, 256
  %without_last = sub i64 %state, 1
  %after = select i1 %is_own, i64 %without_first, i64 %without_last
  %stop_before = sub i64 %stop, 1
  %taken = select i1 %is_own, i64 %next, i64 %stop_before
  %exchange = cmpxchg ptr %word_at, i64 %word, i64 %after acq_rel monotonic
  %changed = extractvalue { i64, i1 } %exchange, 0
  %succeeded = extractvalue { i64, i1 } %exchange, 1
  br i1 %succeeded, label %run, label %try
run:
  %distance = mul i64 %taken, %unit
  %first_task = add i64 %begin, %distance
  %full_end = add i64 %first_task, %unit
  %end_task = call i64 @llvm.umin.i64(i64 %full_end, i64 %end)
  call void %kernel(ptr %buffers, i64 %first_task, i64 %end_task, i64 %worker)
  %ran = sub i64 %end_task, %first_task
  %done_after = add i64 %done, %ran
  br label %look
account:
  %did_nothing = icmp eq i64 %done, 0
  br i1 %did_nothing, label %left, label %subtract
subtract:
  %unfinished = atomicrmw sub ptr %pending_at, i64 %done release
  br label %left
left:
  %turn_after = add i64 %turn, 1
  %more = icmp ult i64 %turn_after, %size
  br i1 %more, label %share, label %finished
finished:
  ret void
}

; Give all workers an order and wake those that sleep; the order's generation. No kernel: they leave.
define i64 @post(ptr %pool, ptr %kernel, ptr %buffers, i64 %tasks) {
  %kernel_at = getelementptr i8, ptr %pool, i64 $kernel
  %buffers_at = getelementptr i8, ptr %pool, i64 $buffers
  %tasks_at = getelementptr i8, ptr %pool, i64 $tasks
  %pending_at = getelementptr i8, ptr %pool, i64 $pending
  %generation_at = getelementptr i8, ptr %pool, i64 $generation
  %former = load atomic i64, ptr %generation_at monotonic, align 8
  %odd = add i64 %former, 1
  store atomic i64 %odd, ptr %generation_at monotonic, align 8
  fence release
  store atomic i64 %tasks, ptr %pending_at monotonic, align 8
  store atomic ptr %kernel, ptr %kernel_at monotonic, align 8
  store atomic ptr %buffers, ptr %buffers_at monotonic, align 8
  store atomic i64 %tasks, ptr %tasks_at monotonic, align 8
  call void @publish_cpu(ptr %pool)
  %before = atomicrmw add ptr %generation_at, i64 1 seq_cst
  call void @wake(ptr %pool)
  %generation = add i64 %former, 2
  ret i64 %generation
}

; Run all tasks on all threads, this one included. A single task is not worth waking anyone.
define void @fork_join(ptr %pool, ptr %kernel, ptr %buffers, i64 %tasks) {
entry:
  %pending_at = getelementptr i8, ptr %pool, i64 $pending
  %few = icmp ult i64 %tasks, 2
  br i1 %few, label %alone, label %fork
alone:
  call void %kernel(ptr %buffers, i64 0, i64 %tasks, i64 0)
  ret void
fork:
  %generation = call i64 @post(ptr %pool, ptr %kernel, ptr %buffers, i64 %tasks)
  call void @run_order(ptr %pool, ptr %kernel, ptr %buffers, i64 %tasks, i64 %generation, i64 0)
  br label %look
look:
  %looks = phi i32 [ 1, %fork ], [ %more, %pause ], [ 1, %yield ]
  %pending = load atomic i64, ptr %pending_at acquire, align 8
  %joined = icmp eq i64 %pending, 0
  br i1 %joined, label %done, label %wait
wait:
  %long = icmp ugt i32 %looks, $master_pauses
  br i1 %long, label %yield, label %pause
pause:
  %more = add i32 %looks, 1
  call void @pause()
  br label %look
yield:
  call void @yield_cpu()
  br label %look
done:
  ret void
}

; Wait for a generation other than %seen, which is not being written.
define internal i64 @next_generation(ptr %pool, i64 %seen) {
entry:
  %generation_at = getelementptr i8, ptr %pool, i64 $generation
  %spin_at = getelementptr i8, ptr %pool, i64 $spin
  %spin = load i64, ptr %spin_at
  br label %look
look:
  %left = phi i64 [ %spin, %entry ], [ %spin, %sleep ], [ %fewer, %pause ]
  %generation = load atomic i64, ptr %generation_at acquire, align 8
  %other = icmp ne i64 %generation, %seen
  %oddness = trunc i64 %generation to i1
  %is_whole = xor i1 %oddness, true
  %new = and i1 %other, %is_whole
  br i1 %new, label %found, label %wait
wait:
  %phase = and i64 %left, 63
  %turn = icmp eq i64 %phase, 0
  br i1 %turn, label %consider, label %pause
consider:                                         ; every 64 pauses, and before the first
  %spent = icmp eq i64 %left, 0
  %same_cpu = call i1 @on_cpu_of_master(ptr %pool)
  %tired = or i1 %spent, %same_cpu
  br i1 %tired, label %sleep, label %pause
pause:
  %fewer = sub i64 %left, 1
  call void @pause()
  br label %look
sleep:
  call void @sleep(ptr %pool, i64 %seen)
  br label %look
found:
  ret i64 %generation
}

; The life of a worker.
define void @work(ptr %pool, i64 %worker) {
entry:
  %kernel_at = getelementptr i8, ptr %pool, i64 $kernel
  %buffers_at = getelementptr i8, ptr %pool, i64 $buffers
  %tasks_at = getelementptr i8, ptr %pool, i64 $tasks
  %generation_at = getelementptr i8, ptr %pool, i64 $generation
  br label %next
next:
  %seen = phi i64 [ 0, %entry ], [ %generation, %read ], [ %generation, %run ]
  %generation = call i64 @next_generation(ptr %pool, i64 %seen)
  %kernel = load atomic ptr, ptr %kernel_at monotonic, align 8
  %buffers = load atomic ptr, ptr %buffers_at monotonic, align 8
  %tasks = load atomic i64, ptr %tasks_at monotonic, align 8
  fence acquire
  %now = load atomic i64, ptr %generation_at monotonic, align 8
  %is_read = icmp eq i64 %now, %generation
  br i1 %is_read, label %order, label %read
read:                                             ; the order has been done without this worker
  br label %next
order:
  %dismissed = icmp eq ptr %kernel, null
  br i1 %dismissed, label %leave, label %run
run:
  call void @run_order(ptr %pool, ptr %kernel, ptr %buffers, i64 %tasks, i64 %generation, i64 %worker)
  br label %next
leave:
  ret void
}

declare i64 @llvm.umin.i64(i64, i64)
"""

LINUX_WAITING = """
declare i64 @syscall(i64, ...)
declare i32 @sched_getcpu()
declare i32 @sched_getaffinity(i32, i64, ptr)
declare i32 @sched_setaffinity(i32, i64, ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define internal void @publish_cpu(ptr %pool) {
  %cpu_at = getelementptr i8, ptr %pool, i64 $master_cpu
  %cpu = call i32 @sched_getcpu()
  store atomic i32 %cpu, ptr %cpu_at monotonic, align 4
  ret void
}

define internal i1 @on_cpu_of_master(ptr %pool) {
  %cpu_at = getelementptr i8, ptr %pool, i64 $master_cpu
  %master = load atomic i32, ptr %cpu_at monotonic, align 4
  %own = call i32 @sched_getcpu()
  %same = icmp eq i32 %own, %master
  ret i1 %same
}

; A worker first counts itself, then has the system compare the generation again; the master first raises the
; generation, then reads the count: at least one of the two sees the other.
define internal void @sleep(ptr %pool, i64 %seen) {
  %generation_at = getelementptr i8, ptr %pool, i64 $generation
  %low_half = trunc i64 %seen to i32              ; what lies first, and what the system compares
  %sleepers_at = getelementptr i8, ptr %pool, i64 $sleepers
  %spin_at = getelementptr i8, ptr %pool, i64 $spin
  %others = atomicrmw add ptr %sleepers_at, i32 1 seq_cst
  %wait = call i64 (i64, ...) @syscall(i64 $futex, ptr %generation_at, i32 128, i32 %low_half, ptr null)  ; private wait
  %with_this = atomicrmw sub ptr %sleepers_at, i32 1 seq_cst
  %same_cpu = call i1 @on_cpu_of_master(ptr %pool)
  %spin = load i64, ptr %spin_at
  %roomy = icmp ne i64 %spin, 0                   ; there is a CPU for each thread
  %crowded = and i1 %same_cpu, %roomy
  br i1 %crowded, label %move, label %done
move:
  call void @leave_cpu()
  br label %done
done:
  ret void
}

; Have the system move this thread to another CPU, by forbidding the present one for a moment.
define internal void @leave_cpu() {
  %allowed = alloca [1024 x i8]                   ; one bit per CPU
  %others = alloca [1024 x i8]
  %failed = call i32 @sched_getaffinity(i32 0, i64 1024, ptr %allowed)
  %known = icmp eq i32 %failed, 0
  br i1 %known, label %move, label %done
move:
  call void @llvm.memcpy.p0.p0.i64(ptr %others, ptr %allowed, i64 1024, i1 false)
  %cpu = call i32 @sched_getcpu()
  %byte_index = lshr i32 %cpu, 3
  %bit_index = and i32 %cpu, 7
  %bit_index_8 = trunc i32 %bit_index to i8
  %bit = shl i8 1, %bit_index_8
  %rest = xor i8 %bit, -1
  %byte_at = getelementptr i8, ptr %others, i32 %byte_index
  %byte = load i8, ptr %byte_at
  %without = and i8 %byte, %rest
  store i8 %without, ptr %byte_at
  %moved = call i32 @sched_setaffinity(i32 0, i64 1024, ptr %others)
  %restored = call i32 @sched_setaffinity(i32 0, i64 1024, ptr %allowed)
  br label %done
done:
  ret void
}

define internal void @wake(ptr %pool) {
  %generation_at = getelementptr i8, ptr %pool, i64 $generation
  %sleepers_at = getelementptr i8, ptr %pool, i64 $sleepers
  %sleepers = load atomic i32, ptr %sleepers_at seq_cst, align 4
  %none = icmp eq i32 %sleepers, 0
  br i1 %none, label %done, label %call
call:
  %woken = call i64 (i64, ...) @syscall(i64 $futex, ptr %generation_at, i32 129, i32 2147483647)  ; private wake, all
  br label %done
done:
  ret void
}
"""

PORTABLE_WAITING = """
define internal void @publish_cpu(ptr %pool) {
  ret void
}

define internal i1 @on_cpu_of_master(ptr %pool) {
  ret i1 false
}

define internal void @sleep(ptr %pool, i64 %seen) {
  %running_at = getelementptr i8, ptr %pool, i64 $running
  %running = load atomic i32, ptr %running_at monotonic, align 4
  %idle = icmp eq i32 %running, 0
  br i1 %idle, label %nap, label %yield
nap:
  call void @nap()
  br label %done
yield:
  call void @yield_cpu()
  br label %done
done:
  ret void
}

define internal void @wake(ptr %pool) {
  ret void
}
"""

# What a spinning thread executes, to save power and to leave shared units to the other threads of its core.
X86_PAUSE = """
declare void @llvm.x86.sse2.pause()
define internal void @pause() {
  call void @llvm.x86.sse2.pause()
  ret void
}
"""
ARM_PAUSE = """
declare void @llvm.aarch64.isb(i32)
define internal void @pause() {
  call void @llvm.aarch64.isb(i32 15)
  ret void
}
"""
NO_PAUSE = """
define internal void @pause() {
  ret void
}
"""
PAUSES = {"x86_64": X86_PAUSE, "amd64": X86_PAUSE, "aarch64": ARM_PAUSE, "arm64": ARM_PAUSE}

POSIX_YIELDING = """
declare i32 @sched_yield()
declare i32 @usleep(i32)
define internal void @yield_cpu() {
  %done = call i32 @sched_yield()
  ret void
}
define internal void @nap() {
  %done = call i32 @usleep(i32 1000)
  ret void
}
"""
WINDOWS_YIELDING = """
declare i32 @SwitchToThread()
declare void @Sleep(i32)
define internal void @yield_cpu() {
  %done = call i32 @SwitchToThread()
  ret void
}
define internal void @nap() {
  call void @Sleep(i32 1)
  ret void
}
"""


def threads_ir(system: str, machine: str) -> str:
    """The LLVM module text of the pool for an operating system and a processor, as ``platform`` names them.

    It defines ``fork_join(pool, kernel, buffers, tasks)``, ``post`` (the same without doing a share and without
    waiting) and ``work(pool, worker)``, the life of a worker. Nothing in it depends on CPU features.

    >>> "futex" in threads_ir("Darwin", "arm64").lower()
    False
    """
    machine = machine.lower()
    text = PROTOCOL + PAUSES.get(machine, NO_PAUSE) + (WINDOWS_YIELDING if system == "Windows" else POSIX_YIELDING)
    text += LINUX_WAITING if system == "Linux" and machine in FUTEX_CALLS else PORTABLE_WAITING
    offsets = {name: getattr(ControlBlock, name).offset for name, _ in ControlBlock._fields_}
    layout = {"line": LINE, "shares": ctypes.sizeof(ControlBlock), **offsets}
    return Template(text).substitute(layout, futex=FUTEX_CALLS.get(machine), master_pauses=MASTER_PAUSES)
