"""``nnmamba models import``: every variant in every form in which people hold weights, and every refusal."""

import json
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from helpers.perturbed_networks import build_network, random_network
from NNMambaLib import cli
from NNMambaLib.engine import Engine
from NNMambaLib.models.catalogue import find_package
from NNMambaLib.models.manifest import Normalization
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.networks.variants import VARIANTS, build
from NNMambaLib.volumes.volume import Volume

_WIDTH, _INPUTS, _OUTPUTS = 2, 2, 3
_ANSWERS = ["--spacing", "1", "1", "1", "--normalization", "z-score"]


def weights(variant="SEG-NNU", **sizes):
    """Return random weights of a narrow network."""
    torch.manual_seed(0)
    return build_network(
        variant, **{"in_channels": _INPUTS, "out_channels": _OUTPUTS, "base_width": _WIDTH, **sizes}
    ).state_dict()


def answers(variant):
    """Return what a user says of a variant's weights."""
    if "CLS" in variant:
        return [*_ANSWERS, "--patch", "16", "16", "16"]
    return [*_ANSWERS, "--task", "segmentation"] if variant in ("SEG-CSS", "SEG-CSS-FULL") else _ANSWERS


def run_import(path, *options):
    return cli.main(["models", "import", str(path), "--name", "imported", *options])


def refusal(capsys, path, *options):
    assert run_import(path, *options) == 1
    return capsys.readouterr().err


def assert_same_weights(network, expected):
    found = network.state_dict()
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(found[key], value.float()), key


# --- forms ---------------------------------------------------------------------------------------------------------


def prefixed(*prefixes):
    return lambda state: {"".join(prefixes) + key: value for key, value in state.items()}


def without(part):
    return lambda state: {key: value for key, value in state.items() if part not in key}


def unequal_precision(state):
    """One copy of each shared layer in half precision; both have the same numbers."""
    state = {key: value.half().float() if "mamba_layer" in key else value for key, value in state.items()}
    return {key: value.half() if ".2.mamba_layer" in key else value for key, value in state.items()}


def numbers(state, change):
    return {key: change(value) if value.is_floating_point() else value for key, value in state.items()}


def untied(state):
    """Both copies of shared layers, with memory of their own."""
    return {key: value.clone() for key, value in state.items()}


