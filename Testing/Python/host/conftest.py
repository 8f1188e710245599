from pathlib import Path

import pytest

SAMPLE = Path(__file__).parent / "HostSample" / "HostSample.py"


@pytest.fixture
def host():
    pytest.importorskip("PySide6", reason="PySide6 is not installed")
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    from slicer_host import SlicerHost

    with SlicerHost() as host:
        yield host


@pytest.fixture
def sample(host):
    """The sample module's ScriptedLoadableModuleWidget."""
    return host.open(SAMPLE)
