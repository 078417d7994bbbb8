"""Which of PyTorch's names exist, and what only they do: `out`, NumPy's keywords, devices, types with limits."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, CaptureError, DTypeError, GradientError, ShapeError

from .against_torch import torch

# Names that programs on networks use, by how often they occur in PyTorch's examples and tutorials.
FUNCTIONS = """
    abs acos add addcdiv addcmul addmm all allclose amax amin aminmax any arange argmax argmin argsort as_tensor
    asin atan atan2 baddbmm bernoulli bincount bmm broadcast_to bucketize cat ceil chunk clamp clip concat cos
    cosh count_nonzero cummax cummin cumprod cumsum diag diagonal div dot einsum empty empty_like eq equal erf
    erfc exp exp2 expm1 eye flatten flip floor fmod frac from_numpy full full_like gather ge gt histc hstack hypot
    index_add index_select is_floating_point is_tensor isclose isfinite isinf isnan kron kthvalue le lerp linspace
    log log10 log1p log2 log_softmax logaddexp logical_and logical_not logical_or logical_xor logspace logsumexp
    lt manual_seed masked_fill masked_select matmul max maximum mean median meshgrid min minimum mm movedim mul
    multinomial mv nan_to_num nanmean nansum narrow ne neg nonzero norm normal numel ones ones_like outer permute
    pow prod quantile rand rand_like randint randn randn_like randperm reciprocal relu remainder repeat_interleave
    reshape roll round rsqrt scatter scatter_add searchsorted select sigmoid sign sin sinh softmax sort split sqrt
    square squeeze stack std std_mean sub sum swapaxes t take_along_dim tan tanh tensor tensordot tile topk trace
    transpose tril triu trunc unbind unflatten unique unsqueeze var var_mean vstack where zeros zeros_like
"""
METHODS_ONLY = """
    add_ backward clone contiguous copy_ cpu data detach dim double element_size expand expand_as fill_ float grad
    int is_contiguous is_leaf item long mul_ new_empty new_full new_ones new_tensor new_zeros numpy repeat
    requires_grad_ reshape_as shape size sub_ to tolist type type_as unfold view view_as zero_
"""
# Functions of PyTorch that are not methods of its tensors.
NO_METHODS = """
    arange as_tensor bucketize cat concat einsum empty empty_like eye from_numpy full full_like hstack is_tensor
    linspace logspace manual_seed meshgrid normal ones ones_like rand rand_like randint randn randn_like randperm
    searchsorted stack std_mean tensor tensordot var_mean vstack where zeros zeros_like
