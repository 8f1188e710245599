"""Pickles that would run code, fill memory, take time, or are broken, made from a seed.

Those that run code touch the canary file: `pickle.loads` would create it.
"""

import builtins
import importlib
import io
import os
import pickle
import random
import runpy
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import torch

_PLANS = {"plans_per_stage": {0: {"patch_size": [128, 128, 128]}}, "list": list(range(50)), "name": "Task500"}


class Calls:
    """Is pickled as a call of `function`."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments

    def __call__(self):
        """Let it be pickled as a function, too."""


def runs_code(canary):
    """Return {name: object} whose pickles create the file `canary` when Python's own unpickler reads them."""
    command = f"{sys.executable} -c \"open(r'{canary}', 'w')\""
    code = f"open(r'{canary}', 'w').close()"
    return {
        "os.system": Calls(os.system, command),
        "subprocess.check_call": Calls(subprocess.check_call, [sys.executable, "-c", code]),
        "builtins.eval": Calls(builtins.eval, code),
        "builtins.exec": Calls(builtins.exec, code),
        "builtins.open": Calls(builtins.open, str(canary), "w"),
        "runpy._run_code": Calls(runpy._run_code, code, {}),
        "nested": Calls(builtins.eval, Calls(builtins.str, Calls(builtins.str, code))),
        "getattr": Calls(Calls(builtins.getattr, Calls(importlib.import_module, "os"), "system"), command),
    }


def hidden(payload, protocol, random_):
    """Return a pickle of harmless content with the payload somewhere in it."""
    places = [
        lambda: payload,
        lambda: {**_PLANS, "plans_per_stage": [payload]},
        lambda: OrderedDict(state_dict=OrderedDict(a=1), epoch=payload),
        lambda: [[[(1, payload)]]],
        lambda: [np.float64(3), np.zeros(3), payload],
    ]
    return pickle.dumps(random_.choice(places)(), protocol)


def in_torch_file(payload, old):
    """Return PyTorch's file of a state_dict with the payload beside the weights."""
    file = io.BytesIO()
    content = {"state_dict": {"in_conv.conv.0.weight": torch.zeros(2, 1, 3, 3, 3)}, "epoch": payload}
    torch.save(content, file, _use_new_zipfile_serialization=not old)
    return file.getvalue()


def by_hand(canary):
    """Return pickles of instructions that Python's pickler does not write."""
    code = f"open(r'{canary}', 'w')".encode()
    text = b"V" + code + b"\n"
    return {
        "INST": b"(" + text + b"ibuiltins\neval\n.",
        "OBJ": b"(cbuiltins\neval\n" + text + b"o.",
        "NEWOBJ": b"\x80\x02cbuiltins\neval\n" + text + b"\x85\x81.",
        "NEWOBJ of an allowed name": b"\x80\x02ccollections\nOrderedDict\n)\x81.",
        "EXT1": b"\x80\x02\x82\x01.",
        "EXT4": b"\x80\x02\x84\xff\xff\xff\x7f.",
        "GLOBAL with a dotted name": b"\x80\x04\x8c\x08builtins\x8c\x0deval.__call__\x93.",
        "module in disguise": b"\x80\x04\x8c\x0bcollections\x8c\x0f_sys.modules.os\x93.",
        "PERSID": b"Pstorage\n.",
        "BUILD of a list": b"]}b.",
        "BUILD of an OrderedDict by a list": b"\x80\x02ccollections\nOrderedDict\n)R]b.",
        "call of a type of numbers": b"\x80\x02ctorch\nFloatStorage\nK\x05\x85R.",
        "call of a text": b"X\x01\x00\x00\x00a)R.",
        "OrderedDict of pairs": b"\x80\x02ccollections\nOrderedDict\n]]K\x01aK\x02aa\x85R.",
        "codec": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00bz2\x86R.",
        "no value": b".",
        "no mark": b"\x80\x02K\x01u.",
        "two values": b"K\x01K\x02.",
        "mark below": b"K\x01(0.",
        "unknown memory": b"h\x05.",
        "key that is a list": b"}]K\x01s.",
        "key without a value": b"}(K\x01u.",
        "surrogate": b"X\x03\x00\x00\x00\xed\xa0\x80.",
        "empty": b"",
    }


def objects(random_):
    """Return pickles of numpy's objects, structures and texts, which can hold anything."""
    kinds = [
        np.array([1, "a", None], dtype=object),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array(["text"]),
        np.array([b"bytes"]),
        np.datetime64("2026-01-01"),
        np.float64(1).dtype.newbyteorder(">").type,
        np.random.RandomState(0),
        {1, 2, 3},
        frozenset((1, 2)),
        complex(1, 2),
        bytearray(b"abc"),
        range(3),
        np.array([1 + 2j]),
    ]
    return pickle.dumps([1, random_.choice(kinds)], random_.choice((2, 3, 4, 5)))


