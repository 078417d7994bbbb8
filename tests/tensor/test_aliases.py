"""Random programs of views, operations in place and indexed assignment, run in chainrule and in PyTorch.

After them all tensors that are alive are compared, and the gradients of leaves.
"""

from typing import Any

import numpy as np
import pytest

import chainrule as cr

torch = pytest.importorskip("torch")
Operation = tuple[str, int, int]
"""A line of a program with {x} for one live tensor and {y} for another, and which these are."""

VIEWS = (
    "{x}.view(-1)", "{x}.reshape(-1)", "{x}.reshape(2, -1)", "{x}.view(-1, 2)", "{x}.flatten()", "{x}.flatten(0, 1)",
    "{x}.T", "{x}.mT", "{x}.transpose(0, -1)", "{x}.permute(1, 0)", "{x}.permute(1, 2, 0)", "{x}.squeeze()",
    "{x}.squeeze(0)", "{x}.unsqueeze(0)", "{x}.unsqueeze(-1)", "{x}.expand(2, *{x}.shape)", "{x}.diagonal()",
    "{x}.diagonal(1)", "{x}.diagonal(-1)", "{x}.unfold(0, 2, 1)", "{x}.unfold(-1, 2, 2)", "{x}.detach()", "{x}.data",
    "{x}[0]", "{x}[-1]", "{x}[1:]", "{x}[::2]", "{x}[..., 0]", "{x}[..., 1:]", "{x}[None]", "{x}[:, None]",
    "{x}[..., ::2]", "{x}[0, 1]", "{x}[:1]", "{x}.t()", "{x}.unflatten(-1, (2, -1))", "{x}.contiguous()",
    "{x}.view_as({y})", "{x}[:, 1]",
)  # fmt: skip
FRESH = ("({x} * 2).contiguous()", "({x} + {y}).contiguous()", "{x}.clone().contiguous()", "{x}.sum()")
COPIES = tuple(f"{copy}.contiguous()" for copy in (
    "{x}[[1, 0]]", "{x}[m.tensor([0, 1, 1])]", "{x}[m.tensor([0, -1]), m.tensor([1, 0])]", "{x}[:, [1, 0]]",
    "{x}[{x} > 0]", "{x}[m.tensor([True, False])]", "{x}[[0, 1], :, [1, 0]]", "{x}[m.tensor([[0], [1]]), [0, 1]]",
    "{x}[1, [0, 1]]", "{x}[..., m.tensor([[0, 1]])]", "{x}[None, [0]]",
))  # fmt: skip
WRITES = (
    "{x}.add_(1)", "{x}.mul_(2)", "{x}.sub_({y})", "{x}.copy_({y})", "{x}.zero_()", "{x}.fill_(3)", "{x}.neg_()",
    "{x}.clamp_(-1.3, 1.3)", "{x}.tanh_()", "{x}.relu_()", "{x}.mul_({y})", "{x}.addcmul_({y}, {y}, value=0.5)",
    "{x}[0] = {y}", "{x}[0] = 5", "{x}[..., 1] = -1", "{x}[1:] += 1", "{x}[0] *= {y}", "{x}[::2] = {y}.sum()",
    "{x}[{x} > 0] = 0", "{x}[[0, 1]] = 7", "{x}[[0, 1]] += 1", "{x}[m.tensor([1, 0])] = {x}[:2].clone()",
    "{x}[:, [1]] = {y}[:1].sum()", "{x}[0][0] += 2", "{x}[..., None] -= 1", "{x}[-1, 1:] = {x}[0, 1:].clone()",
    "{x}[{x} < 0] += 3", "{x}.index_put_((m.tensor([0, 0]),), {x}[0].clone(), accumulate=True)",
    "{x}.masked_fill_({x} > 1, 0.5)", "{x}.index_add_(0, m.tensor([0, 0]), {x}[:2].clone())",
    "{x}.scatter_(0, m.zeros_like({x}, dtype=m.int64)[:1], {x}.clone())", "{x}.view(-1)[::2].mul_(2)",
    "{x}.index_copy_(0, m.tensor([1]), {x}[:1].clone())", "{x}.index_fill_(-1, m.tensor([0]), 4)", "{x}.exp_().log_()",
    "{x}[:] = {y}", "{x}[...] = 2 * {x}", "{x}[True] = 1", "{x}[:1, 0] = {y}",
)  # fmt: skip


def make_program(rng: np.random.Generator, length: int) -> list[Operation]:
    program = []
    for _ in range(length):
        kinds = (VIEWS, VIEWS, VIEWS, FRESH, COPIES, WRITES, WRITES, WRITES)
        lines = kinds[rng.integers(len(kinds))]
        program.append((lines[rng.integers(len(lines))], int(rng.integers(1000)), int(rng.integers(1000))))
    return program


class Run:
    """A program in one library, with its live tensors."""

    def __init__(self, m: Any, starts: list[np.ndarray[Any, Any]], leaf: bool, pending: bool) -> None:
        self.m = m
        self.leaves = [m.tensor(start) for start in starts]
        if leaf:
            self.leaves = [x.requires_grad_() for x in self.leaves]
        self.live = [x * 1 for x in self.leaves] if pending else list(self.leaves)
        self.detached: set[int] = set()

    def step(self, operation: Operation) -> str | None:
        """Carry out one line; return the name of the error's class."""
        line, first, second = operation
        names = {"m": self.m, "x": self.live[first % len(self.live)], "y": self.live[second % len(self.live)]}
        text = line.replace("{x}", "x").replace("{y}", "y")
        if line in WRITES and self.m is torch and leaves_half_done(text, names):
            return "refused"
        try:
            if line in WRITES:
                exec(text, names)
            else:
                self.live.append(eval(text, names))
                if line in VIEWS and (
                    "detach" in line or "data" in line or first % (len(self.live) - 1) in self.detached
                ):
                    self.detached.add(len(self.live) - 1)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return None


