"""The values that a pickle of weights or plans may hold, and the few names by which it may ask for them.

The names stand for entries of a table here and for nothing else: no module is imported for a file, and none of the
functions that it names is called.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from NNMambaLib.errors import ModelError

# Numpy's numbers, by kind and size; texts, times, structures and objects are not among them.
_NUMBERS = frozenset(("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"))
# Of a tensor or array.
_MAX_AXES = 32
_BIGGEST_COUNT = 2**40
# Characters of a key of a dictionary, and values that a name is called with.
_LONGEST_KEY, _MOST_ARGUMENTS = 1000, 8


class RefusedPickle(ModelError):
    """A pickle asks for something that is no data, or is damaged."""


@dataclass(frozen=True)
class Name:
    """A name that is allowed; it is a value like any other until it is asked for with arguments."""

    full: str


@dataclass(frozen=True)
class Storage:
    """Numbers in another part of the file: `count` of a `kind` such as ``Float``, under a key."""

    key: str
    kind: str
    count: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor whose numbers lie in a storage, from `offset` on, `strides` apart; it has been checked to lie within."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass
class NumberType:
    """A numpy type of a number; its byte order comes with its state."""

    code: str
    order: str = "<"

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.order + self.code)


@dataclass
class StoredArray:
    """A numpy array, whose `values` come with its state."""

    values: np.ndarray | None = None


@dataclass(frozen=True)
class Device:
    """The device that a tensor or trainer was on, which is read and not used."""

    name: str


class OrderedItems(dict[Any, Any]):
    """An OrderedDict; what a state_dict's attribute ``_metadata`` says is not kept."""


STORAGE_KINDS = ("Float", "Half", "BFloat16", "Double", "Long", "Int")
_STORAGES = {f"torch.{kind}Storage": kind for kind in STORAGE_KINDS}


def allowed_name(full: str, source: str) -> Name:
    """Return a name that is in the table.

    Raises:
        RefusedPickle: naming it, if it is not.
    """
    if full in _CALLS or full in _STORAGES or full == "numpy.ndarray":
        return Name(full)
    raise RefusedPickle(
        f"{source} asks for {shown(full)}, which is not among the few names that weights and plans need: nothing of it "
        "was run; get a file that holds only weights (a state_dict), from its authors."
    )


def call(name: Any, arguments: Any, source: str) -> Any:
    """Return the value that a pickle asks for by a name with arguments, of which there are at most eight.

    Raises:
        RefusedPickle: if the name is not one of those that make values, or its arguments are not what they must be.
    """
    make = _CALLS.get(name.full) if isinstance(name, Name) else None
    if make is None:
        what = name.full if isinstance(name, Name) else f"a {type(name).__name__}"
        raise RefusedPickle(
            f"{source} calls {what}, which makes no data: nothing of it was run; get the file from its authors."
        )
    assert isinstance(name, Name), "only names are in the table"
    few = isinstance(arguments, tuple) and len(arguments) <= _MOST_ARGUMENTS
    return make(_checked(few, arguments, name.full, source), source)


def set_state(value: Any, state: Any, source: str) -> None:
    """Complete a value by its state.

    Raises:
        RefusedPickle: if it is of a type that has none, or the state is not what it must be.
    """
    if isinstance(value, OrderedItems):
        _checked(isinstance(state, dict), state, "collections.OrderedDict", source)
    elif isinstance(value, NumberType):
        good = isinstance(state, tuple) and len(state) in (8, 9) and state[1] in ("<", ">", "|", "=")
        order, rest = _checked(good and state[2:5] == (None, None, None), state, "numpy.dtype", source)[1], state[8:]
        _checked(rest in ((), (None,)), state, "numpy.dtype", source)
        value.order = order
    elif isinstance(value, StoredArray):
        value.values = _array(state, source)
    else:
        raise RefusedPickle(
            f"{source} sets the state of a {type(value).__name__}, which has none: it is damaged, or no file of "
            "weights; get it from its authors again."
        )


def storage_of(reference: Any, source: str) -> Storage:
    """Return the storage that a tensor of PyTorch's files refers to.

    Raises:
        RefusedPickle: if the reference is of another kind.
    """
    good = (
        isinstance(reference, tuple)
        and len(reference) in (5, 6)
        and reference[0] == "storage"
        and isinstance(reference[1], Name)
        and reference[1].full in _STORAGES
        and isinstance(reference[2], str)
        and _is_count(reference[4])
        and reference[5:] in ((), (None,))
    )
    reference = _checked(good, reference, "a storage", source)
    return Storage(reference[2], _STORAGES[reference[1].full], reference[4])


def shown(text: str) -> str:
    """Return a name from a file as a message can show it."""
    text = text if len(text) <= 120 else f"{text[:120]}..."
    return text if text.isascii() and text.isprintable() else ascii(text)


