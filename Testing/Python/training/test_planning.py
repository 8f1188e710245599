"""The plan of a training: what the cases are like, what will be done with them, and what it will take."""

import json

import numpy as np
import pytest
import torch

from helpers.training_folders import write_classes_folder, write_configuration, write_segmentation_folder
from NNMambaLib.cli import main
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.networks.variants import VARIANTS
from NNMambaLib.training.configuration import ResolvedConfiguration
from NNMambaLib.training.data.structures import measure_structures, thickness_mm
from NNMambaLib.training.memory import step_bytes
from NNMambaLib.training.objectives.classification import ClassificationObjective
from NNMambaLib.training.objectives.segmentation import SegmentationObjective
from NNMambaLib.volumes.volume import Grid

pytest.importorskip("monai", reason="the extra train is not installed")
pytest.importorskip("matplotlib", reason="the extra train is not installed")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return {
        "segmentation": write_segmentation_folder(folder / "segmentation"),
        "classification": write_classes_folder(folder / "classification"),
    }


def plan(task, data, tmp_path, *more, **changes):
    config = write_configuration(tmp_path / "settings.json", base_width=1, **changes)
    report = tmp_path / "plan.json"
    files = ["--data", str(data[task]), "--config", str(config), "--json", str(report)]
    assert main(["train", task, *files, "--plan-only", "--device", "cpu", "--backend", "torch", *more]) == 0
    return json.loads(report.read_text(encoding="utf-8"))["plan"]


def test_a_plan_tells_data_network_and_needs_and_writes_nothing_else(data, tmp_path, capsys):
    before = sorted(data["segmentation"].rglob("*"))
    found = plan("segmentation", data, tmp_path)
    assert sorted(data["segmentation"].rglob("*")) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan.json", "settings.json"]
    # Of the phantoms' grids, in the model's orientation.
    assert found["fingerprint"]["sizes"][0] == [30, 31, 33]
    assert found["fingerprint"]["spacings"][0] == pytest.approx([3, 3.2, 3.3])
    assert [(entry["name"], entry["cases"]) for entry in found["fingerprint"]["learnt"]] == [("body", 3), ("lesion", 3)]
    assert found["configuration"]["variant"] == "SEG-CSS"
    assert len(found["split"]["training"]) == 2
    assert found["seconds_a_step"] > 0
    assert 0 < found["step_bytes"] < found["free_bytes"]
    said = capsys.readouterr().out
    for words in (
        "plan: segmentation",
        "3: 2 for training, 1 for validation",
        "intensities of T2",
        "labels: lesion",
        "SEG-CSS, base_width 1,",
        "3.5 x 3.5 x 3.5 mm",
        "32x32x32 voxels, batch_size 2",
        "4 steps, adamw, learning_rate 0.001, float32 on cpu",
        "s a step, without validation)",
    ):
        assert words in said


def test_classes_are_counted(data, tmp_path, capsys):
    found = plan("classification", data, tmp_path)
    cases = {entry["name"]: entry["cases"] for entry in found["fingerprint"]["learnt"]}
    assert cases == {"bright": 2, "dark": 3, "large": 2, "small": 2}
    assert "classes in the column size: small in 2 of 5 cases" in " ".join(capsys.readouterr().out.split())


def test_structures_thinner_than_two_voxels_are_warned_of(data, tmp_path, capsys):
    assert not plan("segmentation", data, tmp_path)["warnings"]
    found = plan("segmentation", data, tmp_path, "--overwrite-report", spacing=[20, 20, 20])
    assert [warning.split(" voxels thick at the spacing of 20 x 20 x 20 mm")[0] for warning in found["warnings"]] == [
        "body is 0.6",
        "lesion is 0.7",
    ]
    assert "Note: lesion is 0.7 voxels thick" in capsys.readouterr().err


def test_a_training_of_days_is_warned_of(data, tmp_path, capsys):
    found = plan("classification", data, tmp_path, steps=10**9, checkpoint_every=1, validate_every=1)
    assert found["warnings"][-1].startswith("the training takes more than a day here: the defaults are for a GPU")
    assert "days" in capsys.readouterr().out


def test_a_training_says_its_plan_before_it_prepares_data(data, tmp_path, capsys):
    config = write_configuration(tmp_path / "s.json", base_width=1, steps=1, checkpoint_every=1, validate_every=1)
    files = ["--data", str(data["classification"]), "--output", str(tmp_path / "run"), "--config", str(config)]
    assert main(["train", "classification", *files, "--device", "cpu", "--backend", "torch"]) == 0
    assert capsys.readouterr().out.startswith("plan: classification")


def test_a_training_needs_a_folder(data, tmp_path, capsys):
    assert main(["train", "classification", "--data", str(data["classification"])]) == 1
    assert capsys.readouterr().err == (
        "nnmamba: There is no folder for the training: give one by --output, or ask for --plan-only.\n"
    )


@pytest.mark.parametrize("voxels", [1, 2, 3, 6])
def test_a_sheet_is_as_thick_as_it_was_made(voxels):
    mask = np.zeros((20, 24, 28), bool)
    mask[4 : 4 + voxels] = True
    assert thickness_mm(mask, (2.0, 2.0, 2.0)) == pytest.approx(2 * voxels, abs=1)


def test_a_ball_is_as_thick_as_its_diameter_and_small_structures_do_not_hide_behind_large_ones():
    z, y, x = np.mgrid[:40, :40, :40]
    labels = (np.hypot(np.hypot(z - 20, y - 20), x - 20) <= 8).astype(np.uint8)
    labels[2:38, 2:38, 2] = 2
    found = measure_structures(labels, ("ball", "sheet", "nothing"), Grid(labels.shape, np.eye(4)), thickness=True)
    assert [(entry.name, round(entry.thickness)) for entry in found] == [("ball", 16), ("sheet", 2)]
    assert [entry.ml for entry in found] == pytest.approx([(labels == value).sum() / 1000 for value in (1, 2)])


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_the_memory_of_a_step_is_what_autograd_keeps(variant):
    outputs, width, patch, batch = 4, 6, (32, 32, 32), 2
    network = NetworkDescription(variant, 1, outputs, width)
    objective = (
        ClassificationObjective(network, (outputs,)) if network.is_classifier else SegmentationObjective(network)
    )
    x, kept = torch.randn(batch, 1, *patch), {}
    target = torch.zeros((batch, 1) if network.is_classifier else (batch, *patch), dtype=torch.int64)
    model = objective.build_network().train()
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = objective.loss(model(x), target)
    assert loss.isfinite()
    settings = {"variant": variant, "patch": patch, "spacing": (1, 1, 1), "batch_size": batch, "base_width": width}
    copies = 5 * 4 * sum(value.numel() for value in objective_weights(network))
    estimate = step_bytes(ResolvedConfiguration(**settings), network) - copies
    assert 0.75 * sum(kept.values()) < estimate < 1.02 * sum(kept.values())


def objective_weights(network):
    from NNMambaLib.networks.variants import build

    return build(network).state_dict().values()
