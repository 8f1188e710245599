"""Result folders of both nnU-Nets are imported with their pipeline, or refused by the step that is not ours."""

import pickle

import numpy as np
import pytest
import torch

from helpers import nnunet_reference as reference
from helpers.nnunet_folders import (
    changed,
    dataset_json,
    v1_plans,
    v2_plans,
    write_v1_folder,
    write_v2_folder,
)
from helpers.perturbed_networks import random_network
from NNMambaLib import cli
from NNMambaLib.engine import Engine
from NNMambaLib.models.catalogue import find_package
from NNMambaLib.volumes.volume import Volume

_SPACING = (1.0, 1.4, 4.5)


def given(version, **changes):
    usual = {
        "version": version,
        "spacing": (3.0, 1.1, 1.2),
        "patch": (16, 16, 16),
        "schemes": ("z-score", "CT"),
        "use_mask": (True, False),
        "transpose": (2, 0, 1),
    }
    return reference.Plans(**{**usual, **changes})


@pytest.fixture(scope="module")
def networks():
    """Three networks whose outputs vary as much as one another."""
    found = []
    for seed in range(3):
        network = random_network("SEG-NNU", 2, 4, base_width=2, seed=seed)
        last = network.conv8.conv[4]
        torch.nn.init.ones_(last.weight)
        torch.nn.init.ones_(last.bias)
        last.momentum = 1.0
        last.train()
        with torch.no_grad():
            network(torch.randn(1, 2, 32, 32, 32))
        found.append(network.eval())
    return found


@pytest.fixture(scope="module")
def engine():
    return Engine(device="cpu", backend="torch")


def run_import(folder, *options):
    return cli.main(["models", "import", str(folder), "--name", "imported", *options])


def case():
    """Return random intensities in a box of zeros."""
    array = np.zeros((2, 18, 22, 20), np.float32)
    array[:, 2:16, 3:20, 1:17] = np.random.default_rng(0).normal(20, 40, (2, 14, 17, 16))
    return array


def volume(array):
    matrix = np.diag([*_SPACING[::-1], 1.0])
    return Volume(array, matrix)


class Several:
    """What an ensemble answers: the mean of logits, or the logarithm of the mean of probabilities."""

    def __init__(self, networks, version):
        self.networks, self.version = networks, version

    def __call__(self, x):
        outputs = [network(x) for network in self.networks]
        if self.version == 2:
            return torch.stack(outputs).mean(0)
        return torch.stack([torch.softmax(y, 1) for y in outputs]).mean(0).log()


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize("version", [1, 2])
def test_a_folder_answers_as_nnunet_does(tmp_path, engine, networks, version, folds):
    plans = given(version)
    write = write_v1_folder if version == 1 else write_v2_folder
    assert run_import(write(tmp_path / "results", networks[:folds], plans)) == 0
    array = case()
    labels, probabilities = reference.segmented(Several(networks[:folds], version), array, _SPACING, plans, True)
    package = find_package("imported")
    assert package.manifest.network.members == folds
    result = engine.segment(volume(array), package, mirror=True, probabilities=True, pad_small=True)
    np.testing.assert_allclose(result.probabilities.array, probabilities, atol=1e-3)
    assert (result.labels.array[0] == labels).mean() > 0.9999
    assert np.count_nonzero(np.bincount(labels.ravel(), minlength=4) > 10) > 2


def test_the_base_trainer_averages_outputs_as_they_are(tmp_path, networks):
    assert run_import(write_v1_folder(tmp_path / "results", networks, given(1), trainer="nnUNetTrainer")) == 0
    manifest = find_package("imported").manifest
    assert (manifest.input.averages, manifest.network.members_average) == ("logits", "logits")


def test_names_and_mirrored_axes_are_taken(tmp_path, networks):
    folder = write_v2_folder(tmp_path / "results", networks[:1], given(2), mirror_axes=(0, 2))
    assert run_import(folder) == 0
    manifest = find_package("imported").manifest
    assert [label.name for label in manifest.labels] == ["organ 1", "organ 2", "organ 3"]
    assert [channel.name for channel in manifest.input.channels] == ["sequence 0", "sequence 1"]
    assert manifest.input.mirror_axes == ("z", "x")
    assert manifest.input.axis_order == ("y", "z", "x")
    assert (manifest.input.spacing, manifest.input.patch) == ((1.2, 1.1, 3.0), (16, 16, 16))


def test_labels_of_version_1_are_named_by_a_file(tmp_path, networks):
    folder = write_v1_folder(tmp_path / "results", networks[:1], given(1))
    (tmp_path / "names.txt").write_text("liver\nspleen\nkidney\n")
    assert run_import(folder, "--labels", str(tmp_path / "names.txt")) == 0
    assert [label.name for label in find_package("imported").manifest.labels] == ["liver", "spleen", "kidney"]


