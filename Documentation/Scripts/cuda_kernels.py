"""Compile the CUDA kernels for NVIDIA's architectures, without a card, and say what they need of one.

    python Documentation/Scripts/cuda_kernels.py [--architecture 9.0 ...] [--kernel "scan, 16 states"] [--write]

It needs the extra gpu. Each architecture is compiled in a process of its own: numba-cuda to PTX, ptxas to the machine's
code, as on a machine that has the card. It prints registers, spilled bytes and theoretical occupancy, and ends with 1
if a kernel spills. With ``--write`` it puts its tables, and those of `cuda_floor.py`, into `Documentation/gpu.md`.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cuda_floor

PAGE = Path(__file__).parents[1] / "gpu.md"


@dataclass(frozen=True)
class Architecture:
    """What a multiprocessor has (CUDA C++ Programming Guide, table "Technical Specifications per Compute Capability").

    Attributes:
        threads, blocks: that can be resident.
        shared: bytes of shared memory, of which each block takes `reserved` besides its own.
    """

    cards: str
    threads: int
    blocks: int
    shared: int
    reserved: int


ARCHITECTURES = {
    "7.5": Architecture("T4, RTX 20", 1024, 16, 64 * 1024, 0),
    "8.6": Architecture("A10, RTX 30", 1536, 16, 100 * 1024, 1024),
    "8.9": Architecture("L4, RTX 40", 1536, 24, 100 * 1024, 1024),
    "9.0": Architecture("H100, H200", 2048, 32, 228 * 1024, 1024),
    "12.0": Architecture("RTX 50", 1536, 24, 100 * 1024, 1024),
}
_REGISTERS = 65536
_WARP = 32
# Registers are handed out to warps in portions.
_PORTION = 256


@dataclass(frozen=True)
class Compiled:
    """A kernel as it was compiled, by ptxas's own account; shared memory in bytes."""

    kernel: str
    form: str
    threads: int
    registers: int
    stack: int
    spilled: int
    shared: int


