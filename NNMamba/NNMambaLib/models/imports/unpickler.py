"""Reading a pickle as data: its instructions are followed here, one by one, and none of them can run code.

A pickle is a program. Python's own unpickler imports what it names and calls it; this one knows lists, dictionaries,
texts and numbers, and the names of `pickled_values`. Everything else is refused by its full name. Bytes, instructions
and numbers are bounded, so that memory and time are, too.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from typing import Any

from NNMambaLib.models.imports.pickled_values import (
    RefusedPickle,
    allowed_name,
    call,
    is_key,
    set_state,
    shown,
)
from NNMambaLib.runtime.units import format_bytes

# Plans and the structure of checkpoints have less than a megabyte; the numbers of tensors lie elsewhere.
MAX_PICKLE_BYTES = 16 * 2**20
# Plans of two thousand cases with four sequences have half a million.
MAX_INSTRUCTIONS = 750_000
_NEWEST_PROTOCOL = 5
# Of an integer: PyTorch's own mark has ten bytes.
_MAX_INTEGER = 2**128
# Names that the pickle of a whole network has, and that of a state_dict has not.
_WHOLE_MODULE = b"torch.nn."


def unpickle(
    content: bytes, source: str, persistent: Callable[[Any, str], Any] | None = None, start: int = 0
) -> tuple[Any, int]:
    """Return the value of a pickle, and where it ends in `content`.

    Args:
        content: the pickle, and what may follow it.
        source: what messages call it.
        persistent: returns the value of a reference to data outside the pickle; None refuses such references.
        start: where the pickle begins.

    Raises:
        RefusedPickle: if it asks for anything but data, is damaged, or is too large.
    """
    if len(content) - start > MAX_PICKLE_BYTES:
        raise RefusedPickle(
            f"{source} has a pickle of {format_bytes(len(content) - start)}, and those of weights and plans have at "
            f"most {format_bytes(MAX_PICKLE_BYTES)}: get the file from its authors."
        )
    machine = _Machine(source, persistent)
    stream = io.BytesIO(content)
    stream.seek(start)
    try:
        for count, (operation, argument, _) in enumerate(pickletools.genops(stream)):
            if count > MAX_INSTRUCTIONS:
                raise RefusedPickle(
                    f"{source} has a pickle of more than {MAX_INSTRUCTIONS:,} instructions, which no weights or plans "
                    "need: get the file from its authors."
                )
            machine.step(operation.name, argument)
        return machine.result(), stream.tell()
    except RefusedPickle as error:
        if content.find(_WHOLE_MODULE, start) >= 0:
            raise RefusedPickle(
                f"{source} holds a whole module, pickled with its code's names, and not its weights: save "
                f"model.state_dict() with the code that it was made with, and import that ({error})"
            ) from error
        raise
    except (ValueError, OverflowError) as error:
        raise RefusedPickle(f"{source} holds a damaged pickle ({error}): get the file again.") from error


class _Machine:
    """The stack, marks and memory of a pickle's program."""

    def __init__(self, source: str, persistent: Callable[[Any, str], Any] | None):
        self._source, self._persistent = source, persistent
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memory: dict[int, Any] = {}
        self._handed_over = 0

    def step(self, name: str, argument: Any) -> None:
        if name in _PUSHED:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in _METHODS:
            _METHODS[name](self, argument)
        else:
            raise RefusedPickle(
                f"{self._source} holds a pickle with the instruction {name}, which weights and plans do not need: "
                "nothing of it was run; get the file from its authors."
            )

    def result(self) -> Any:
        value = self._pop()
        if self._stack:
            raise ValueError("values are left over")
        return value

    def _pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise ValueError("a value is missing")
        return self._stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        if not self._marks:
            raise ValueError("a mark is missing")
        first = self._marks.pop()
        values = self._stack[first:]
        del self._stack[first:]
        return values

    def _top(self, kind: type) -> Any:
        value = self._pop()
        if not isinstance(value, kind):
            raise ValueError(f"a {kind.__name__} is missing")
        self._stack.append(value)
        return value

    def _text(self, text: str) -> None:
        if not text.isascii():
            # A surrogate by itself can neither be printed nor written.
            text.encode("utf-8")
        self._stack.append(text)

    def _integer(self, value: int) -> None:
        if not -_MAX_INTEGER < value < _MAX_INTEGER:
            raise ValueError("an integer is too large")
        self._stack.append(value)

    def _protocol(self, number: int) -> None:
        if number > _NEWEST_PROTOCOL:
            raise RefusedPickle(
                f"{self._source} holds a pickle of protocol {number}, which does not exist: get the file again."
            )

    def _nothing(self, _: Any) -> None:
        pass

    def _mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def _drop(self, _: Any) -> None:
        self._pop()

    def _drop_to_mark(self, _: Any) -> None:
        self._pop_to_mark()

    def _repeat(self, _: Any) -> None:
        self._stack.append(self._top(object))

    def _remember(self, place: int) -> None:
        self._memory[place] = self._top(object)

    def _memorize(self, _: Any) -> None:
        self._memory[len(self._memory)] = self._top(object)

    def _recall(self, place: int) -> None:
        if place not in self._memory:
            raise ValueError(f"nothing is remembered as {place}")
        self._stack.append(self._memory[place])

    def _empty_list(self, _: Any) -> None:
        self._stack.append([])

    def _empty_dict(self, _: Any) -> None:
        self._stack.append({})

    def _list(self, _: Any) -> None:
        self._stack.append(self._pop_to_mark())

    def _dict(self, _: Any) -> None:
        values: dict[Any, Any] = {}
        self._set_items(values, self._pop_to_mark())
        self._stack.append(values)

    def _tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._pop_to_mark()))

    def _tuple_of(self, count: int) -> None:
        values = [self._pop() for _ in range(count)]
        self._stack.append(tuple(reversed(values)))

    def _append(self, _: Any) -> None:
        value = self._pop()
        self._top(list).append(value)

    def _appends(self, _: Any) -> None:
        values = self._pop_to_mark()
        self._top(list).extend(values)

    def _set_item(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._set_items(self._top(dict), [key, value])

    def _set_all_items(self, _: Any) -> None:
        values = self._pop_to_mark()
        self._set_items(self._top(dict), values)

    def _set_items(self, target: dict[Any, Any], values: list[Any]) -> None:
        if len(values) % 2:
            raise ValueError("a key has no value")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not is_key(key):
                raise ValueError(f"a {type(key).__name__} is a key")
            target[key] = value

    def _global(self, full: str) -> None:
        self._stack.append(allowed_name(full.replace(" ", ".", 1), self._source))

    def _stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("a name is no text")
        self._global(f"{module} {name}")

    def _instance(self, full: str) -> None:
        self._global(full)
        self._object(None)

    def _object(self, _: Any) -> None:
        names = [shown(value.full) for value in self._stack[-3:] if hasattr(value, "full")]
        raise RefusedPickle(
            f"{self._source} makes an object of the class {', '.join(names) or 'that it names'}, and no class is made "
            "from a file: get a file that holds only weights (a state_dict), from its authors."
        )

    def _call(self, _: Any) -> None:
        arguments, name = self._pop(), self._pop()
        if isinstance(arguments, tuple):
            # A long text may be handed over many times, and be copied each time.
            self._handed_over += sum(len(part) for part in arguments[:8] if isinstance(part, str))
        if self._handed_over > MAX_PICKLE_BYTES:
            raise RefusedPickle(f"{self._source} repeats texts without end, which no file of weights or plans does.")
        self._stack.append(call(name, arguments, self._source))

    def _build(self, _: Any) -> None:
        state = self._pop()
        set_state(self._top(object), state, self._source)

    def _refer(self, reference: Any) -> None:
        if self._persistent is None:
            raise RefusedPickle(
                f"{self._source} refers to data outside the file: give the file that PyTorch wrote, whole."
            )
        self._stack.append(self._persistent(reference, self._source))

    def _refer_to_top(self, _: Any) -> None:
        self._refer(self._pop())


_PUSHED = frozenset(("BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"))
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_METHODS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine._protocol,
    "MARK": _Machine._mark,
    "POP": _Machine._drop,
    "POP_MARK": _Machine._drop_to_mark,
    "DUP": _Machine._repeat,
    "EMPTY_LIST": _Machine._empty_list,
    "EMPTY_DICT": _Machine._empty_dict,
    "LIST": _Machine._list,
    "DICT": _Machine._dict,
    "TUPLE": _Machine._tuple,
    "TUPLE1": lambda machine, _: machine._tuple_of(1),
    "TUPLE2": lambda machine, _: machine._tuple_of(2),
    "TUPLE3": lambda machine, _: machine._tuple_of(3),
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_all_items,
    "MEMOIZE": _Machine._memorize,
    "GLOBAL": _Machine._global,
    "STACK_GLOBAL": _Machine._stack_global,
    "INST": _Machine._instance,
    "REDUCE": _Machine._call,
    "BUILD": _Machine._build,
    "PERSID": _Machine._refer,
    "BINPERSID": _Machine._refer_to_top,
    **dict.fromkeys(("FRAME", "STOP"), _Machine._nothing),
    **dict.fromkeys(("OBJ", "NEWOBJ", "NEWOBJ_EX"), _Machine._object),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine._remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine._recall),
    **dict.fromkeys(("INT", "LONG", "LONG1", "LONG4"), _Machine._integer),
    **dict.fromkeys(
        ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        _Machine._text,
    ),
}
