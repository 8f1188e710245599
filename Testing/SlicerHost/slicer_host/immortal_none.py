"""Keeping PySide from ending the process."""

import ctypes
import sys

_PLENTY = 2**40


def make_none_immortal() -> None:
    """Give None more references than a process can lose.

    PySide 6.12's calls that return nothing lose one reference to None each, as they may where None is immortal (Python
    3.12, PEP 683). Before that, some thousand calls free None, and Python aborts.
    """
    if sys.version_info < (3, 12) and sys.getrefcount(None) < _PLENTY // 2:
        # The reference count is the first field of an object.
        ctypes.c_ssize_t.from_address(id(None)).value += _PLENTY
