"""The CUDA kernels without a GPU: what they compute in numba's simulator, against the definitions in float64."""

import importlib.util
import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import cuda_floor
import cuda_kernels

SIMULATOR = Path(__file__).parents[1] / "helpers" / "cuda_simulator.py"

COMPILERS = ("numba-cuda", "nvidia-nvvm", "nvidia-cuda-nvcc")


def is_installed(package):
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


pytestmark = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")


@pytest.fixture(scope="module")
def simulated():
    """What the simulator found, in a process of its own: numba reads the variable when it is imported."""
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(SIMULATOR)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_kernels_agree_with_the_definitions(simulated):
    assert len(simulated["differences"]) == 24
    assert {name: value for name, value in simulated["differences"].items() if not value < 1e-5} == {}


def test_types_and_what_is_not_a_number(simulated):
    assert len(simulated["facts"]) == 5
    assert [fact for fact, holds in simulated["facts"].items() if not holds] == []


@pytest.mark.skipif(not all(map(is_installed, COMPILERS)), reason="the extra gpu is not installed")
def test_a_kernel_compiles_without_a_card_and_spills_nothing():
    (scan,) = cuda_kernels.compile_kernels("8.6", "scan, 16 states, dt of rank 8, bfloat16")
    assert (scan.spilled, scan.stack) == (0, 0)
    assert 32 < scan.registers <= 128


def test_a_kernel_that_cannot_be_compiled_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(cuda_kernels, "__file__", str(Path(cuda_kernels.__file__).with_name("missing.py")))
    with pytest.raises(RuntimeError, match=r"cannot be compiled for 8\.6"):
        cuda_kernels.compile_kernels("8.6")


@pytest.mark.parametrize(
    ("capability", "registers", "shared", "expected"),
    [
        ("9.0", 32, 0, 1.0),
        # 65536 registers for warps of 96 * 32 = 3072: 21 of them, in 10 blocks of two, of 32 warps.
        ("7.5", 96, 0, 20 / 32),
        # Of 100 KiB, four blocks take 24 KiB and one of the system's each.
        ("8.6", 32, 24 * 1024, 4 * 64 / 1536),
        ("8.6", 16, 0, 16 * 64 / 1536),
    ],
)
def test_occupancy(capability, registers, shared, expected):
    compiled = cuda_kernels.Compiled("k", "", 64, registers, 0, 0, shared)
    assert cuda_kernels.occupancy(compiled, cuda_kernels.ARCHITECTURES[capability]) == pytest.approx(expected)


def test_the_page_has_the_floors_that_the_script_prints():
    text = cuda_kernels.PAGE.read_text(encoding="utf-8")
    assert text == cuda_kernels.put(text, "floor", cuda_floor.tables())
