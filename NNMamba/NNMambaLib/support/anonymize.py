"""Texts without what tells of somebody: paths, and names of users, hosts and patients in any spelling."""

from __future__ import annotations

import getpass
import itertools
import platform
import re
import socket
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

# A single letter is nobody's name, and two letters between separators are initials.
_SHORTEST_NAME, _SHORTEST_PART = 2, 3
# Words of volumes' names are put in another order, or alone; so many at most are put in every order.
_MOST_REORDERED = 4
# Names that machines have by default tell nothing, and occur in sentences.
_NOBODY = {"localhost", "localdomain", "local", "root", "user"}
_SEPARATORS = r"[\W_]{0,3}"
# A path goes on to a quotation mark or the like. Blanks belong to it where a further separator or an ending follows.
_NAME = r"""[^\s/\\:*?"'<>|()\[\]{},;=]"""
_NAMES = rf"(?:{_NAME}|[ ](?!~)(?={_NAME}+(?:[ ](?!~){_NAME}+)*[\\/]))*"
_STARTS = rf"(?:file:/{{1,3}}|[A-Za-z]:[\\/]+|\\\\+[?.]?|(?<![\w./\\<>~-])~{_NAME}*/+|(?<![\w./\\<>~-])/+(?={_NAME}))"
_FILE = rf"(?:{_NAME}*(?:[ ]{_NAME}+){{0,3}}?\.(?:nrrd|nhdr|nii|gz|mha|mhd|dcm|json|csv|toml|zip|png|mrb)\b|{_NAME}*)"
_PATH = re.compile(rf"(?<!\w)({_STARTS}(?:{_NAMES}[\\/]+)*)({_FILE})", re.IGNORECASE)
# From here on, a path is the same on every machine.
_KNOWN = re.compile(
    r"(?:^|[\\/])(NNMambaLib|NNMambaBrainModels|NNMamba|site-packages|python3\.\d+)([\\/].*)$", re.DOTALL
)


def without_private(text: str, private: Iterable[str] = ()) -> str:
    """Return a text without paths, the names of the user and the host, and other given names.

    Of a path within this library or Python's packages, the part that is the same everywhere stays. Names are found in
    any case, composed or decomposed, percent-encoded or escaped, with other separators, and, of those with the carets
    of DICOM, in another order or in part.
    """
    names = dict.fromkeys(private, "\ue000") | dict.fromkeys(_hosts(), "\ue001") | dict.fromkeys(_users(), "\ue002")
    patterns = sorted(
        ((pattern, names[name]) for name in names for pattern in _patterns(name)), key=lambda each: -len(each[0])
    )
    # Names first, as letters that no text has: blanks in them, and angle brackets, would end a path too early.
    text = unicodedata.normalize("NFC", text)
    for pattern, replacement in patterns:
        text = re.sub(pattern, replacement, text, flags=re.IGNORECASE)
    text = _PATH.sub(_without_folders, text)
    return text.translate({0xE000: "<volume>", 0xE001: "<host>", 0xE002: "<user>"})


def _without_folders(match: re.Match) -> str:
    folders, name = match.groups()
    if not name and not re.search(r"[^\W\d_]", folders.removeprefix("file:")):
        # A slash alone.
        return match[0]
    known = _KNOWN.search(folders + name)
    return f"<path>/{known[1]}{known[2]}" if known else "<path>"


def _patterns(name: str) -> set[str]:
    """Return regular expressions for the spellings of a name."""
    name = unicodedata.normalize("NFC", name).strip()
    words = [word for word in re.split(r"[\W_]+", name) if word]
    if len(name) < _SHORTEST_NAME or not words:
        return set()
    orders = {tuple(words)}
    if "^" in name:
        orders |= {(word,) for word in words if len(word) >= _SHORTEST_PART}
        if len(words) <= _MOST_REORDERED:
            orders |= set(itertools.permutations(words))
    return {rf"(?<![^\W_]){_SEPARATORS.join(map(_spellings, order))}(?![^\W_])" for order in orders}


def _spellings(word: str) -> str:
    return "".join(_spellings_of_letter(letter) for letter in word)


def _spellings_of_letter(letter: str) -> str:
    if letter.isascii():
        return re.escape(letter)
    forms = {letter, letter.lower(), letter.upper()}
    plain = unicodedata.normalize("NFD", letter)
    forms |= {plain[0], plain, {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"}.get(letter.lower(), letter)}
    found = {re.escape(form) for form in forms}
    for form in (letter, letter.lower(), letter.upper(), plain):
        encoded = form.encode(errors="replace")
        found.add(re.escape("".join(chr(byte) if byte < 128 else f"%{byte:02x}" for byte in encoded)))
        found.add(r"\\+".join(["", *(f"x{byte:02x}" for byte in encoded if byte >= 128)]))
        code = ord(form[0])
        found |= {rf"\\+u{code:04x}", rf"\\+x{code:02x}"} if code > 127 else set()
    return f"(?:{'|'.join(sorted(found - {''}, key=len, reverse=True))})"


def _users() -> list[str]:
    names = []
    with suppress(OSError, KeyError, ImportError):
        names.append(getpass.getuser())
    # Some users have no home folder.
    with suppress(RuntimeError):
        names.append(Path.home().name)
    return [name for name in names if name.lower() not in _NOBODY]


def _hosts() -> set[str]:
    found = {platform.node(), socket.gethostname()}
    found |= {name.split(".")[0] for name in found}
    return {name for name in found if name.lower() not in _NOBODY}
