import pytest

from helpers.intensity_network import write_segmentation_package


@pytest.fixture(scope="session")
def segmentation_package(tmp_path_factory):
    """Labels each voxel with the whole number nearest to its intensity, at 3 mm."""
    return write_segmentation_package(tmp_path_factory.mktemp("segmentation"))