def plain(value: Any) -> Any:
    """Return a number's or array's value as Python's own: an array as nested lists; anything else as it is."""
    if isinstance(value, StoredArray):
        return None if value.values is None else value.values.tolist()
    return value


def _checked(good: bool, value: Any, what: str, source: str) -> Any:
    if not good:
        raise RefusedPickle(f"{source} has arguments for {what} that it cannot have: it is damaged; get it again.")
    return value


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _BIGGEST_COUNT


def _are_counts(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) <= _MAX_AXES and all(map(_is_count, value))


def _ordered_dict(arguments: tuple, source: str) -> OrderedItems:
    # Python 3 adds the items afterwards.
    _checked(arguments == (), arguments, "collections.OrderedDict", source)
    return OrderedItems()


def is_key(value: Any) -> bool:
    """Tell whether a value may be a key: a text or number, or a few of these, which are compared in no time."""
    if isinstance(value, tuple):
        return (
            len(value) <= _MAX_AXES and not any(isinstance(part, tuple) for part in value) and all(map(is_key, value))
        )
    if isinstance(value, str):
        return len(value) <= _LONGEST_KEY
    return value is None or isinstance(value, (int, float))


def _tensor(arguments: tuple, source: str) -> StoredTensor:
    good = len(arguments) in (6, 7) and isinstance(arguments[0], Storage)
    good = good and _is_count(arguments[1]) and _are_counts(arguments[2]) and _are_counts(arguments[3])
    storage, offset, shape, strides = _checked(good, arguments, "torch._utils._rebuild_tensor_v2", source)[:4]
    # Numbers that are repeated would take more memory than the file has.
    count = math.prod(shape)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=False)) if count else 0
    fits = len(shape) == len(strides) and count <= storage.count and (count == 0 or last < storage.count)
    _checked(fits, arguments, "torch._utils._rebuild_tensor_v2", source)
    return StoredTensor(storage, offset, shape, strides)


def _parameter(arguments: tuple, source: str) -> StoredTensor:
    good = len(arguments) == 3 and isinstance(arguments[0], StoredTensor)
    return _checked(good, arguments, "torch._utils._rebuild_parameter", source)[0]


def _number_type(arguments: tuple, source: str) -> NumberType:
    code = arguments[0] if arguments else None
    if not isinstance(code, str) or code not in _NUMBERS:
        raise RefusedPickle(
            f"{source} asks for numpy.dtype of {shown(str(code)) if isinstance(code, str) else 'no text'}, and only "
            "numbers are read: nothing of it was run; get the file from its authors."
        )
    return NumberType(code)


def _scalar(arguments: tuple, source: str) -> bool | int | float:
    good = len(arguments) == 2 and isinstance(arguments[0], NumberType) and isinstance(arguments[1], bytes)
    number, content = _checked(good, arguments, "numpy's scalar", source)
    _checked(len(content) == number.dtype.itemsize, arguments, "numpy's scalar", source)
    return np.frombuffer(content, number.dtype)[0].item()


def _empty_array(arguments: tuple, source: str) -> StoredArray:
    good = len(arguments) == 3 and arguments[0] == Name("numpy.ndarray") and arguments[1] == (0,)
    _checked(good, arguments, "numpy's _reconstruct", source)
    return StoredArray()


def _array(state: Any, source: str) -> np.ndarray:
    good = isinstance(state, tuple) and len(state) == 5 and _are_counts(state[1]) and isinstance(state[2], NumberType)
    _, shape, number, by_columns, content = _checked(good, state, "numpy.ndarray", source)
    good = isinstance(content, bytes) and math.prod(shape) * number.dtype.itemsize == len(content)
    _checked(good and isinstance(by_columns, (bool, int)), state, "numpy.ndarray", source)
    # It shares the pickle's memory.
    return np.ndarray(shape, number.dtype, content, order="F" if by_columns else "C")


def _encoded(arguments: tuple, source: str) -> bytes:
    """Return bytes that protocol 2 writes as text: the characters are the bytes."""
    good = len(arguments) == 2 and isinstance(arguments[0], str) and arguments[1] in ("latin1", "latin-1")
    text = _checked(good, arguments, "_codecs.encode", source)[0]
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return _checked(False, arguments, "_codecs.encode", source)


def _device(arguments: tuple, source: str) -> Device:
    good = 1 <= len(arguments) <= 2 and is_key(arguments[0]) and all(map(_is_count, arguments[1:]))
    return Device(":".join(map(str, _checked(good, arguments, "torch.device", source))))


_CALLS: Mapping[str, Callable[[tuple, str], Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.device": _device,
    "numpy.dtype": _number_type,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.core.multiarray._reconstruct": _empty_array,
    "numpy._core.multiarray._reconstruct": _empty_array,
    "_codecs.encode": _encoded,
}
