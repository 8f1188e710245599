"""The losses: what they reward, what they ignore."""

import math

import pytest
import torch
from torch.nn import functional

from NNMambaLib.errors import ModelError
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.training.objectives.classification import ClassificationObjective
from NNMambaLib.training.objectives.landmarks import LandmarksObjective, heatmaps
from NNMambaLib.training.objectives.segmentation import SegmentationObjective

pytest.importorskip("monai", reason="the extra train is not installed")


@pytest.fixture
def labels():
    coarse = torch.randint(0, 3, (2, 4, 4, 4), generator=torch.Generator().manual_seed(0))
    return coarse.repeat_interleave(2, 1).repeat_interleave(2, 2).repeat_interleave(2, 3)


def logits_for(labels, count=3, certainty=20.0):
    return certainty * functional.one_hot(labels, count).movedim(-1, 1).float()


def test_segmentation_rewards_the_right_labels(labels):
    loss = SegmentationObjective(NetworkDescription("SEG-CSS", 1, 3)).loss
    assert loss(logits_for(labels), labels) < 0.01
    assert loss(logits_for(labels).roll(1, 1), labels) > 1


def test_deep_supervision_halves_the_weight_and_drops_the_coarsest(labels):
    loss = SegmentationObjective(NetworkDescription("SEG-CSS", 1, 3)).loss
    right, half, coarsest = logits_for(labels), logits_for(labels[:, ::2, ::2, ::2]), torch.randn(2, 3, 2, 2, 2)
    wrong = half.roll(1, 1)
    assert loss([right, half, coarsest], labels) < 0.01
    expected = (loss(right, labels) + 0.5 * loss(wrong, labels[:, ::2, ::2, ::2])) / 1.5
    assert torch.isclose(loss([right, wrong, coarsest], labels), expected)


def test_heads_that_cannot_hold_the_labels_are_refused():
    with pytest.raises(ModelError, match="The heads of SEG-NNU2 have 4 outputs and there are 3 labels: take SEG-NNU"):
        SegmentationObjective(NetworkDescription("SEG-NNU2", 1, 3, 4))


@torch.no_grad()
def test_linear_outputs_start_with_the_background_and_do_not_leak():
    torch.manual_seed(0)
    objective = SegmentationObjective(NetworkDescription("SEG-CSS-FULL", 1, 3, 8))
    network, x = objective.build_network().eval(), torch.randn(1, 1, 16, 16, 16)
    outputs = network(x)
    assert (outputs.argmax(1) == 0).all()
    assert (outputs < 0).any()
    objective.prepare_step(network, 0.5)
    assert torch.equal(network(x), outputs)


def landmark_targets(*rows):
    return torch.tensor([rows], dtype=torch.float32)


def test_a_heatmap_is_a_gaussian_about_the_landmark_or_empty():
    maps = heatmaps(landmark_targets([4, 5.5, 2, 1], [math.nan, 0, 0, 0], [1, 1, 1, -1]), (7, 8, 9), sigma=2.0)[0]
    assert maps.shape == (3, 7, 8, 9)
    assert maps[0, 2, 5, 4] == pytest.approx(math.exp(-(0.5**2) / 8))
    assert maps[0, 4, 5, 7] == pytest.approx(math.exp(-(2**2 + 0.5**2 + 3**2) / 8))
    assert not maps[1:].any()


def test_an_absent_landmark_wants_an_empty_heatmap_and_an_unknown_one_nothing():
    objective = LandmarksObjective(NetworkDescription("SEG-CSS", 1, 2), sigma=1.5)
    target = landmark_targets([8, 8, 8, 1], [8, 8, 8, 0])
    right = heatmaps(target, (16, 16, 16), 1.5)
    assert objective.loss(right, target) == 0
    assert objective.loss(right.flip(1), target) == pytest.approx(2**-1.5, rel=1e-3)
    unknown = landmark_targets([8, 8, 8, -1], [8, 8, 8, -1])
    assert objective.loss(torch.ones(1, 2, 16, 16, 16), unknown) == 0


def test_the_loss_of_a_missed_landmark_does_not_depend_on_the_patch():
    objective = LandmarksObjective(NetworkDescription("SEG-CSS", 1, 1), sigma=1.5)
    target = landmark_targets([8, 8, 8, 1])
    missed = [objective.loss(torch.zeros(1, 1, size, size, size), target).item() for size in (16, 32)]
    assert missed[0] == pytest.approx(missed[1], rel=1e-3)


def test_peak_weight_makes_a_missed_landmark_cost_more_than_a_false_one():
    target = landmark_targets([8, 8, 8, 1])
    losses = {}
    for weight in (0.0, 4.0):
        objective = LandmarksObjective(NetworkDescription("SEG-CSS", 1, 1), sigma=1.5, peak_weight=weight)
        right = heatmaps(target, (16, 16, 16), 1.5)
        missed, in_vain = 0 * right, right + right.roll(8, 4)
        losses[weight] = objective.loss(missed, target).item(), objective.loss(in_vain, target).item()
    assert losses[0.0][0] == pytest.approx(losses[0.0][1], rel=1e-2)
    # The sum of a Gaussian's cube is that of its square times (2/3)^1.5.
    assert losses[4.0][0] == pytest.approx(losses[0.0][0] * (1 + 4 * (2 / 3) ** 1.5), rel=1e-3)
    assert losses[4.0][1] == pytest.approx(losses[0.0][1], rel=1e-2)


def test_landmarks_may_weigh_more_than_others():
    target = landmark_targets([8, 8, 8, 1], [8, 8, 8, 1])
    right = heatmaps(target, (16, 16, 16), 1.5)
    one_missed = right * torch.tensor([1.0, 0.0])[None, :, None, None, None]
    alike, more = (
        LandmarksObjective(NetworkDescription("SEG-CSS", 1, 2), sigma=1.5, weights=weights).loss(one_missed, target)
        for weights in (None, (1.0, 10.0))
    )
    assert more == pytest.approx(10 * alike.item())


def test_classification_is_the_mean_cross_entropy_over_the_known_targets():
    objective = ClassificationObjective(NetworkDescription("CLS", 1, 5), classes=(2, 3))
    logits = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    expected = functional.cross_entropy(logits[:1, :2], torch.tensor([1]))
    assert torch.isclose(objective.loss(logits, torch.tensor([[1, -1], [-1, -1]])), expected)
    soft = torch.tensor([[0, 1, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.float32)
    assert torch.isclose(objective.loss(logits, soft), expected)
    assert objective.loss(logits, torch.full((2, 2), -1)) == 0
