"""Kernels are compiled before somebody waits for them."""

import os
import subprocess
import sys

import pytest

from NNMambaLib.networks.scan.selective_scan import available_backends
from NNMambaLib.support.random_package import random_manifest, write_random_package

# A process of its own: in this one, tests before may have compiled the kernels.
_PROGRAM = """
import sys
import numpy as np
from NNMambaLib.engine import Engine
from NNMambaLib.inference.warm_up import warm_up
from NNMambaLib.kernels import gated_scan, labels
from NNMambaLib.volumes.volume import Volume

def compiled():
    kernels = [vars(module).values() for module in (gated_scan, labels)]
    return {k.py_func.__name__: len(k.signatures) for group in kernels for k in group if hasattr(k, "signatures")}

warm_up()
before = compiled()
engine = Engine("cpu", "numba")
voxels = np.random.default_rng(0).standard_normal((1, 40, 48, 36)).astype(np.float32)
for spacing in (1.0, 2.5):
    engine.segment(Volume(voxels, np.diag([spacing, spacing, spacing, 1.0])), sys.argv[1], pad_small=True)
assert any(before.values())
assert compiled() == before, (before, compiled())
# PyTorch's own compiler, which it imports for tensors on the meta device, takes seconds.
assert "sympy" not in sys.modules
"""


@pytest.mark.skipif(available_backends()["numba"] is not None, reason="needs numba")
def test_a_job_compiles_nothing_after_warming_up_and_imports_no_compiler(tmp_path):
    manifest = random_manifest("segmentation", outputs=3, base_width=4, patch=(32, 32, 32), spacing=(1, 1, 1))
    package = write_random_package(tmp_path / "model", manifest)
    finished = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(package.path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