def occupancy(compiled: Compiled, architecture: Architecture) -> float:
    """Return the part of a multiprocessor's threads that can be resident at a time."""
    warps = -(-compiled.threads // _WARP)
    of_a_warp = -(-compiled.registers * _WARP // _PORTION) * _PORTION
    blocks = min(
        architecture.blocks,
        architecture.threads // compiled.threads,
        _REGISTERS // of_a_warp // warps,
        architecture.shared // (compiled.shared + architecture.reserved) if compiled.shared else architecture.blocks,
    )
    return blocks * compiled.threads / architecture.threads


def compile_kernels(capability: str, only: str | None = None) -> list[Compiled]:
    """Compile every kernel, or those whose "name, form" contains `only`, in a process of its own.

    Args:
        capability: of the card, such as "9.0".

    Raises:
        RuntimeError: with what the compiler says.
    """
    command = [sys.executable, __file__, "--child", capability, *(["--kernel", only] if only else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"The kernels cannot be compiled for {capability}: {done.stderr.strip()}")
    return [Compiled(**row) for row in json.loads(done.stdout)]


def _child(capability: str, only: str | None) -> None:
    from numba.cuda import compile as compile_kernel
    from numba.cuda import dispatcher

    major, minor = (int(part) for part in capability.split("."))
    # Functions within kernels are compiled for the card that is there, which is none.
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(major, minor))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        for name, form, threads, kernel, signature in _forms():
            if only is not None and only not in f"{name}, {form}":
                continue
            ptx, _ = compile_kernel(kernel.py_func, signature, device=False, cc=(major, minor), abi="numba")
            source.write_text(ptx, encoding="utf-8")
            command = [str(_ptxas()), "-v", f"-arch=sm_{major}{minor}", str(source), "-o", str(target)]
            report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
            rows.append(asdict(_read(report, name, form, threads)))
    print(json.dumps(rows))


def _read(report: str, name: str, form: str, threads: int) -> Compiled:
    def number(pattern: str) -> int:
        found = re.search(pattern, report)
        return int(found.group(1)) if found else 0

    assert "registers" in report, report
    spilled = number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads")
    return Compiled(
        kernel=name,
        form=form,
        threads=threads,
        registers=number(r"Used (\d+) registers"),
        stack=number(r"(\d+) bytes stack frame"),
        spilled=spilled,
        shared=number(r"(\d+) bytes smem"),
    )


def _ptxas() -> Path:
    files = importlib.metadata.files("nvidia-cuda-nvcc") or []
    return next(Path(str(file.locate())) for file in files if file.stem == "ptxas")


def _forms() -> Iterator[tuple[str, str, int, Any, Any]]:
    """Yield every kernel: its name, its form, threads of a block, the kernel, and the types of its arguments."""
    from NNMambaLib.kernels.cuda_arithmetic import CHANNELS
    from NNMambaLib.kernels.cuda_convolution import convolution_kernel
    from NNMambaLib.kernels.cuda_gated_scan import scan_kernels
    from NNMambaLib.networks.scan.cuda_scans import CARRIED

    # A module whose names are made when it is loaded.
    types: Any = importlib.import_module("numba.cuda.types")
    float32, int64, boolean, void = types.float32, types.int64, types.boolean, types.void
    vector, matrix, cube, table = float32[::1], float32[:, ::1], float32[:, :, ::1], float32[:, :, :, ::1]
    values = {"float32": float32, "float16": types.float16, "bfloat16": types.uint16}
    for name, value in values.items():
        kernel = convolution_kernel(name == "bfloat16")
        yield "convolve", name, CHANNELS, kernel, void(value[:, :, ::1], matrix, vector, int64, cube)
    # By states and rank of dt; rank 0 is the scan whose step sizes are given, as in training.
    for states, rank, name in (
        (16, 4, "float32"), (16, 8, "float32"), (16, 16, "float32"), (8, 4, "float32"),
        (16, 4, "float16"), (16, 8, "bfloat16"),
        (16, 0, "float32"), (8, 0, "float32"), (16, 0, "float16"), (16, 0, "bfloat16"),
    ):  # fmt: skip
        value = values[name]
        bits = name == "bfloat16"
        # What the convolution writes is in float32, and so is what x_proj makes of it.
        inputs = float32[:, :, ::1] if rank else value[:, :, ::1]
        kernels = scan_kernels(states, rank, bits and not rank, bits, bits)
        form = f"{states} states, {f'dt of rank {rank}' if rank else 'delta given'}, {name}"
        first = inputs, inputs, inputs, matrix, vector, matrix
        way = int64, int64, int64, int64, boolean, boolean
        yield "ends", form, CHANNELS, kernels.ends, void(*first, *way, table, cube)
        # Half types make no difference to it.
        if name == "float32" and rank in (0, 4):
            yield "carry", form, CARRIED, kernels.carry, void(matrix, cube, int64, boolean, table)
        gates = value[:, :, ::1]
        rest = table, int64, gates, int64, int64, boolean, cube, gates
        yield "scan", form, CHANNELS, kernels.scan, void(*first, vector, *way, *rest)


def table(found: dict[str, list[Compiled]]) -> str:
    """Return a row for each kernel, and for each architecture its registers and occupancy, as Markdown."""
    names = [f"sm_{capability.replace('.', '')}" for capability in found]
    lines = [
        f"| kernel | form | spilled bytes | {' | '.join(names)} |",
        f"| --- | --- | --- |{' --- |' * len(names)}",
    ]
    for rows in zip(*found.values(), strict=True):
        cells = [
            f"{row.registers}, {occupancy(row, ARCHITECTURES[capability]):.0%}"
            for capability, row in zip(found, rows, strict=True)
        ]
        spilled = max(row.spilled + row.stack for row in rows)
        lines.append(f"| `{rows[0].kernel}` | {rows[0].form} | {spilled} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def versions() -> str:
    """Return the compilers' versions, in words."""
    names = ("numba-cuda", "nvidia-nvvm", "nvidia-cuda-nvcc")
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


def put(text: str, name: str, content: str) -> str:
    """Return a page's text with what stands between the comments `name` and `/name` replaced."""
    before, after = text.split(f"<!-- {name} -->\n")[0], text.split(f"<!-- /{name} -->")[1]
    return f"{before}<!-- {name} -->\n{content}<!-- /{name} -->{after}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command that the module's docstring describes; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", nargs="+", choices=ARCHITECTURES, default=list(ARCHITECTURES))
    parser.add_argument("--kernel", help='compile only those whose "name, form" contains this')
    parser.add_argument("--write", action="store_true", help="put the tables into Documentation/gpu.md")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        _child(options.child, options.kernel)
        return 0
    found = {capability: compile_kernels(capability, options.kernel) for capability in options.architecture}
    tables = {"kernels": f"{table(found)}\nBy {versions()}.\n", "floor": cuda_floor.tables()}
    print("\n".join(tables.values()))
    if options.write:
        text = PAGE.read_text(encoding="utf-8")
        for name, content in tables.items():
            text = put(text, name, content)
        PAGE.write_text(text, encoding="utf-8")
    return int(any(row.spilled or row.stack for rows in found.values() for row in rows))


if __name__ == "__main__":
    sys.exit(main())
