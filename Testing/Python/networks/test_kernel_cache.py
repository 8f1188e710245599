"""A cache of compiled kernels that was damaged: the form in torch takes over, and says why."""

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[3] / "NNMamba"

# The cache holds what numba makes of a function as small as can be; it is in a folder of the test's own.
_PROGRAM = """
    import json, shutil, sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    import small
    from NNMambaLib.kernels.availability import unavailable_reason
    from NNMambaLib.kernels.scan import SCANS

    folder = Path(next(iter(SCANS.values())).stats.cache_path)
    folder.mkdir(parents=True, exist_ok=True)
    files = [Path(shutil.copy(path, folder)) for path in Path(small.f.stats.cache_path).glob("small*.nb[ic]")]
    found = {"sound": unavailable_reason()}
    for path in files:
        sound = path.read_bytes()
        for what, damaged in (("cut", sound[: len(sound) // 2]), ("zeros", bytes(len(sound))), ("empty", b"")):
            path.write_bytes(damaged)
            unavailable_reason.cache_clear()
            found[f"{what} {path.name}"] = unavailable_reason()
        path.write_bytes(sound)
    print(json.dumps(found))
"""


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")
def test_damaged_cache_is_named_and_a_sound_one_is_used(tmp_path):
    source = "import numba\n@numba.njit(cache=True)\ndef f(x):\n    return x\nf(1)\n"
    (tmp_path / "small.py").write_text(source, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(LIBRARY), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-c", textwrap.dedent(_PROGRAM), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found.pop("sound") is None
    assert len(found) == 6
    for what, reason in found.items():
        name = what.split()[1]
        assert f"numba's cache of compiled kernels is damaged ({name}): remove the folder" in reason