def leaves_half_done(text: str, names: dict[str, Any]) -> bool:
    """Whether PyTorch refuses a write, which it may find out when it has begun."""
    try:
        exec(text, names | {"x": names["x"].detach().clone()})
    except (RuntimeError, IndexError, TypeError, ValueError):
        return True
    return False


def same_error(ours: str | None, theirs: str | None) -> bool:
    return (ours is None) == (theirs is None)


def check(seed: int, leaf: bool, pending: bool, reads: bool, length: int = 12) -> tuple[int, list[str]]:
    """Run one random program in both libraries; return how many lines both accepted."""
    rng = np.random.default_rng(seed)
    shape = ((4, 6), (2, 3, 4), (3, 3), (1, 4, 2))[seed % 4]
    starts = [rng.integers(-3, 4, shape) / 2, rng.integers(-3, 4, shape[-1:]) / 2]
    ours, theirs = Run(cr, starts, leaf, pending), Run(torch, starts, leaf, pending)
    done: list[str] = []
    for operation in make_program(rng, length):
        if is_left_out(theirs, operation):
            continue
        expected, found = theirs.step(operation), ours.step(operation)
        done.append(str(operation))
        if expected is not None and "refer to a single memory location" in expected:
            return len(done), done  # overlapping operands: read before they are written here, refused by PyTorch
        assert same_error(found, expected), f"{done}\nchainrule: {found}\ntorch: {expected}"
        if reads and rng.integers(3) == 0:
            which = int(rng.integers(len(ours.live)))
            np.testing.assert_allclose(ours.live[which].detach().numpy(), theirs.live[which].detach().numpy())
    compare(ours, theirs, done)
    return len(done), done


def is_left_out(run: Run, operation: Operation) -> bool:
    """Whether a line would grow the tensors beyond what is worth comparing, or means something else in PyTorch.

    That is where one place is written to twice, and where gradients enter a detached tensor, which here has none ever.
    """
    line, first, second = operation
    x, y = run.live[first % len(run.live)], run.live[second % len(run.live)]
    if line in WRITES:
        if first % len(run.live) in run.detached and y.requires_grad:
            return True
        shares = x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr() and "{y}" in line
        if shares and (x.data_ptr(), x.shape, x.stride()) != (y.data_ptr(), y.shape, y.stride()):
            return True  # PyTorch reads what it has just written
        if not x.numel():
            return False
        places = torch.arange(1 + sum((n - 1) * s for n, s in zip(x.shape, x.stride(), strict=True)))
        return len(places.as_strided(x.shape, x.stride()).unique()) < x.numel()
    return bool(x.numel() > 200)


def compare(ours: Run, theirs: Run, done: list[str]) -> None:
    for number, (a, b) in enumerate(zip(ours.live, theirs.live, strict=True)):
        np.testing.assert_allclose(
            np.asarray(a.detach()), b.detach().numpy(), rtol=1e-9, atol=1e-9, err_msg=f"tensor {number} of {done}"
        )
        assert a.requires_grad == b.requires_grad, f"requires_grad of {number}: {done}"
        assert a.is_contiguous() == b.is_contiguous(), f"contiguity of {number}: {done}"
    weights = [i + 1.0 for i in range(len(ours.live))]
    sums = []
    for run in (ours, theirs):
        parts = [x.double().sum() * w for x, w in zip(run.live, weights, strict=True) if x.requires_grad]
        sums.append(sum(parts[1:], parts[0]) if parts else None)
    if sums[1] is None:
        return
    try:
        sums[1].backward()
    except RuntimeError:  # PyTorch needs a value that was written over; here it is still known
        return
    try:
        sums[0].backward()
    except cr.errors.GradientError as error:  # the leaf was written to through a detached view, after a value was read
        assert "a graph that is gone" in str(error) and any("detach" in line or "data" in line for line in done)
        return
    for a, b in zip(ours.leaves, theirs.leaves, strict=True):
        found, expected = (np.zeros(x.shape) if x.grad is None else x.grad.numpy() for x in (a, b))
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9, err_msg=str(done))


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("pending", [False, True])
@pytest.mark.parametrize("leaf", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_programs(seed: int, leaf: bool, pending: bool, reads: bool) -> None:
    with cr.backend("reference"):
        check(seed, leaf, pending, reads)


@pytest.mark.parametrize(
    "copy",
    [
        "x.roll(1, 0)", "x.roll(3, 1)", "x.roll(0)", "x.repeat(1, 1)", "x.repeat(2, 1)", "x.repeat(2, 1, 1)",
        "x.tile(2, 1)", "x.tile((1, 1))", "x.repeat_interleave(1, 0)", "x.repeat_interleave(2, 0)", "x.diag()",
        "x.flip(0)", "x[0, 0].repeat(1)", "m.cat([x])",
    ],
)  # fmt: skip
@pytest.mark.parametrize("pending", [False, True])
def test_copies_share_no_memory(copy: str, pending: bool) -> None:
    def run(m: Any) -> list[Any]:
        whole = m.tensor([[1.0, -2.0, 3.0], [4.0, 5.0, 6.0]])
        x = (whole * 1 if pending else whole)[:1]
        y = eval(copy, {"m": m, "x": x})
        x.add_(10)
        before = y.tolist()
        y.sub_(3)
        return [before, x.tolist(), y.tolist()]

    assert run(cr) == run(torch)
