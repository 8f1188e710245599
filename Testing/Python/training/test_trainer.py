"""The training loop: it learns, resumes where it stopped as if nothing had happened, and averages weights."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.utils.data import DataLoader

from helpers.forked import run_in_fork
from helpers.full_disk import largest_file, silent_loss  # noqa: F401
from helpers.training_cubes import Cubes
from NNMambaLib.errors import BackendError, OutputError, TrainingError
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.training.configuration import Configuration
from NNMambaLib.training.loop.averaging import recalibrate_batch_norm
from NNMambaLib.training.loop.optimization import learning_rate
from NNMambaLib.training.loop.settings import TrainingSettings
from NNMambaLib.training.loop.trainer import Trainer
from NNMambaLib.training.objectives.classification import ClassificationObjective
from NNMambaLib.training.objectives.landmarks import LandmarksObjective
from NNMambaLib.training.objectives.segmentation import SegmentationObjective
from NNMambaLib.training.train_folder import train_folder

pytest.importorskip("monai", reason="the extra train is not installed")

SETTINGS = TrainingSettings(
    steps=4, warm_up_steps=1, checkpoint_every=2, validate_every=2, learning_rate=1e-2, workers=0
)
OBJECTIVES = {
    "segmentation": SegmentationObjective(NetworkDescription("SEG-CSS", 1, 2, 2)),
    "landmarks": LandmarksObjective(NetworkDescription("SEG-CSS", 1, 2, 2), sigma=2.0),
    "classification": ClassificationObjective(NetworkDescription("CLS", 1, 2, 8), classes=(2,)),
}


def make_trainer(task="segmentation", **changes):
    return Trainer(OBJECTIVES[task], replace(SETTINGS, **changes), device="cpu", backend="torch")


def train(trainer, checkpoint, report=lambda point: None, task="segmentation", **more):
    trainer.run(partial(Cubes, task=task), checkpoint, report, **more)
    return trainer


@pytest.mark.parametrize("task", OBJECTIVES)
def test_training_lowers_the_loss(task, tmp_path):
    # Among eight there are both kinds of cubes: normalised by a batch of one kind, they would all look alike.
    trainer = train(make_trainer(task, steps=16, batch_size=8), tmp_path / "checkpoint.pt", task=task)
    losses = [point.loss for point in trainer.history]
    assert [point.step for point in trainer.history] == list(range(2, 17, 2))
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])


@pytest.mark.parametrize("task", OBJECTIVES)
def test_a_run_that_was_killed_and_resumed_ends_as_one_that_was_not(task, tmp_path):
    """To the last bit: the curve and the weights. The classifier has dropout."""

    def stop_in_the_middle(step):
        if step == 3:
            raise KeyboardInterrupt

    whole = train(make_trainer(task), tmp_path / "whole.pt", task=task)
    with pytest.raises(KeyboardInterrupt):
        train(make_trainer(task), tmp_path / "parts.pt", task=task, after_step=stop_in_the_middle)
    torch.rand(7)  # whatever else uses random numbers
    resumed = Trainer.resume(OBJECTIVES[task], tmp_path / "parts.pt", device="cpu", backend="torch")
    assert resumed.step == 2
    train(resumed, tmp_path / "parts.pt", task=task)
    assert resumed.history == whole.history
    for ours, theirs in ((whole.network, resumed.network), (whole.averaged, resumed.averaged)):
        for name, value in ours.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[name]), name


@pytest.mark.parametrize("change", [{"optimizer": "sgd", "schedule": "poly"}, {"precision": "bfloat16"}])
def test_other_settings_train_and_resume_too(change, tmp_path):
    whole = train(make_trainer(**change), tmp_path / "whole.pt")
    half = make_trainer(**change)
    with pytest.raises(KeyboardInterrupt):
        train(half, tmp_path / "parts.pt", report=lambda point: (_ for _ in ()).throw(KeyboardInterrupt))
    resumed = Trainer.resume(OBJECTIVES["segmentation"], tmp_path / "parts.pt", device="cpu", backend="torch")
    assert train(resumed, tmp_path / "parts.pt").history == whole.history


def test_gradients_in_half_precision_are_those_of_the_data():
    """torch's own, of maps with two planes, come and go with what was in memory before."""
    network = make_trainer(precision="bfloat16").network
    volume, labels = (part[None].repeat_interleave(2, 0) for part in Cubes(0, 1, size=32)[0])
    found = []
    for _ in range(4):
        dirt = [torch.full((size,), float("nan")) for size in (64, 512, 4096, 16384, 65536)]
        del dirt
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            outputs = network(volume)
        OBJECTIVES["segmentation"].loss([output.float() for output in outputs], labels).backward()
        found.append(torch.cat([parameter.grad.flatten() for parameter in network.parameters()]))
    assert all(torch.equal(gradient, found[0]) for gradient in found)
    assert found[0].isfinite().all()


