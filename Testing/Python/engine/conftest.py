import pytest

from helpers.intensity_network import write_landmarks_package, write_segmentation_package
from NNMambaLib.engine import Engine


@pytest.fixture(autouse=True)
def no_user_models(tmp_path, monkeypatch):
    """Models that the user of this machine installed must not decide what a test finds."""
    monkeypatch.setenv("NNMAMBA_MODELS", str(tmp_path / "no-models"))


@pytest.fixture(scope="session")
def engine():
    return Engine(device="cpu", backend="torch")


@pytest.fixture(scope="session")
def segmentation_package(tmp_path_factory):
    """Labels each voxel with the whole number nearest to its intensity, at 3 mm."""
    return write_segmentation_package(tmp_path_factory.mktemp("segmentation"))


@pytest.fixture(scope="session")
def landmarks_package(tmp_path_factory):
    """Finds the brightest point of each of three channels, at 3 mm."""
    return write_landmarks_package(tmp_path_factory.mktemp("landmarks"))