def bombs():
    """Return small pickles that claim or make much, and the largest that are followed at all."""
    nested = b"\x80\x02K\x01" + b"q\x00h\x00\x86" * 60
    array = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n%sC\x01b\x87R."
    long_text = b"X" + struct.pack("<I", 2**20) + b"a" * 2**20
    encode = b"c_codecs\nencode\nq\x01X\x06\x00\x00\x00latin1q\x02" + long_text + b"q\x000"
    return {
        "bytes of 4 EB": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"a.",
        "text of 4 EB": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"a.",
        "bytearray of 4 EB": b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"a.",
        "bytearray of 8 GB": b"\x80\x05\x96" + struct.pack("<Q", 2**33) + b"a.",
        "text of 4 GB": b"X\xff\xff\xff\xffa.",
        "frame of 4 EB": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"K\x01K\x02.",
        "memory 4e9": b"K\x01r\xff\xff\xff\xff0.",
        "integer of a million digits": b"I" + b"9" * 10**6 + b"\n.",
        "long of a million digits": b"L" + b"9" * 10**6 + b"L\n.",
        "long of a megabyte": b"\x8b" + struct.pack("<i", 2**20) + b"\x7f" * 2**20 + b".",
        "key of 2^60 parts": nested + b"K\x01}h\x00K\x01s.",
        "array of 8 TB": array % b"\x8a\x05\x00\x00\x00\x00\x01\x85",
        "a megabyte encoded thousands of times": encode + b"h\x01h\x00h\x02\x86R0" * 5000 + b"N.",
        "millions of lists": b"(" + b"]" * 3_000_000 + b"l.",
        "millions of marks": b"(" * 3_000_000 + b".",
        "too long": b"C\x00" * (9 * 2**20) + b".",
    }


def zip_bombs():
    """Return PyTorch's files with parts that are compressed, missing, doubled or overlapping."""
    source = io.BytesIO()
    torch.save({"a": torch.zeros(100)}, source)
    with zipfile.ZipFile(source) as archive:
        parts = {entry.filename: archive.read(entry) for entry in archive.infolist()}

    tensor = (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu%stQK\x00%sK\x00\x85\x89}tR."
    )
    petabyte, exabyte = (b"\x8a\x07" + struct.pack("<Q", 2**50)[:7], b"\x8a\x08" + struct.pack("<Q", 2**60))

    def packed(changes, compression=zipfile.ZIP_STORED):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", compression) as archive:
            for name, content in {**parts, **changes}.items():
                if content is not None:
                    archive.writestr(name, content)
        return file.getvalue()

    return {
        "compressed": packed({"archive/data/0": bytes(2**22)}, zipfile.ZIP_DEFLATED),
        "tensor of a petabyte": packed({"archive/data.pkl": tensor % (b"Kd", petabyte + b"\x85")}),
        "storage of an exabyte": packed({"archive/data.pkl": tensor % (exabyte, b"K\x01\x85")}),
        "storage of another size": packed({"archive/data.pkl": tensor % (b"Ke", b"K\x01\x85")}),
        "big-endian": packed({"archive/byteorder": b"big"}),
        "no pickle": packed({"archive/data.pkl": None}),
        "two pickles": packed({"other/data.pkl": b"N."}),
        "TorchScript": packed({"archive/constants.pkl": b"N."}),
        "cut short": source.getvalue()[: len(source.getvalue()) // 2],
    }


def hostile_pickles(canary, count, seed=0):
    """Return `count` pairs of a name and a file's content, each of which must be refused."""
    random_ = random.Random(seed)
    payloads = runs_code(canary)
    fixed = {
        # By their first bytes they are known as pickles.
        name: content if content.startswith((b"\x80", b"(")) else b"\x80\x02" + content
        for name, content in {**by_hand(canary), **bombs()}.items()
    }
    fixed |= zip_bombs()
    whole = torch.nn.Sequential(torch.nn.Conv3d(1, 1, 1))
    fixed |= {f"whole module, old: {old}": in_torch_file(whole, old) for old in (False, True)}
    for name, payload in payloads.items():
        fixed |= {f"{name} in a file of PyTorch, old: {old}": in_torch_file(payload, old) for old in (False, True)}
    harmless = pickle.dumps([_PLANS, np.float64(2), np.zeros(9)], 2)
    made = list(fixed.items())
    while len(made) < count:
        kind = random_.choice(("code", "code", "objects", "protocol", "truncated"))
        if kind == "code":
            name = random_.choice(list(payloads))
            content = hidden(payloads[name], random_.choice(range(6)), random_)
        elif kind == "objects":
            name, content = kind, objects(random_)
        elif kind == "protocol":
            name, content = kind, b"\x80" + bytes([random_.randrange(6, 256)]) + harmless[2:]
        else:
            name, content = kind, harmless[: random_.randrange(1, len(harmless) - 1)]
        made.append((f"{name} {len(made)}", content))
    return made
