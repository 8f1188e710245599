"""What the C++ classes offer that the host stands in for: what Slicer 5.10 and 5.12 both have."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

# {class: base, and the names of its own properties, slots and invokable methods, and its signals' signatures}
MEMBERS: dict[str, dict] = json.loads(Path(__file__).with_name("members.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Members:
    """The members of a class, with those of its bases up to the first class of Qt."""

    qt_base: str = ""
    properties: frozenset[str] = frozenset()
    methods: frozenset[str] = frozenset()
    signals: tuple[str, ...] = ()

    @staticmethod
    @cache
    def of(name: str) -> Members:
        if name not in MEMBERS:
            return Members(name)
        own, base = MEMBERS[name], Members.of(MEMBERS[name]["base"])
        return Members(
            base.qt_base,
            base.properties | set(own["properties"]),
            base.methods | set(own["methods"]),
            (*own["signals"], *base.signals),
        )

    @cached_property
    def all(self) -> frozenset[str]:
        return self.properties | self.methods | {signal.partition("(")[0] for signal in self.signals}


class kept(property):
    """A property that keeps what is written, as the type of its default, and may tell the object.

    Lists are copied, as they are where they come from C++.
    """

    def __init__(self, default, then: str = ""):
        def read(instance):
            value = getattr(instance, self._key, default)
            return list(value) if isinstance(value, list) else value

        def write(instance, value):
            setattr(instance, self._key, value if default is None else type(default)(value))
            if then:
                getattr(instance, then)()

        super().__init__(read, write)

    def __set_name__(self, owner, name):
        self._key = f"_kept_{name}"


def forwarded(part: str, name: str, then: str = "") -> property:
    """Return a property that is a part's own; the object may be told when it is written."""

    def write(self, value):
        setattr(getattr(self, part), name, value)
        if then:
            getattr(self, then)()

    return property(lambda self: getattr(getattr(self, part), name), write)


def assigns(name: str):
    """Return a method that writes a property."""
    return lambda self, value: setattr(self, name, value)