"""
CONSTANTS = ["inf", "nan", "pi", "e", "float32", "float64", "int32", "int64", "bool", "long", "double"]


def test_functions_that_programs_use_exist() -> None:
    assert [name for name in FUNCTIONS.split() if not callable(getattr(cr, name, None))] == []
    assert [name for name in FUNCTIONS.split() if not hasattr(torch, name)] == [], "no name of PyTorch"


def test_methods_that_programs_use_exist() -> None:
    wanted = [*METHODS_ONLY.split(), *(name for name in FUNCTIONS.split() if name not in NO_METHODS.split())]
    assert [name for name in wanted if not hasattr(cr.Tensor, name)] == []
    assert [name for name in wanted if not hasattr(torch.Tensor, name)] == [], "no method of PyTorch"


def test_constants() -> None:
    assert [name for name in CONSTANTS if not hasattr(cr, name)] == []
    assert (cr.inf, cr.pi, cr.e) == (math.inf, math.pi, math.e)
    assert math.isnan(cr.nan)


def test_an_unknown_name_is_answered_with_a_known_one() -> None:
    with pytest.raises(AttributeError, match="did you mean 'cumsum'"):
        _ = cr.cumsun


def test_other_devices_say_that_they_are_not_here() -> None:
    absent = [cr.cuda, cr.backends.mps, cr.backends.cuda, cr.backends.cudnn, cr.accelerator]
    assert [device.is_available() for device in absent] == [False] * 5
    assert cr.cuda.device_count() == 0
    assert cr.accelerator.current_accelerator() is None
    cr.cuda.manual_seed(0)
    cr.cuda.manual_seed_all(0)
    cr.cuda.empty_cache()
    cr.cuda.synchronize()
    with pytest.raises(ArgumentError, match="device 'cuda' is not available"):
        cr.zeros(2, device="cuda")


def test_limits_of_types() -> None:
    for name in ("float32", "float64"):
        found, wanted = cr.finfo(getattr(cr, name)), torch.finfo(getattr(torch, name))
        for field in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution"):
            assert getattr(found, field) == pytest.approx(getattr(wanted, field), rel=1e-12), field
        assert str(found).startswith("finfo(eps=")
    for name in ("int32", "int64"):
        found, wanted = cr.iinfo(getattr(cr, name)), torch.iinfo(getattr(torch, name))
        assert (found.bits, found.max, found.min) == (wanted.bits, wanted.max, wanted.min)
        assert str(found) == f"iinfo(min={wanted.min}, max={wanted.max}, dtype={name})"
    with pytest.raises(DTypeError, match=r"finfo\(\) requires a floating point input type, got int64"):
        cr.finfo(cr.int64)
    with pytest.raises(DTypeError, match=r"iinfo\(\) requires an integer input type"):
        cr.iinfo(cr.float32)


@pytest.mark.parametrize("first", ["float32", "float64", "int32", "int64", "bool"])
def test_types_in_which_others_meet(first: str) -> None:
    for second in ("float32", "float64", "int32", "int64", "bool"):
        pair, twins = ([getattr(m, name) for name in (first, second)] for m in (cr, torch))
        assert f"torch.{cr.promote_types(*pair)}" == str(torch.promote_types(*twins))
        assert cr.can_cast(*pair) == torch.can_cast(*twins)
        for shapes in (((2,), ()), ((), (2,)), ((), ())):
            a, b = (cr.zeros(shape, dtype=dtype) for shape, dtype in zip(shapes, pair, strict=True))
            x, y = (torch.zeros(shape, dtype=dtype) for shape, dtype in zip(shapes, twins, strict=True))
            assert f"torch.{cr.result_type(a, b)}" == str(torch.result_type(x, y))
    one = getattr(cr, first)
    for number in (True, 1, 1.5):
        expected = torch.result_type(torch.zeros(2, dtype=getattr(torch, first)), number)
        assert f"torch.{cr.result_type(cr.zeros(2, dtype=one), number)}" == str(expected)
        assert f"torch.{cr.result_type(number, cr.zeros(2, dtype=one))}" == str(expected)
    assert cr.result_type(1, 2.0) is cr.float32


def test_random_state_can_be_kept() -> None:
    cr.manual_seed(11)
    assert cr.initial_seed() == 11
    kept = cr.get_rng_state()
    first = cr.rand(3).tolist(), cr.bernoulli(cr.full((9,), 0.5)).tolist()
    cr.set_rng_state(kept)
    assert (cr.rand(3).tolist(), cr.bernoulli(cr.full((9,), 0.5)).tolist()) == first
    assert cr.seed() == cr.initial_seed() != 11


def test_inference_mode() -> None:
    x = cr.ones(2, requires_grad=True)
    with cr.inference_mode():
        assert not (x * 2).requires_grad
        with cr.inference_mode(False):
            assert (x * 2).requires_grad
    assert not cr.inference_mode(lambda: x * 2)().requires_grad
    assert not cr.inference_mode()(lambda: x * 2)().requires_grad


def test_questions_about_tensors() -> None:
    x = cr.zeros(2, 3)
    assert cr.is_tensor(x) and not cr.is_tensor([1])
    assert (cr.numel(x), cr.is_floating_point(x), cr.is_complex(x), cr.is_nonzero(x[0, 0])) == (6, True, False, False)
    assert cr.broadcast_shapes((2, 1), 3) == (2, 3)
    assert cr.get_default_dtype() is cr.float32
    assert (cr.typename(x), cr.typename([])) == ("torch.FloatTensor", "builtins.list")


def test_older_names_of_types() -> None:
    assert cr.FloatTensor(2, 3).shape == (2, 3)
    assert cr.LongTensor([1, 2]).dtype is cr.int64
    assert cr.BoolTensor([0, 1]).tolist() == [False, True]
    assert (cr.DoubleTensor([1]).dtype, cr.IntTensor([1]).dtype) == (cr.float64, cr.int32)
    assert isinstance(cr.ones(2), cr.FloatTensor) and not isinstance(cr.ones(2), cr.LongTensor)
    x = cr.ones(2)
    assert (x.type(), x.long().type()) == ("torch.FloatTensor", "torch.LongTensor")
    assert x.type(cr.DoubleTensor).dtype is x.type("torch.DoubleTensor").dtype is x.type("float64").dtype is cr.float64


def test_out_receives_the_result() -> None:
    x, y = cr.tensor([1.0, 2.0]), cr.tensor([3.0, 5.0])
    out = cr.zeros(2)
    view = out[:1]
    assert cr.add(x, y, out=out) is out
    assert (out.tolist(), view.tolist()) == ([4, 7], [4])
    cr.mul(x, 2, out=out)
    assert out.tolist() == [2, 4]
    cr.exp(x * 0, out=out)
    assert out.tolist() == [1, 1]
    cr.cumsum(x, 0, out=out)
    assert out.tolist() == [1, 3]
    cr.matmul(cr.ones(2, 2), x, out=out)
    assert out.tolist() == [3, 3]
    assert cr.zeros(2, out=out).tolist() == out.tolist() == [0, 0]
    values, indices = cr.zeros(2), cr.zeros(2, dtype=cr.int64)
    cr.sort(y, descending=True, out=(values, indices))
    assert (values.tolist(), indices.tolist()) == ([5, 3], [1, 0])
    grown = cr.empty(0)
    cr.cat([x, y], out=grown)
    assert grown.tolist() == [1, 2, 3, 5]
    wide = cr.zeros(2, dtype=cr.float64)
    cr.sub(y, x, out=wide)
    assert wide.tolist() == [2, 3]


def test_out_that_does_not_fit() -> None:
    x = cr.tensor([1.5, 2.0])
    with pytest.raises(ShapeError, match=r"out= has shape \(3,\), expected the result's shape \(2,\)"):
        cr.add(x, x, out=cr.zeros(3))
    with pytest.raises(DTypeError, match=r"result type float32 can't be cast to the desired output type int64"):
        cr.add(x, x, out=cr.zeros(2, dtype=cr.int64))
    with pytest.raises(GradientError, match=r"don't support automatic differentiation"):
        cr.exp(x.requires_grad_(), out=cr.zeros(2))


def test_random_choices() -> None:
    cr.manual_seed(3)
    weights = cr.tensor([[0.0, 1.0, 3.0], [5.0, 0.0, 5.0]])
    drawn = cr.multinomial(weights, 4000, replacement=True).numpy()
    shares = np.stack([np.bincount(row, minlength=3) for row in drawn]) / 4000
    np.testing.assert_allclose(shares, [[0, 0.25, 0.75], [0.5, 0, 0.5]], atol=0.04)
    pairs = np.sort(cr.multinomial(weights, 2).numpy(), 1)
    assert pairs.tolist() == [[1, 2], [0, 2]]
    first = cr.stack([cr.multinomial(weights[0], 1) for _ in range(300)]).numpy()
    assert 0.6 < (first == 2).mean() < 0.9
    assert abs(cr.bernoulli(cr.full((4000,), 0.3)).mean().item() - 0.3) < 0.04
    assert cr.ones(3).long().bernoulli(0.0).tolist() == [0, 0, 0]
    normal = cr.normal(5.0, 0.1, (1000,))
    assert abs(normal.mean().item() - 5) < 0.02
    assert cr.normal(cr.zeros(3, 1), cr.ones(2)).shape == (3, 2)
    assert cr.randint_like(cr.zeros(5), 3).max().item() <= 2
    with pytest.raises(ArgumentError, match="cannot sample n_sample = 4 of 3 categories without replacement"):
        cr.multinomial(weights, 4)
    cr.manual_seed(5)
    a = cr.multinomial(weights, 2)
    cr.manual_seed(5)
    assert a.tolist() == cr.multinomial(weights, 2).tolist()


@pytest.mark.parametrize(
    "function",
    [lambda x: x.nonzero(), lambda x: cr.masked_select(x, x > 0), lambda x: x.unique(), lambda x: cr.where(x > 0)],
)
def test_shapes_that_depend_on_values_cannot_be_captured(function: Callable[[Any], Any]) -> None:
    with pytest.raises(CaptureError):
        cr.compile(function)(cr.tensor([1.0, 0.0]))


def test_scans_and_gathers_are_captured() -> None:
    @cr.compile
    def step(x: cr.Tensor) -> cr.Tensor:
        values, indices = x.topk(2)
        return values.cumsum(1) + x.gather(1, indices).sort(1).values

    x = cr.tensor([[3.0, 1.0, 2.0], [4.0, 6.0, 5.0]])
    for _ in range(2):
        assert step(x).tolist() == [[5, 8], [11, 17]]