def test_the_learning_rate_warms_up_and_falls_to_zero():
    settings = TrainingSettings(steps=100, warm_up_steps=10, learning_rate=1.0)
    for schedule in ("cosine", "poly"):
        rates = [learning_rate(step, replace(settings, schedule=schedule)) for step in range(101)]
        assert (rates[0], rates[10], rates[100]) == pytest.approx((0.1, 1.0, 0.0))
        assert rates[10:] == sorted(rates[10:], reverse=True)


def test_a_resumed_run_can_be_given_another_end(tmp_path):
    make_trainer().save(tmp_path / "checkpoint.pt")
    resumed = Trainer.resume(OBJECTIVES["segmentation"], tmp_path / "checkpoint.pt", steps=9, device="cpu")
    assert resumed.settings == replace(SETTINGS, steps=9)


def test_validation_sees_the_network_that_will_be_packaged(tmp_path):
    seen = []

    def validate(network):
        seen.append(network(torch.zeros(1, 1, 16, 16, 16)).shape)
        return {"dice": float(len(seen))}

    trainer = train(make_trainer(validate_every=4), tmp_path / "checkpoint.pt", validate=validate)
    assert seen == [(1, 2, 16, 16, 16)]
    assert [point.metrics for point in trainer.history] == [{}, {"dice": 1.0}]


def test_the_leak_falls_to_zero_and_stays_out_of_the_result():
    objective = replace(OBJECTIVES["segmentation"], leak=0.2, leak_until=0.5)
    network = objective.build_network()
    slopes = []
    for done in (0, 0.25, 0.5, 1):
        objective.prepare_step(network, done)
        slopes.append(network.conv8.conv[-1].negative_slope)
    assert slopes == pytest.approx([0.2, 0.1, 0.0, 0.0])
    assert make_trainer().result()(torch.randn(1, 1, 16, 16, 16)).min() >= 0


def test_shared_layers_stay_shared_in_the_averaged_network(tmp_path):
    stage = train(make_trainer(), tmp_path / "checkpoint.pt").averaged.layer1
    assert stage[1].mamba_layer is stage[2].mamba_layer


def test_the_result_is_the_averaged_network_without_heads(tmp_path):
    trainer = train(make_trainer(), tmp_path / "checkpoint.pt")
    result, volume = trainer.result(), torch.randn(1, 1, 16, 16, 16)
    assert not any("cls_conv" in name for name in result.state_dict())
    trainer.objective.prepare_step(trainer.averaged, 1.0)
    assert torch.allclose(result(volume), trainer.averaged.eval()(volume), atol=1e-5)


def test_recalibration_takes_the_statistics_of_the_data():
    network = make_trainer().network
    recalibrate_batch_norm(network, DataLoader(Cubes(0, 6), batch_size=2))
    norm = network.in_conv.conv[1]
    assert norm.num_batches_tracked == 3
    assert norm.momentum is not None
    assert not network.training


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_named(content, tmp_path):
    path = tmp_path / "checkpoint.pt"
    if content is None:
        torch.save({"step": 1}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"checkpoint\.pt .*: remove it to train from the start\.$"):
        Trainer.resume(OBJECTIVES["segmentation"], path, device="cpu")


def test_a_checkpoint_on_a_full_disk_leaves_the_earlier_one(tmp_path, silent_loss):  # noqa: F811
    trainer, path = make_trainer(), tmp_path / "checkpoint.pt"
    trainer.save(path)
    trainer.step = 3
    with largest_file(1000), pytest.raises(OutputError, match=r"checkpoint\.pt cannot be written .*: check space"):
        trainer.save(path)
    silent_loss(0.9)
    with pytest.raises(OutputError, match=r"checkpoint\.pt cannot be written \(a part is missing\): check space"):
        trainer.save(path)
    assert Trainer.resume(OBJECTIVES["segmentation"], path, device="cpu").step == 0
    assert list(tmp_path.iterdir()) == [path]


def test_a_training_after_a_fork_is_refused(tmp_path):
    trainer = train(make_trainer(steps=2), tmp_path / "checkpoint.pt")

    def use():
        configuration = Configuration()
        for way in (
            make_trainer,
            lambda: train(trainer, tmp_path / "checkpoint.pt"),
            lambda: train_folder("segmentation", tmp_path, tmp_path / "run", configuration),
        ):
            with pytest.raises(BackendError, match="start processes with spawn"):
                way()

    run_in_fork(use)


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path):
    trainer = make_trainer()
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="The loss of step 1 is nan: lower learning_rate"):
        train(trainer, tmp_path / "checkpoint.pt")


def test_half_precision_is_for_cuda():
    with pytest.raises(TrainingError, match="precision is float16 and the device is cpu: choose bfloat16 or float32"):
        make_trainer(precision="float16")
