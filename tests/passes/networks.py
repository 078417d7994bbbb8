"""Graphs of training steps, written with the functions of ops, for tests of passes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from chainrule.autodiff.reverse import gradients
from chainrule.graph.graph import Graph
from chainrule.graph.primitive import PRIMITIVES
from chainrule.graph.vertex import apply
from chainrule.ops.arithmetic import add, divide, multiply, subtract
from chainrule.ops.comparison import equal, less_equal, where
from chainrule.ops.elementwise import absolute, cast, exp, negative, sqrt, stop_gradient
from chainrule.ops.indexing import take
from chainrule.ops.matmul import matmul
from chainrule.ops.movement import reshape, slice_, swap_last_axes
from chainrule.ops.reduction import max_, sum_
from chainrule.ops.source import constant, iota, make_input
from chainrule.types import float32, int64, tensor_type


def relu(x):
    return where(less_equal(x, 0), 0, x)


def softplus(x):
    return add(where(less_equal(x, 0), 0, x), apply(PRIMITIVES["log1p"], exp(negative(absolute(x)))))


def bce_with_logits(z, y):
    """Mean of softplus(z) - y·z."""
    loss = subtract(softplus(z), multiply(y, z))
    return multiply(sum_(loss, tuple(range(len(loss.shape)))), 1 / loss.type.size)


def cross_entropy(z, labels):
    shifted = subtract(z, stop_gradient(reshape(max_(z, (1,)), (z.shape[0], 1))))
    log_sum = apply(PRIMITIVES["log"], sum_(exp(shifted), (1,)))
    column = reshape(labels, (z.shape[0], 1))
    one_hot = cast(equal(column, iota(int64, z.shape, 1)), float32)
    loss = subtract(log_sum, sum_(multiply(shifted, one_hot), (1,)))
    return divide(sum_(loss, (0,)), z.shape[0])


def linear(x, weight, bias):
    return add(matmul(x, swap_last_axes(weight)), bias)


def adam(parameter, slots, g, t, rate=1e-3):
    first, second = slots
    m = add(multiply(first, 0.9), multiply(g, 1 - 0.9))
    v = add(multiply(second, 0.999), multiply(multiply(g, g), 1 - 0.999))
    steps = cast(t, float32)
    corrected = divide(m, subtract(1.0, exp(multiply(steps, float(np.log(0.9))))))
    scale = sqrt(divide(v, subtract(1.0, exp(multiply(steps, float(np.log(0.999)))))))
    new = subtract(parameter, multiply(divide(corrected, add(scale, 1e-8)), rate))
    return [(parameter, new), (first, m), (second, v)]


def mlp_step(sizes=(8, 12, 8, 1), batch=10, strided=True, gather_from=None):
    """Training step of a ReLU network: BCE for one output, cross-entropy for several; Adam. Returns a Graph."""
    labels_type = tensor_type(float32, (batch, 1)) if sizes[-1] == 1 else tensor_type(int64, (batch,))
    inputs, updates = [], []
    if gather_from:
        data = make_input(tensor_type(float32, (gather_from, sizes[0])))
        index = make_input(tensor_type(int64, (batch,)))
        x = take(data, index, 0)
        inputs += [data, index]
    else:
        x = make_input(tensor_type(float32, (batch, sizes[0])))
        inputs.append(x)
    y = make_input(labels_type)
    t = make_input(tensor_type(int64, ()))
    parameters, h = [], x
    for layer, (n, k) in enumerate(pairwise(sizes)):
        strides = (1, k) if strided else None
        weights = [make_input(tensor_type(float32, (k, n)), layer_slot == 0, strides) for layer_slot in range(3)]
        biases = [make_input(tensor_type(float32, (k,)), slot == 0) for slot in range(3)]
        parameters += [weights, biases]
        h = linear(h, weights[0], biases[0])
        if layer < len(sizes) - 2:
            h = relu(h)
    loss = bce_with_logits(h, y) if sizes[-1] == 1 else cross_entropy(h, y)
    new_t = add(t, 1)
    updates.append((t, new_t))
    for group, g in zip(parameters, gradients(loss, [group[0] for group in parameters]), strict=True):
        updates += adam(group[0], group[1:], g, new_t)
    inputs += [y, t, *(vertex for group in parameters for vertex in group)]
    return Graph(tuple(inputs), (loss,), tuple(updates))


def random_values(graph, rng):
    """Values for the inputs of a graph; integers are small, second moments positive."""
    values = []
    for vertex in graph.inputs:
        if vertex.dtype.kind == "float":
            values.append(np.abs(rng.normal(size=vertex.shape)).astype(vertex.dtype.numpy) * 0.5 + 0.1)
        else:
            values.append(rng.integers(0, 4, vertex.shape).astype(vertex.dtype.numpy))
    return values


def lstm_step(steps=3, batch=4, features=5, hidden=6):
    """Training step of an unrolled LSTM layer (gates i, f, g, o) on the squares of its last state, by descent."""
    x = make_input(tensor_type(float32, (steps, batch, features)))
    weights = [
        make_input(tensor_type(float32, shape), True)
        for shape in ((4 * hidden, features), (4 * hidden, hidden), (4 * hidden,))
    ]
    h = c = constant(0, float32, (batch, hidden))
    for t in range(steps):
        x_t = reshape(slice_(x, (t, 0, 0), (t + 1, batch, features), (1, 1, 1)), (batch, features))
        z = add(add(matmul(x_t, swap_last_axes(weights[0])), matmul(h, swap_last_axes(weights[1]))), weights[2])
        gates = [slice_(z, (0, k * hidden), (batch, (k + 1) * hidden), (1, 1)) for k in range(4)]
        i, f, o = (apply(PRIMITIVES["sigmoid"], gates[k]) for k in (0, 1, 3))
        c = add(multiply(f, c), multiply(i, apply(PRIMITIVES["tanh"], gates[2])))
        h = multiply(o, apply(PRIMITIVES["tanh"], c))
    loss = sum_(multiply(h, h), (0, 1))
    steps_down = zip(weights, gradients(loss, weights), strict=True)
    return Graph((x, *weights), (loss,), tuple((w, subtract(w, multiply(g, 0.1))) for w, g in steps_down))
