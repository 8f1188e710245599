"""Memory within numba kernels: arrays on the stack, and whole rows copied or added as vectors.

The compiler knows that memory on the stack overlaps nothing else. Of NumPy arrays it does not, and guards every short
loop with tests of their addresses; it also unrolls short loops of constant length before it would vectorize them.
"""

from __future__ import annotations

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from NNMambaLib.kernels.arithmetic import OPTIONS

# States of a channel that kernels keep on the stack at most.
STATES = 64

_LANES = 16
_INDEX = ir.IntType(64)
_VECTOR = ir.VectorType(ir.FloatType(), _LANES)


@intrinsic(prefer_literal=True)
def stack_floats(typing_context, count):
    """Return a pointer to `count` (a literal) uninitialized float32 on the calling kernel's stack, for `carray`."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    memory = ir.ArrayType(ir.FloatType(), count.literal_value)

    def generate(context, builder, signature, arguments):
        allocated = cgutils.alloca_once(builder, memory)
        allocated.align = 64
        return builder.bitcast(allocated, ir.FloatType().as_pointer())

    return types.CPointer(types.float32)(count), generate


@intrinsic(prefer_literal=True)
def copy_floats(typing_context, target, source, count):
    """Copy the first `count` float32 of one contiguous array to another that does not overlap it."""

    def generate(context, builder, signature, arguments):
        to, since = (_data(context, builder, signature, arguments, index) for index in (0, 1))
        length = context.cast(builder, arguments[2], signature.args[2], types.intp)
        cgutils.raw_memcpy(builder, to, since, length, 4, align=4)
        return context.get_dummy_value()

    return types.void(target, source, count), generate


@njit(inline="always", **OPTIONS)
def copy_row(target, source, width, block):
    """Copy `width` float32, without a call where they are a whole `block` (a literal)."""
    if width == block:
        copy_floats(target, source, block)
    else:
        copy_floats(target, source, width)


@intrinsic(prefer_literal=True)
def add_scaled(typing_context, target, source, factor, count):
    """Add `factor` times the first `count` (a literal, of 16) float32 of a contiguous array to those of another."""
    if not isinstance(count, types.IntegerLiteral) or count.literal_value % _LANES:
        return None

    def generate(context, builder, signature, arguments):
        to, since = (_data(context, builder, signature, arguments, index) for index in (0, 1))
        first_lane = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), arguments[2], ir.IntType(32)(0))
        factors = builder.shuffle_vector(
            first_lane, first_lane, ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES)
        )
        for offset in range(0, count.literal_value, _LANES):
            to_, since_ = (
                builder.bitcast(builder.gep(data, [_INDEX(offset)]), _VECTOR.as_pointer()) for data in (to, since)
            )
            product = builder.fmul(builder.load(since_, align=4), factors, flags=("contract",))
            builder.store(builder.fadd(builder.load(to_, align=4), product, flags=("contract",)), to_, align=4)
        return context.get_dummy_value()

    return types.void(target, source, factor, count), generate


@intrinsic(prefer_literal=True)
def prefetch(typing_context, source, count):
    """Ask the processor to cache the first `count` (a literal) float32 of an array, which may be shorter."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    byte_pointer, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
    signature_ = ir.FunctionType(ir.VoidType(), [byte_pointer, flag, flag, flag])

    def generate(context, builder, signature, arguments):
        function = cgutils.get_or_insert_function(builder.module, signature_, "llvm.prefetch.p0")
        data = _data(context, builder, signature, arguments, 0)
        for offset in range(0, count.literal_value, _LANES):  # a cache line each
            address = builder.bitcast(builder.gep(data, [_INDEX(offset)]), byte_pointer)
            builder.call(function, [address, flag(0), flag(3), flag(1)])  # to read, into the nearest cache, data
        return context.get_dummy_value()

    return types.void(source, count), generate


def _data(context, builder, signature, arguments, index):
    return context.make_array(signature.args[index])(context, builder, arguments[index]).data
