"""Changes of valid files: the same random generator makes the same change."""

from __future__ import annotations

import random
import re

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_NUMBERS = (
    b"0", b"-1", b"1", b"2", b"255", b"65536", b"2147483648", b"-9223372036854775809", b"18446744073709551616", b"1e9",
    b"1e-9", b"1e308", b"1e999", b"-1e300", b"NaN", b"Infinity", b"0.5", b"1,5", b"", b"9" * 400, b"true", b"null",
)  # fmt: skip
_TEXTS = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\\ud800", b"../", b"/dev/zero", b"[" * 2000, b'{"a":' * 500, b'"', b",",
    b";", b"\r", b"\n\n", b"\xf0\x9f\xa7\xa0", b"%n%s", b"#", b" " * 100, b"A" * 5000,
)  # fmt: skip


def mutate(content: bytes, generator: random.Random) -> bytes:
    """Return the content after one to four random changes."""
    for _ in range(generator.choice((1, 1, 1, 2, 2, 4))):
        content = generator.choice(_CHANGES)(content, generator)
    return content


def _place(content: bytes, generator: random.Random) -> int:
    # Headers stand first: every second change is made there.
    end = len(content) if generator.random() < 0.5 else min(len(content), 400)
    return generator.randrange(end + 1)


def _flip_bit(content: bytes, generator: random.Random) -> bytes:
    if not content:
        return content
    place = min(_place(content, generator), len(content) - 1)
    return content[:place] + bytes([content[place] ^ 1 << generator.randrange(8)]) + content[place + 1 :]


def _set_bytes(content: bytes, generator: random.Random) -> bytes:
    place, count = _place(content, generator), generator.choice((1, 2, 4, 8))
    value = generator.choice(
        (bytes(count), b"\xff" * count, generator.randbytes(count), b"\x7f" + b"\xff" * (count - 1))
    )
    return content[:place] + value + content[place + count :]


def _cut(content: bytes, generator: random.Random) -> bytes:
    return content[: _place(content, generator)]


def _remove(content: bytes, generator: random.Random) -> bytes:
    place = _place(content, generator)
    return content[:place] + content[place + generator.choice((1, 2, 8, 64)) :]


def _repeat(content: bytes, generator: random.Random) -> bytes:
    place = _place(content, generator)
    part = content[place : place + generator.choice((1, 8, 64, 256))]
    return content[:place] + part * generator.choice((1, 2, 50)) + content[place:]


def _insert(content: bytes, generator: random.Random) -> bytes:
    place = _place(content, generator)
    return content[:place] + generator.choice(_TEXTS) + content[place:]


def _other_number(content: bytes, generator: random.Random) -> bytes:
    found = list(_NUMBER.finditer(content[:20_000]))
    if not found:
        return _set_bytes(content, generator)
    match = generator.choice(found)
    return content[: match.start()] + generator.choice(_NUMBERS) + content[match.end() :]


def _swap_lines(content: bytes, generator: random.Random) -> bytes:
    lines = content.split(b"\n")
    first, second = generator.randrange(len(lines)), generator.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return b"\n".join(lines)


_CHANGES = (_flip_bit, _set_bytes, _cut, _remove, _repeat, _insert, _other_number, _other_number, _swap_lines)