FORMS = {
    "bare": lambda state: state,
    "with epoch": lambda state: {"epoch": 3, "state_dict": state, "loss": np.float64(0.5)},
    "network_weights": lambda state: {"network_weights": state, "_best_ema": np.float32(1), "init_args": {"fold": 0}},
    "model": lambda state: {"model": state, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
    "net": lambda state: {"net": state, "epoch": 3},
    "two levels": lambda state: {"model": {"state_dict": state}, "epoch": 1},
    "module.": prefixed("module."),
    "module.module.": prefixed("module.", "module."),
    "_orig_mod.": prefixed("_orig_mod."),
    "module._orig_mod.": prefixed("module.", "_orig_mod."),
    "model.": prefixed("model."),
    "net.": prefixed("net."),
    "without counts": without("num_batches_tracked"),
    "first of shared layers": without(".2.mamba_layer."),
    "second of shared layers": without(".1.mamba_layer."),
    "untied": untied,
    "unequal precision": unequal_precision,
    "double": lambda state: {
        key: value.double() if value.is_floating_point() else value for key, value in state.items()
    },
    "parameters": lambda state: {
        key: torch.nn.Parameter(value) if value.is_floating_point() else value for key, value in state.items()
    },
}


def save(content, path):
    if path.suffix == ".safetensors":
        save_file({key: value.clone().contiguous() for key, value in content.items()}, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=path.suffix != ".old")


@pytest.mark.parametrize(
    ("variant", "name"),
    [
        *((variant, "best.pth") for variant in VARIANTS),
        *(("SEG-CSS", name) for name in ("best.pt", "final.model", "weights.safetensors")),
        ("CLS", "weights.safetensors"),
    ],
)
def test_every_variant_is_imported_with_its_very_weights(tmp_path, variant, name):
    state = weights(variant)
    save(OrderedDict(state), tmp_path / name)
    assert run_import(tmp_path / name, *answers(variant)) == 0
    package = find_package("imported")
    assert package.manifest.network.variant == variant
    assert_same_weights(package.load(), state)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_imported_with_its_very_weights(tmp_path, form):
    content = FORMS[form](weights())
    save(content, tmp_path / "best.pt")
    assert run_import(tmp_path / "best.pt", *_ANSWERS) == 0
    expected = weights()
    if form == "unequal precision":
        expected = {key: value.float() for key, value in unequal_precision(expected).items()}
    assert_same_weights(find_package("imported").load(), expected)


@pytest.mark.parametrize("form", ["bare", "with epoch"])
def test_files_of_before_pytorch_1_6_are_imported(tmp_path, form):
    save(FORMS[form](weights()), tmp_path / "best.old")
    assert run_import(tmp_path / "best.old", *_ANSWERS) == 0
    assert_same_weights(find_package("imported").load(), weights())


@pytest.mark.parametrize("variant", ["SEG-CSS", "V1-LAND", "CLS"])
def test_other_sizes_of_mamba_are_read_and_run(tmp_path, variant):
    description = NetworkDescription(variant, _INPUTS, _OUTPUTS, _WIDTH, None, d_state=5, d_conv=3, expand=3)
    torch.manual_seed(0)
    network = build(description).eval()
    save(network.state_dict(), tmp_path / "best.pth")
    assert run_import(tmp_path / "best.pth", *answers(variant)) == 0
    package = find_package("imported")
    assert package.manifest.network == description
    x = torch.randn(1, _INPUTS, 16, 16, 16)
    with torch.inference_mode():
        folded = Engine(device="cpu").network(package, torch.device("cpu"))(x)
        torch.testing.assert_close(folded, network(x), rtol=1e-4, atol=1e-4)


def test_half_precision_is_kept_on_disk(tmp_path):
    for name, dtype in (("half", torch.float16), ("full", torch.float32)):
        save(
            {k: v.to(dtype) if v.is_floating_point() else v for k, v in weights(base_width=8).items()}, tmp_path / name
        )
        assert cli.main(["models", "import", str(tmp_path / name), "--name", name, *_ANSWERS]) == 0
    sizes = {name: find_package(name).path.joinpath("weights.safetensors").stat().st_size for name in ("half", "full")}
    assert sizes["half"] < 0.6 * sizes["full"]


# --- what cannot be known --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "options", "sentence"),
    [
        (
            "SEG-NNU",
            [],
            "do not say the spacing that it works at, how its intensities are scaled: give --spacing X Y Z",
        ),
        ("SEG-NNU", ["--spacing", "1", "1", "1"], "how its intensities are scaled: give --normalization KIND, or --ct"),
        ("SEG-CSS", _ANSWERS, "finds labels as well as landmarks: say which"),
        ("CLS", _ANSWERS, "the size of its volumes: give --patch X Y Z"),
        ("CLS", [*_ANSWERS, "--task", "segmentation"], "CLS, which is not for segmentation"),
        ("SEG-NNU", [*_ANSWERS, "--task", "classification"], "SEG-NNU, which is not for classification"),
        ("SEG-NNU", ["--preset", "amos"], "amos is for segmentation with 1 channels in and 16 out"),
        ("SEG-NNU", [*_ANSWERS, "--channels", "a"], "2 channels and 1 are named"),
        ("SEG-NNU", [*_ANSWERS, "--ct", "0", "1", "0", "1"], "each says how intensities are scaled"),
        ("SEG-NNU", ["--spacing", "0", "1", "1"], "--spacing must be three lengths"),
        ("SEG-NNU", [*_ANSWERS, "--patch", "20", "16", "16"], "must be three multiples of 16"),
        ("SEG-NNU", ["--spacing", "1", "1", "1", "--ct", "5", "1", "0", "1"], "--ct must be four numbers"),
    ],
)
def test_asks_for_what_weights_cannot_tell(tmp_path, capsys, variant, options, sentence):
    save(weights(variant), tmp_path / "best.pth")
    assert sentence in refusal(capsys, tmp_path / "best.pth", *options)
    assert not (tmp_path / "users models").exists()


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        ("liver\nkidney\n", "names.txt", ["liver", "kidney"]),
        ('["liver", "kidney"]', "names.json", ["liver", "kidney"]),
        ('{"labels": {"background": 0, "kidney": 2, "liver": 1}}', "dataset.json", ["liver", "kidney"]),
        ('{"labels": {"0": "background", "2": "kidney", "1": "liver"}}', "dataset.json", ["liver", "kidney"]),
    ],
)
def test_labels_are_named_by_a_file(tmp_path, content, name, expected):
    save(weights(), tmp_path / "best.pth")
    (tmp_path / name).write_text(content)
    assert run_import(tmp_path / "best.pth", *_ANSWERS, "--labels", str(tmp_path / name)) == 0
    assert [label.name for label in find_package("imported").manifest.labels] == expected


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"labels": {"liver": 1, "kidney": 3}}', "does not name labels"),
        ("[1, 2]", "does not name labels"),
        ("{", "is not valid JSON"),
        ('["liver"]', "2 labels, landmarks or classes and 1 are named"),
    ],
)
def test_refuses_names_that_do_not_fit(tmp_path, capsys, content, sentence):
    save(weights(), tmp_path / "best.pth")
    (tmp_path / "names.json").write_text(content)
    assert sentence in refusal(capsys, tmp_path / "best.pth", *_ANSWERS, "--labels", str(tmp_path / "names.json"))


