"""What the data and the task decide where the configuration says nothing."""

import numpy as np
import pytest

from NNMambaLib.training.configuration import Configuration
from NNMambaLib.training.data.survey import Survey
from NNMambaLib.training.plan import resolve
from NNMambaLib.volumes.volume import Grid


@pytest.fixture
def survey():
    grid = Grid((20, 20, 20), np.eye(4))
    return Survey(1, (grid,), np.ones((1, 10), np.float32))


@pytest.mark.parametrize(
    ("task", "variant"),
    [("classification", "CLS-MAX"), ("segmentation", "SEG-CSS"), ("landmarks", "SEG-CSS")],
)
def test_each_task_has_its_network(survey, task, variant):
    assert resolve(Configuration(), task, survey).variant == variant


def test_the_published_classifier_can_be_asked_for(survey):
    assert resolve(Configuration(variant="CLS"), "classification", survey).variant == "CLS"
