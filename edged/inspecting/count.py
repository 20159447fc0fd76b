"""Multiply-adds of the operators that are made of them: convolutions, matrix products, recurrences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Shape = tuple[int, ...]
Shapes = Sequence[Shape | None]


def _convolution(weight: int) -> Callable[[Shapes, Shape, bool], int]:
    """Every value of the output takes one filter: W is [M, C/group, kernel…]."""
    return lambda inputs, out, _: math.prod(out) * math.prod(_at(inputs, weight)[1:])


def _transposed(inputs: Shapes, out: Shape, _: bool) -> int:
    """Every value of the input goes into one filter: W is [C, M/group, kernel…]."""
    return math.prod(_at(inputs, 0)) * math.prod(_at(inputs, 1)[1:])


def _product(inputs: Shapes, out: Shape, transposed: bool) -> int:
    return math.prod(out) * _at(inputs, 0)[-2 if transposed else -1]


def _recurrence(inputs: Shapes, out: Shape, _: bool) -> int:
    """X is [steps, batch, size], W and R have a row for each gate's value."""
    steps, batch = _at(inputs, 0)[:2]
    return steps * batch * (math.prod(_at(inputs, 1)) + math.prod(_at(inputs, 2)))


# op -> how many; the last argument: whether the first matrix is transposed
_COUNTS: dict[str, Callable[[Shapes, Shape, bool], int]] = {
    "Conv": _convolution(1),
    "FusedConv": _convolution(1),
    "ConvInteger": _convolution(1),
    "QLinearConv": _convolution(3),
    "DeformConv": _convolution(1),
    "ConvTranspose": _transposed,
    "Gemm": _product,
    "MatMul": _product,
    "FusedMatMul": _product,
    "MatMulInteger": _product,
    "QLinearMatMul": _product,
    "LSTM": _recurrence,
    "GRU": _recurrence,
    "RNN": _recurrence,
}
# these multiply, and how much does not follow from the shapes alone
_UNCOUNTED = frozenset({"Einsum", "Attention", "MultiHeadAttention", "If", "Loop", "Scan"})


def multiply_adds(op: str, inputs: Shapes, out: Shape | None, transposed: bool = False) -> int | None:
    """0 for what is not made of them; None where a shape is unknown, or the operator is not in the table."""
    count = _COUNTS.get(op)
    if count is None:
        return None if op in _UNCOUNTED else 0
    try:
        return None if out is None else count(inputs, out, transposed)
    except (_Unknown, IndexError, ValueError):
        return None


class _Unknown(Exception):
    """The shape of an input is not known."""


def _at(inputs: Shapes, n: int) -> Shape:
    shape = inputs[n]
    if shape is None:
        raise _Unknown
    return shape