_PRESETS = {
    "lfc": ("SEG-CSS", 1, 6, []),
    "adni-nc-ad": ("CLS", 1, 1, []),
    "adni-smci-pmci": ("CLS-SEQ", 1, 1, []),
    "brats": ("SEG-NNU", 4, 4, []),
    "amos": ("SEG-NNU2", 1, 16, ["--spacing", "1.5", "1.5", "2", "--ct", "-100", "300", "80", "60"]),
}


@pytest.mark.parametrize("preset", _PRESETS)
def test_presets_say_what_the_paper_says_and_what_they_assume(tmp_path, capsys, preset):
    variant, inputs, outputs, options = _PRESETS[preset]
    save(weights(variant, in_channels=inputs, out_channels=outputs), tmp_path / "best.pth")
    report = tmp_path / "report.json"
    assert run_import(tmp_path / "best.pth", "--preset", preset, *options, "--json", str(report)) == 0
    manifest, content = find_package("imported").manifest, json.loads(report.read_text())
    assert manifest.network.variant == variant == content["variant"]
    assert any(preset in line for line in content["found"])
    assert content["assumed"]
    assert manifest.provenance["assumed"] == content["assumed"]
    shown = capsys.readouterr().out.replace("\n", " ")
    assert "assumed" in shown
    card = find_package("imported").card()
    assert all(line in card for line in (*content["found"], *content["assumed"]))


def test_presets_that_leave_something_open_ask_for_it(tmp_path, capsys):
    save(weights("SEG-NNU", in_channels=1, out_channels=16), tmp_path / "best.pth")
    sentence = refusal(capsys, tmp_path / "best.pth", "--preset", "amos")
    assert "do not say the spacing that it works at, how its intensities are scaled" in sentence


def test_a_preset_is_proposed_where_the_sizes_fit(tmp_path, capsys):
    save(weights("CLS", in_channels=1, out_channels=1), tmp_path / "best.pth")
    assert "take a preset (--preset adni-nc-ad, adni-smci-pmci)" in refusal(capsys, tmp_path / "best.pth")


def test_landmarks_of_the_preset_are_found_with_the_authors_normalization(tmp_path):
    save(random_network("SEG-CSS", 1, 6, _WIDTH).state_dict(), tmp_path / "best.pth")
    assert run_import(tmp_path / "best.pth", "--preset", "lfc") == 0
    package = find_package("imported")
    assert package.manifest.input.channels[0].normalization == Normalization("clip-sd", "positive", sds=2.0)
    small = replace(package.manifest.input, shape=(32, 32, 32), patch=(32, 32, 32))
    package = replace(package, manifest=replace(package.manifest, input=small))
    volume = Volume(np.random.default_rng(0).random((1, 20, 24, 28), np.float32), np.diag([2.0, 2, 3, 1]))
    found = Engine(device="cpu").detect_landmarks(volume, package).landmarks
    assert [landmark.name for landmark in found] == ["TCD1", "TCD2", "HDV1", "HDV2", "ADV1", "ADV2"]
    assert all(landmark.confidence == 0.5 for landmark in found)


# --- refusals --------------------------------------------------------------------------------------------------------


def renamed(state):
    return {key.replace("conv6.", "decoder6."): value for key, value in state.items()}


def with_nan(state):
    state = untied(state)
    state["layer2.0.bn1.running_var"][0] = float("nan")
    return state


def copies_differ(state):
    state = untied(state)
    state["layer1.2.mamba_layer.mamba.D"] += 1
    return state


def with_empty(state):
    return {**state, "extra": torch.zeros(0, 3)}


_OTHER = {f"encoder.{number}.weight": torch.zeros(3, 3) for number in range(5)}