def test_one_fold_alone_can_be_taken(tmp_path, networks):
    folder = write_v2_folder(tmp_path / "results", networks, given(2))
    assert run_import(folder, "--fold", "1") == 0
    package = find_package("imported")
    assert package.manifest.network.members == 1
    assert torch.equal(package.load().state_dict()["conv8.conv.3.weight"], networks[1].conv8.conv[3].weight)


def test_the_best_checkpoint_is_taken_where_there_is_no_final_one(tmp_path, networks, capsys):
    folder = write_v2_folder(tmp_path / "results", networks[:1], given(2))
    (folder / "fold_0" / "checkpoint_final.pth").rename(folder / "fold_0" / "checkpoint_best.pth")
    assert run_import(folder) == 0
    assert "checkpoint_best.pth" in capsys.readouterr().out.replace("\n", "")


_BASE = "configurations__3d_base__"
_DATA = f"{_BASE}resampling_fn_data_kwargs__"

V2_REFUSED = {
    "patch": ({"configurations__3d_fullres__patch_size": [24, 16, 16]}, "a patch of 24x16x16, no multiples of 16"),
    "2d": ({"configurations__3d_fullres__patch_size": [64, 64]}, "has no 3 numbers under 'patch_size'"),
    "normalization": ({f"{_BASE}normalization_schemes": ["Own", "CTNormalization"]}, "the normalization 'Own'"),
    "resampling": ({f"{_BASE}resampling_fn_data": "resample_torch"}, "resampling_fn_data resample_torch"),
    "order": ({f"{_DATA}order": 1}, "resampling_fn_data with order 1"),
    "one way": ({f"{_DATA}force_separate_z": True}, "planes that are resampled by themselves on one way only"),
    "option": ({f"{_DATA}memefficient": True}, "resampling_fn_data with memefficient True"),
    "preprocessor": ({f"{_BASE}preprocessor_name": "Mine"}, "the preprocessor Mine"),
    "cascade": ({"configurations__3d_fullres__previous_stage": "3d_lowres"}, "a cascade"),
    "endless": ({f"{_BASE}inherits_from": "3d_fullres"}, "inherit from one another without end"),
    "transposition": ({"transpose_forward": [0, 0, 1]}, "has no order of three axes under 'transpose_forward'"),
    "text": ({f"{_BASE}spacing": "1.0"}, "has no 3 numbers under 'spacing'"),
    "missing": ({"transpose_forward": None}, "lacks 'transpose_forward'"),
    "no configuration": ({"configurations__3d_fullres": None}, "lacks '3d_fullres'"),
    "huge": ({f"{_BASE}spacing": [1e9, 1, 1]}, "input.spacing"),
}


