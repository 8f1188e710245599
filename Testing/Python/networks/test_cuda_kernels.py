"""The CUDA kernels without a GPU: what they compute in numba's simulator, against the definitions in float64."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SIMULATOR = Path(__file__).parents[1] / "helpers" / "cuda_simulator.py"

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