REFUSED = {
    "other network": (lambda state: _OTHER, "do not fit any nnMamba network: their first are encoder.0.weight"),
    "renamed": (renamed, "the nearest is SEG-NNU (width 2, 2 in, 3 out), and they have decoder6.conv."),
    "one level down": (lambda state: {"generator": state, "epoch": 1}, "lie one level down, under 'generator'"),
    "two wrappers": (lambda state: {"model": state, "net": state}, "holds weights under model and net"),
    "whole module": (lambda state: torch.nn.Conv3d(1, 1, 1), "holds a whole module, pickled with its code's names"),
    "not finite": (with_nan, "not finite (layer2.0.bn1.running_var holds NaN or infinity)"),
    "copies differ": (
        copies_differ,
        "different copies of one shared Mamba layer (layer1.1.mamba_layer.mamba.D and",
    ),
    "empty tensor": (with_empty, "the tensor extra without numbers"),
    "list": (lambda state: [1, 2], "holds a list and no weights"),
    "tensor": (lambda state: torch.zeros(3), "holds a StoredTensor and no weights"),
    "nothing": (lambda state: {}, "holds no weights, only nothing"),
    "settings": (lambda state: {"lr": 0.1, "epochs": 3}, "holds no weights, only lr, epochs"),
    "empty wrapper": (lambda state: {"state_dict": {}, "epoch": 3}, "holds no weights, only state_dict, epoch"),
    "optimizer only": (lambda state: {"optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}}, "holds no weights"),
    "width": (
        lambda state: {**state, "att1.layer1.weight": torch.zeros(1, 7)},
        "att1.layer1.weight is 1x7 and should be",
    ),
}


@pytest.mark.parametrize("form", REFUSED)
def test_every_refused_form_gives_its_sentence(tmp_path, capsys, form):
    change, sentence = REFUSED[form]
    save(change(weights()), tmp_path / "best.pth")
    assert sentence in refusal(capsys, tmp_path / "best.pth", *_ANSWERS)
    assert not (tmp_path / "users models" / "imported").exists()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("best.safetensors", b"\x00" * 20, "is no .safetensors file, or is damaged"),
        ("best.safetensors", b"<!doctype html>", "is no .safetensors file, or is damaged"),
        ("best.pth", b"version https://git-lfs.github.com", "a pointer of Git LFS"),
        ("best.pth", b"", "no checkpoint that is known"),
    ],
)
def test_files_that_are_no_checkpoints_are_refused(tmp_path, capsys, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    assert sentence in refusal(capsys, tmp_path / name, *_ANSWERS)


@pytest.mark.parametrize("name", ["missing.pth", "missing.safetensors"])
def test_missing_files_are_named(tmp_path, capsys, name):
    assert f"There is no file {tmp_path / name}" in refusal(capsys, tmp_path / name, *_ANSWERS)


@pytest.mark.parametrize("name", ["best.pth", "best.model", "Best.PT", "best.safetensors"])
@pytest.mark.parametrize("command", ["install", "verify", "info", "segment"])
def test_commands_that_take_packages_point_from_a_checkpoint_to_its_import(tmp_path, capsys, command, name):
    path = tmp_path / name
    path.write_bytes(b"PK")
    (tmp_path / "volume.nii.gz").touch()
    arguments = ["models", command, str(path)]
    if command == "segment":
        arguments = ["segment", str(tmp_path / "volume.nii.gz"), "--model", str(path), "--output", "labels.nrrd"]
    assert cli.main(arguments) == 1
    assert f"make one of it with `nnmamba models import {path}`" in capsys.readouterr().err


def test_a_file_of_a_package_points_to_the_package(tmp_path, capsys):
    save(weights(), tmp_path / "best.pth")
    assert run_import(tmp_path / "best.pth", *_ANSWERS) == 0
    folder = find_package("imported").path
    assert cli.main(["models", "verify", str(folder / "weights.safetensors")]) == 1
    assert f"is a part of the model package {folder}: give the folder" in capsys.readouterr().err


def test_a_name_that_is_taken_is_refused_unless_it_is_to_be_replaced(tmp_path, capsys):
    save(weights(), tmp_path / "best.pth")
    assert run_import(tmp_path / "best.pth", *_ANSWERS) == 0
    assert "A model imported is installed already" in refusal(capsys, tmp_path / "best.pth", *_ANSWERS)
    assert run_import(tmp_path / "best.pth", *_ANSWERS, "--overwrite") == 0


def test_a_report_cannot_take_the_checkpoints_place(tmp_path, capsys):
    save(weights(), tmp_path / "best.pth")
    before = (tmp_path / "best.pth").read_bytes()
    refused = refusal(capsys, tmp_path / "best.pth", *_ANSWERS, "--overwrite", "--json", str(tmp_path / "best.pth"))
    assert "asked for twice" in refused
    assert (tmp_path / "best.pth").read_bytes() == before


def test_the_name_is_made_of_the_files(tmp_path):
    save(weights(), tmp_path / "Mein Bestes_Modell (2).pth")
    assert cli.main(["models", "import", str(tmp_path / "Mein Bestes_Modell (2).pth"), *_ANSWERS]) == 0
    assert find_package("mein-bestes_modell-2").manifest.provenance["source"] == "Mein Bestes_Modell (2).pth"