@pytest.mark.parametrize("name", V2_REFUSED)
def test_steps_of_version_2_that_are_not_ours_are_refused_by_name(tmp_path, networks, capsys, name):
    changes, sentence = V2_REFUSED[name]
    folder = write_v2_folder(tmp_path / "results", networks[:1], given(2), changed(v2_plans(given(2)), **changes))
    assert run_import(folder) == 1
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("dataset", "sentence"),
    [
        ({"labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "x": 3}}, "regions"),
        ({"regions_class_order": [1, 2, 3]}, "regions"),
        ({"labels": {"background": 0, "liver": 1, "kidney": 3}}, "does not number labels 1, 2, 3"),
        ({"labels": {"background": 0, "liver": 1}}, "says 2 channels and 1 labels, and its weights take 2 and give 4"),
        ({"channel_names": {"0": "MR"}}, "does not normalize the 1 channels"),
        ({"channel_names": {"0": "a", "1": 7}}, "has no text under '1'"),
    ],
)
def test_data_sets_that_are_not_ours_are_refused(tmp_path, networks, capsys, dataset, sentence):
    folder = write_v2_folder(tmp_path / "results", networks[:1], given(2), dataset={**dataset_json(), **dataset})
    assert run_import(folder) == 1
    assert sentence in capsys.readouterr().err


V1_REFUSED = {
    "2d": (
        {"plans_per_stage": {0: {"patch_size": np.array([64, 64]), "current_spacing": np.array([1.0, 1.0])}}},
        "no 3 numbers",
    ),
    "normalization": ({"normalization_schemes": {0: "CT2", 1: "CT"}}, "the normalization CT2"),
    "preprocessor": ({"preprocessor_name": "PreprocessorFor3D_NoResampling"}, "PreprocessorFor3D_NoResampling"),
    "export": (
        {"segmentation_export_params": {"force_separate_z": False, "interpolation_order": 1}},
        "force_separate_z False",
    ),
    "channels": ({"num_modalities": 10**9}, "has 1000000000 channels"),
    "labels": ({"num_classes": 10**9}, "has 1000000000 labels"),
    "stages": ({"plans_per_stage": {}}, "has no stages"),
    "text": ({"transpose_forward": "012"}, "no 3 numbers under 'transpose_forward'"),
    "list": ({"plans_per_stage": [1]}, "should be a dictionary and is a list"),
}


@pytest.mark.parametrize("name", V1_REFUSED)
def test_steps_of_version_1_that_are_not_ours_are_refused_by_name(tmp_path, networks, capsys, name):
    changes, sentence = V1_REFUSED[name]
    folder = write_v1_folder(tmp_path / "results", networks[:1], given(1), {**v1_plans(given(1)), **changes})
    assert run_import(folder) == 1
    assert sentence in capsys.readouterr().err


def test_postprocessing_is_left_out_only_where_that_is_asked_for(tmp_path, networks, capsys):
    steps = {"for_which_classes": [1, [2, 3]], "min_valid_object_sizes": "{1: 5.0}"}
    folder = write_v1_folder(tmp_path / "results", networks[:1], given(1), postprocessing=steps)
    assert run_import(folder) == 1
    assert "the largest component of labels alone (--without postprocessing)" in capsys.readouterr().err
    assert run_import(folder, "--without", "postprocessing") == 0
    assert "postprocessing.json is left out" in capsys.readouterr().out.replace("\n", " ")


def test_postprocessing_that_does_nothing_is_no_obstacle(tmp_path, networks):
    steps = {"for_which_classes": [], "min_valid_object_sizes": "{}"}
    assert run_import(write_v1_folder(tmp_path / "r", networks[:1], given(1), postprocessing=steps)) == 0


@pytest.mark.parametrize("trainer", ["nnUNetTrainerV2BraTSRegions_mamba"])
def test_regions_of_version_1_are_refused(tmp_path, networks, capsys, trainer):
    assert run_import(write_v1_folder(tmp_path / "r", networks[:1], given(1), trainer=trainer)) == 1
    assert "regions (trainer nnUNetTrainerV2BraTSRegions_mamba)" in capsys.readouterr().err


def test_a_cascade_of_version_1_is_refused(tmp_path, networks, capsys):
    folder = write_v1_folder(tmp_path / "3d_cascade_fullres" / "Task001" / "Trainer__plans", networks[:1], given(1))
    assert run_import(folder) == 1
    assert "a cascade" in capsys.readouterr().err


def test_folders_without_plans_or_checkpoints_are_refused(tmp_path, networks, capsys):
    (tmp_path / "empty").mkdir()
    assert run_import(tmp_path / "empty") == 1
    assert "holds neither plans.json nor plans.pkl" in capsys.readouterr().err
    folder = write_v2_folder(tmp_path / "results", networks[:1], given(2))
    (folder / "fold_0" / "checkpoint_final.pth").unlink()
    assert run_import(folder) == 1
    assert "holds no checkpoint such as fold_0/checkpoint_final.pth" in capsys.readouterr().err
    assert run_import(folder, "--fold", "3") == 1
    assert "holds no checkpoint of fold 3" in capsys.readouterr().err


def test_folds_of_different_networks_are_refused(tmp_path, networks, capsys):
    folder = write_v2_folder(tmp_path / "results", [networks[0], random_network("SEG-CSS", 2, 4, 2)], given(2))
    assert run_import(folder) == 1
    assert "is of another network (SEG-CSS)" in capsys.readouterr().err


def test_a_folder_takes_no_settings_of_its_own(tmp_path, networks, capsys):
    folder = write_v2_folder(tmp_path / "results", networks[:1], given(2))
    assert run_import(folder, "--preset", "brats") == 1
    assert "says itself how its model is run" in capsys.readouterr().err


def test_plans_that_would_run_code_are_refused(tmp_path, networks, capsys):
    folder = write_v1_folder(tmp_path / "results", networks[:1], given(1))
    (folder / "plans.pkl").write_bytes(pickle.dumps({"plans_per_stage": print}, 4))
    assert run_import(folder) == 1
    assert "asks for builtins.print" in capsys.readouterr().err


@pytest.mark.parametrize("write", [write_v1_folder, write_v2_folder])
def test_commands_that_take_packages_point_from_a_folder_to_its_import(tmp_path, networks, capsys, write):
    folder = write(tmp_path / "results", networks[:1], given(1))
    assert cli.main(["models", "install", str(folder)]) == 1
    assert f"`nnmamba models import {folder}`" in capsys.readouterr().err
