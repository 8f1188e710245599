"""The training loop: it learns, resumes where it stopped, and averages weights."""

from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from NNMambaLib.networks.mamba import Mamba
from NNMambaLib.training.losses import deeply_supervised, dice_cross_entropy, membership, soft_dice_loss
from NNMambaLib.training.segmentation import (
    SegmentationTrainer,
    TrainingSettings,
    leak,
    learning_rate,
    recalibrate_batch_norm,
)

SETTINGS = TrainingSettings(
    out_channels=2, base_width=2, steps=4, warm_up_steps=1, checkpoint_every=2, learning_rate=1e-2, workers=0
)


@pytest.fixture(autouse=True)
def _without_compilation(monkeypatch):
    """Compiling the numba kernels takes longer than all the training here."""
    monkeypatch.setattr(Mamba, "scan_backend", property(lambda self: "torch", lambda self, value: None), raising=False)


class Cubes(Dataset):
    """A bright cube at a place that the sample's number decides; its label is the cube."""

    def __init__(self, first: int, length: int):
        self._first, self._length = first, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if index >= self._length:
            raise IndexError(index)
        labels = torch.zeros(32, 32, 32, dtype=torch.int64)
        corner = (self._first + index) % 16
        labels[corner : corner + 16, 8:24, 8:24] = 1
        return labels.float()[None] + 0.01, labels


@pytest.fixture
def reference() -> torch.Tensor:
    labels = torch.randint(0, 3, (1, 4, 4, 4), generator=torch.Generator().manual_seed(0))
    return membership(labels, 3).repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)


def test_loss_is_smallest_for_the_right_answer(reference):
    right = reference * 20
    assert soft_dice_loss(right, reference) < 0.01
    assert dice_cross_entropy(right.roll(1, 1), reference) > 1


def test_deep_supervision_halves_the_weight_and_drops_the_coarsest(reference):
    right, half = reference * 20, torch.nn.functional.avg_pool3d(reference, 2) * 20
    coarsest = torch.full((1, 3, 2, 2, 2), torch.nan)
    wrong = half.roll(1, 1)
    assert deeply_supervised([right, half, coarsest], reference) < 0.01
    expected = (dice_cross_entropy(right, reference) + 0.5 * dice_cross_entropy(wrong, half / 20)) / 1.5
    assert torch.isclose(deeply_supervised([right, wrong, coarsest], reference), expected)
    assert torch.isclose(deeply_supervised([right], reference), dice_cross_entropy(right, reference))


def test_learning_rate_warms_up_and_falls_to_zero():
    settings = TrainingSettings(steps=100, warm_up_steps=10, learning_rate=1.0)
    rates = [learning_rate(step, settings) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10] == pytest.approx(1.0)
    assert rates[100] == pytest.approx(0.0)


def test_resumed_run_can_be_given_another_end(tmp_path):
    SegmentationTrainer(SETTINGS).save(tmp_path / "checkpoint.pt")
    assert SegmentationTrainer.resume(tmp_path / "checkpoint.pt").settings == SETTINGS
    assert SegmentationTrainer.resume(tmp_path / "checkpoint.pt", steps=9).settings == replace(SETTINGS, steps=9)


def test_leak_falls_to_zero_and_stays_out_of_the_averaged_network():
    settings = replace(SETTINGS, steps=100, leak=0.2, leak_until=0.5)
    assert [leak(step, settings) for step in (0, 25, 50, 100)] == pytest.approx([0.2, 0.1, 0.0, 0.0])
    trainer = SegmentationTrainer(settings)
    trainer.averaged.eval()
    assert trainer.averaged(torch.randn(1, 1, 16, 16, 16)).min() >= 0


def test_training_lowers_the_loss(tmp_path):
    reports = []
    trainer = SegmentationTrainer(replace(SETTINGS, steps=40))
    trainer.run(Cubes, tmp_path / "checkpoint.pt", reports.append)
    assert [report.step for report in reports] == list(range(2, 41, 2))
    assert reports[-1].loss < 0.7 * reports[0].loss


def test_resumed_run_equals_an_uninterrupted_one(tmp_path):
    whole = SegmentationTrainer(SETTINGS)
    whole.run(Cubes, tmp_path / "whole.pt", lambda progress: None)

    def stop_at_two(progress):
        if progress.step == 2:
            raise KeyboardInterrupt

    interrupted = SegmentationTrainer(SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        interrupted.run(Cubes, tmp_path / "parts.pt", stop_at_two)
    resumed = SegmentationTrainer.resume(tmp_path / "parts.pt")
    assert resumed.step == 2
    resumed.run(Cubes, tmp_path / "parts.pt", lambda progress: None)
    for name, value in whole.averaged.state_dict().items():
        assert torch.allclose(value, resumed.averaged.state_dict()[name], atol=1e-5), name


def test_shared_layers_stay_shared_in_the_averaged_network(tmp_path):
    trainer = SegmentationTrainer(SETTINGS)
    trainer.run(Cubes, tmp_path / "checkpoint.pt", lambda progress: None)
    stage = trainer.averaged.layer1
    assert stage[1].mamba_layer is stage[2].mamba_layer


def test_result_is_the_averaged_network_without_heads(tmp_path):
    trainer = SegmentationTrainer(SETTINGS)
    trainer.run(Cubes, tmp_path / "checkpoint.pt", lambda progress: None)
    result, volume = trainer.result(), torch.randn(1, 1, 16, 16, 16)
    assert not any("cls_conv" in name for name in result.state_dict())
    assert torch.allclose(result(volume), trainer.averaged.eval()(volume), atol=1e-5)


def test_recalibration_takes_the_statistics_of_the_data():
    trainer = SegmentationTrainer(SETTINGS)
    recalibrate_batch_norm(trainer.network, DataLoader(Cubes(0, 3)))
    norm = trainer.network.in_conv.conv[1]
    assert norm.num_batches_tracked == 3
    assert norm.momentum is not None
    assert not trainer.network.training
