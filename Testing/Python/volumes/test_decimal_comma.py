"""Geometry in a process whose C library writes decimal commas, as that of a Qt application in German does."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import NNMambaLib
from NNMambaLib.volumes.files import write_volume
from NNMambaLib.volumes.volume import Volume

_SCRIPT = """
import locale, sys, threading
import numpy as np
from NNMambaLib.volumes.files import read_volume, write_volume
from NNMambaLib.volumes.volume import Volume

locale.setlocale(locale.LC_ALL, "xx_XX")
assert locale.localeconv()["decimal_point"] == ","
written = Volume(np.zeros((1, 8, 8, 8), np.int16), np.diag([1.5, 1.2, 2.5, 1]))
found = []
def work():
    for ending in sys.argv[1:]:
        write_volume(written, f"case{threading.get_ident()}{ending}")
        found.append(read_volume(f"case{threading.get_ident()}{ending}").grid.spacing)
        found.append(read_volume(f"before{ending}").grid.spacing)
threads = [threading.Thread(target=work) for _ in range(3)]
[thread.start() for thread in threads]
work()
[thread.join() for thread in threads]
assert len(found) == 8 * len(sys.argv[1:])
assert all(np.allclose(spacing, (1.5, 1.2, 2.5)) for spacing in found), found
print("same")
"""
_ENDINGS = (".nrrd", ".nii", ".nii.gz", ".mha")


@pytest.fixture
def comma_locale(tmp_path):
    """The environment of a process with a locale that has a decimal comma."""
    localedef = shutil.which("localedef")
    if localedef is None:
        pytest.skip("no localedef here to make a locale with")
    made = subprocess.run(
        [localedef, "-i", "de_DE", "-f", "UTF-8", str(tmp_path / "xx_XX")], capture_output=True, check=False
    )
    if not (tmp_path / "xx_XX").exists():
        pytest.skip(f"localedef has no source of a locale: {made.stderr[-200:]!r}")
    return dict(os.environ, LOCPATH=str(tmp_path), LC_ALL="C")


def test_spacings_survive_a_decimal_comma_in_every_thread(tmp_path, comma_locale):
    """1.5, 1.2 and 2.5 mm must not be read as 1, 1 and 2."""
    import SimpleITK as sitk

    volume = Volume(np.zeros((1, 8, 8, 8), np.int16), np.diag([1.5, 1.2, 2.5, 1]))
    for ending in _ENDINGS:
        write_volume(volume, tmp_path / f"before{ending}")
    root = os.path.dirname(os.path.dirname(NNMambaLib.__file__))
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *_ENDINGS],
        env=comma_locale | {"PYTHONPATH": root}, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "same\n", done.stderr
    # Other readers, without the comma, agree.
    for path in tmp_path.glob("case*.nrrd"):
        assert sitk.ReadImage(str(path)).GetSpacing() == pytest.approx((1.5, 1.2, 2.5))
