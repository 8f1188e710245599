"""Three small volumes, a tiny model, and a plan for them."""

from dataclasses import replace

import pytest

from helpers.batch_inputs import write_input
from NNMambaLib.batch.plan import Case, Plan, Step
from NNMambaLib.support.random_package import random_manifest, write_random_package


@pytest.fixture(scope="package")
def model(tmp_path_factory):
    manifest = random_manifest("segmentation", outputs=3, base_width=2, patch=(16, 16, 16))
    return write_random_package(tmp_path_factory.mktemp("batch") / "model", manifest)


@pytest.fixture
def inputs(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        write_input(folder / f"case{number}.nii.gz", number)
    return folder


@pytest.fixture
def plan(model, tmp_path):
    step = Step("", "segmentation", str(model.path), {}, {"output": ".nii.gz", "uncertainty": ".nrrd"})
    step = replace(step, options={"uncertainty": True})
    return Plan(str(tmp_path / "out"), (step,), device="cpu", backend="torch").with_models()


@pytest.fixture
def case(inputs):
    return Case("case0", (str(inputs / "case0.nii.gz"),))
