"""Model packages: data that is checked before it is used, found by path or by name."""

import dataclasses
import hashlib
import json
import shutil

import jsonschema
import pytest
import torch

from NNMambaLib import cli
from NNMambaLib.errors import ModelError, OutputError
from NNMambaLib.models.catalogue import bundled_packages, find_package, installed_packages
from NNMambaLib.models.manifest import (
    Channel,
    Code,
    HeatmapDecoding,
    InputSpecification,
    Label,
    LandmarkDefinition,
    Manifest,
    Metric,
    Normalization,
    Target,
    Terminology,
)
from NNMambaLib.models.manifest_file import SCHEMA_FILE, format_manifest, parse_manifest
from NNMambaLib.models.package import open_package, write_package
from NNMambaLib.networks.classifier import Classifier
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.networks.variants import VARIANTS, build
from NNMambaLib.support.random_package import random_manifest, write_random_package

_DIGEST = "0" * 64
_INPUT = InputSpecification(
    tuple(Channel(name, Normalization("none")) for name in ("CT", "T1", "T2")), (32, 48, 64), (1.0, 1.5, 2.0)
)


def _full_manifests():
    """One manifest a task, with a value in every field that the task has, and none of them the default."""
    common = {
        "name": "full-example",
        "version": "1.2.3",
        "title": "Every field",
        "description": "Größen & more",
        "licence": "Apache-2.0",
        "intended_use": "Tests only.",
        "metrics": (Metric("Dice", 0.9, "five phantoms", "nnmamba evaluate"),),
        "provenance": {"code": "abc", "data": [{"name": "phantom", "licence": "CC0-1.0"}], "seed": 3},
    }
    channels = (
        Channel("CT", Normalization("ct", "positive", -100.0, 300.0, 50.0, 80.0), ("ct", "abdomen")),
        Channel("T1", Normalization("percentile", "nonzero", 1.0, 99.0), ("t1",)),
        Channel("T2", Normalization("clip-sd", "above-mean", sds=3.0), ("t2",)),
    )
    code = Code("SCT", "389080008", "Gray matter")
    terminology = Terminology(Code("SCT", "85756007", "Tissue"), code, Code("SCT", "7771000", "Left"))
    return {
        "segmentation": Manifest(
            task="segmentation",
            network=NetworkDescription(
                "SEG-NNU", 3, 3, 8, 3, d_state=4, d_conv=3, expand=1, members=3, members_average="probabilities"
            ),
            input=InputSpecification(
                channels, (32, 48, 64), (1.0, 1.5, 2.0), None, "LPS", "acquisition", "bspline", False, ("x", "z")
            ),
            labels=(Label(1, "grey", (10, 20, 30), terminology), Label(2, "white", (40, 50, 60))),
            **common,
        ),
        "landmarks": Manifest(
            task="landmarks",
            network=NetworkDescription("V1-LAND", 3, 2, 8),
            input=InputSpecification(
                channels,
                (32, 32, 32),
                None,
                (64, 64, 32),
                orientation=None,
                axes="array",
                interpolation="cubic",
                axis_order=("z", "x", "y"),
                crop="nonzero",
                planes="anisotropic",
                normalize="before",
                window="nnunet",
                averages="logits",
            ),
            landmarks=(LandmarkDefinition("AC", "the anterior commissure"), LandmarkDefinition("PC", "the posterior")),
            heatmap=HeatmapDecoding(3.0, -1.5, 0.4),
            **common,
        ),
        "classification": Manifest(
            task="classification",
            network=NetworkDescription("CLS", 3, 4, 8),
            input=InputSpecification(channels, (32, 32, 32), (2.0, 2.0, 2.0)),
            targets=(
                Target("sex", ("female", "male"), binary=True, temperature=1.3, threshold=0.6),
                Target("site", ("a", "b", "c")),
            ),
            **common,
        ),
        "regression": Manifest(
            task="regression",
            network=NetworkDescription("CLS", 3, 2, 8),
            input=InputSpecification(channels, (32, 32, 32), (2.0, 2.0, 2.0)),
            outputs=({"name": "age", "unit": "years", "mean": 50.0}, {"name": "weight", "unit": "kg"}),
            **common,
        ),
    }


@pytest.fixture
def package(tmp_path):
    return write_random_package(tmp_path / "model", random_manifest("segmentation", base_width=2, patch=(32, 32, 32)))


# --- manifests ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", _full_manifests())
def test_manifest_survives_being_written_and_read(task):
    manifest = _full_manifests()[task]
    text = format_manifest(manifest, _DIGEST)
    assert parse_manifest(text) == (manifest, _DIGEST)
    assert "Größen & more" in text
    assert "null" not in text


def test_examples_leave_no_field_untried():
    """A field that is added to the manifest must be added to the examples above, and so to the schema."""
    examples = list(_full_manifests().values())
    tried = {(type(value), field) for example in examples for value, field in _fields_with_values(example)}
    kinds = {kind for kind, _ in tried}
    fields = {(kind, field.name) for kind in kinds for field in dataclasses.fields(kind)}
    assert len(kinds) == 12
    assert fields == tried


def test_manifest_without_what_is_optional_takes_the_defaults():
    content = json.loads(format_manifest(_full_manifests()["classification"], _DIGEST))
    for key in ("metrics", "provenance"):
        del content[key]
    for key in ("axes", "interpolation", "anti_aliasing"):
        del content["input"][key]
    for channel in content["input"]["channels"]:
        del channel["keywords"]
    del content["targets"][0]["temperature"]
    manifest, _ = parse_manifest(json.dumps(content))
    assert manifest.input.axes == "anatomical"
    assert manifest.input.anti_aliasing is True
    assert manifest.targets[0].temperature == 1
    assert manifest.metrics == ()
    assert manifest.provenance == {}


def test_axes_of_the_array_need_no_orientation():
    manifest = _full_manifests()["segmentation"]
    stored = dataclasses.replace(manifest, input=dataclasses.replace(manifest.input, axes="array", orientation=None))
    text = format_manifest(stored, _DIGEST)
    assert "orientation" not in json.loads(text)["input"]
    assert parse_manifest(text) == (stored, _DIGEST)


def test_schema_is_a_valid_schema_and_names_every_variant():
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"]["network"]["properties"]["variant"]["enum"] == list(VARIANTS)


def test_schema_allows_no_unknown_key_anywhere():
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    # What a package's maker says of its making is free, and what a task of one's own needs to know of its outputs.
    del schema["properties"]["provenance"], schema["properties"]["outputs"]
    objects = [part for part in _parts(schema) if part.get("type") == "object"]
    assert len(objects) > 10
    assert all(part.get("additionalProperties") is False for part in objects)


@pytest.mark.parametrize(
    ("task", "change", "complaint"),
    [
        ("segmentation", {"network": NetworkDescription("SEG-NNU", 2, 3, 8, 3)}, "3 channels are listed"),
        ("segmentation", {"network": NetworkDescription("SEG-NNU", 3, 5, 8)}, "needs 3 outputs and the network has 5"),
        ("landmarks", {"heatmap": None}, "heatmap"),
        ("landmarks", {"landmarks": (LandmarkDefinition("AC", "a"), LandmarkDefinition("AC", "b"))}, "two landmarks"),
        ("classification", {"targets": (Target("t", ("a", "b", "c"), binary=True),) * 4}, "binary target t needs two"),
        ("classification", {"targets": (Target("t", ("a", "b")),) * 2}, "two targets have the same name"),
        ("segmentation", {"targets": (Target("t", ("a", "b")),)}, "at targets: a manifest for seg"),
        ("segmentation", {"name": "No Spaces"}, "name"),
        ("segmentation", {"input": dataclasses.replace(_INPUT, axes="array")}, "no meaning with the axes array"),
        ("segmentation", {"input": dataclasses.replace(_INPUT, orientation=None)}, "orientation is None and needs one"),
    ],
)  # fmt: skip
def test_manifest_that_contradicts_itself_is_not_written(task, change, complaint):
    manifest = dataclasses.replace(_full_manifests()[task], **change)
    with pytest.raises(ModelError, match=complaint):
        format_manifest(manifest, _DIGEST)


@pytest.mark.parametrize("task", ["segmentation", "landmarks", "classification"])
def test_network_of_the_wrong_kind_for_the_task_is_refused(task):
    manifest = _full_manifests()[task]
    variant = "SEG-CSS" if task == "classification" else "CLS"
    network = dataclasses.replace(manifest.network, variant=variant, head_channels=None)
    with pytest.raises(ModelError, match=f"the network {variant} is not for {task}"):
        format_manifest(dataclasses.replace(manifest, network=network), _DIGEST)


def test_description_knows_the_classifiers():
    found = {name for name in VARIANTS if NetworkDescription(name, 1, 1).is_classifier}
    assert found == {name for name, variant in VARIANTS.items() if variant.network is Classifier}


# --- packages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_can_be_packed_and_loaded(tmp_path, variant):
    task = "classification" if "CLS" in variant else "segmentation"
    manifest = random_manifest(task, variant, base_width=2, patch=(32, 32, 32))
    network = build(manifest.network).eval()
    write_package(tmp_path / "model", manifest, network, card="# A card")
    package = open_package(tmp_path / "model")
    loaded = package.load()
    assert package.manifest == manifest
    assert package.card() == "# A card"
    assert not loaded.training
    expected = network.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in loaded.state_dict().items())


def test_zip_file_is_as_good_as_a_folder(package, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "zipped"), "zip", package.path)
    zipped = open_package(archive)
    assert zipped.manifest == package.manifest
    assert zipped.sha256 == package.sha256
    assert zipped.card() is None
    x = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(zipped.load()(x), package.load()(x))


def test_zip_file_of_the_folder_itself_will_do(package, tmp_path):
    made = shutil.make_archive(str(tmp_path / "zipped"), "zip", package.path.parent, package.path.name)
    assert open_package(made).manifest == package.manifest
    open_package(made).load()


def test_digest_is_that_of_the_weights_file(package):
    content = (package.path / "weights.safetensors").read_bytes()
    assert package.sha256 == hashlib.sha256(content).hexdigest()
    assert json.loads((package.path / "model.json").read_text())["weights"]["sha256"] == package.sha256
    assert package.size() == len(content) + (package.path / "model.json").stat().st_size


def test_same_seed_gives_the_same_package(tmp_path):
    manifest = random_manifest("landmarks", base_width=2)
    digests = [write_random_package(tmp_path / str(n), manifest, seed).sha256 for n, seed in enumerate((1, 1, 2))]
    assert digests[0] == digests[1] != digests[2]


def test_half_precision_halves_the_file_and_computes_in_single(tmp_path):
    manifest = random_manifest("segmentation", base_width=4)
    network = build(manifest.network)
    whole = write_package(tmp_path / "whole", manifest, network)
    half = write_package(tmp_path / "half", manifest, network, half=True)
    assert half.size() < 0.7 * whole.size()
    for (key, value), exact in zip(half.load().state_dict().items(), whole.load().state_dict().values(), strict=True):
        assert value.dtype == exact.dtype, key
        assert torch.allclose(value.float(), exact.float(), rtol=1e-3, atol=1e-6), key


def test_package_takes_the_place_of_an_older_one(package):
    newer = dataclasses.replace(package.manifest, version="2.0.0")
    write_random_package(package.path, newer, seed=5)
    found = open_package(package.path)
    assert found.manifest.version == "2.0.0"
    found.load()
    assert {file.name for file in package.path.iterdir()} == {"model.json", "weights.safetensors"}


def test_network_that_the_manifest_does_not_describe_is_not_written(package, tmp_path):
    with pytest.raises(ModelError, match="The network is not the SEG-CSS that the manifest"):
        write_package(tmp_path / "other", package.manifest, build(NetworkDescription("SEG-CSS", 1, 4, 3)))
    assert not (tmp_path / "other").exists()


def test_file_in_the_way_of_the_folder_is_an_output_error(package, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="taken cannot be made"):
        write_random_package(tmp_path / "taken", package.manifest)


def test_weights_that_are_no_safetensors_are_refused(package):
    content = b"not weights"
    manifest = json.loads((package.path / "model.json").read_text())
    manifest["weights"]["sha256"] = hashlib.sha256(content).hexdigest()
    (package.path / "model.json").write_text(json.dumps(manifest))
    (package.path / "weights.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"cannot be read .*: install the package again"):
        open_package(package.path).load()


# --- catalogue ---------------------------------------------------------------------------------------------------


def test_models_are_found_by_name_and_by_path(package, tmp_path, monkeypatch):
    monkeypatch.setenv("NNMAMBA_MODELS", str(tmp_path / "installed"))
    (tmp_path / "installed").mkdir()
    shutil.copytree(package.path, tmp_path / "installed" / "as-folder")
    shutil.make_archive(str(tmp_path / "installed" / "as-zip"), "zip", package.path)
    (tmp_path / "installed" / "no-package").mkdir()
    names = set(installed_packages())
    assert {"as-folder", "as-zip"} <= names
    assert "no-package" not in names
    for model in ("as-folder", "as-zip", package.path, str(package.path), package):
        assert find_package(model).sha256 == package.sha256
    with pytest.raises(ModelError, match=r"There is no model 'other'.*as-folder, as-zip"):
        find_package("other")


def test_users_model_takes_the_place_of_a_bundled_one(package, tmp_path, monkeypatch):
    monkeypatch.setattr("NNMambaLib.models.catalogue.bundled_folder", lambda: tmp_path / "bundled")
    monkeypatch.setenv("NNMAMBA_MODELS", str(tmp_path / "installed"))
    for place in ("bundled", "installed"):
        shutil.copytree(package.path, tmp_path / place / "same-name")
    assert installed_packages() == {"same-name": tmp_path / "installed" / "same-name"}
    assert find_package("same-name").path.parent.name == "installed"


def test_bundled_models_are_sound():
    for package in bundled_packages():
        package.load()


@pytest.mark.parametrize("card", [None, "# Model\n\n| Dice | 0.625 |\n"])
def test_a_figure_is_told_once(card, tmp_path, capsys):
    manifest = random_manifest("segmentation", outputs=3, base_width=4)
    metrics = (Metric("Dice", 0.625, "five phantoms", "nnmamba evaluate"),)
    manifest = dataclasses.replace(manifest, metrics=metrics)
    write_package(tmp_path / "model", manifest, build(manifest.network), card=card)
    assert cli.main(["models", "info", str(tmp_path / "model")]) == 0
    assert capsys.readouterr().out.count("0.625") == 1


def test_commands_list_describe_and_verify(package, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NNMAMBA_MODELS", str(tmp_path))
    assert cli.main(["models", "list"]) == 0
    assert "random-seg-css" in capsys.readouterr().out
    assert cli.main(["models", "info", "model"]) == 0
    described = capsys.readouterr().out
    for words in ("label 1, label 2, label 3", package.sha256, "Apache-2.0", "Tests and benchmarks only."):
        assert words in described
    report = tmp_path / "report.json"
    assert cli.main(["models", "verify", str(package.path), "--json", str(report)]) == 0
    assert "is sound" in capsys.readouterr().out
    assert json.loads(report.read_text())["sha256"] == package.sha256
    (package.path / "weights.safetensors").write_bytes(b"altered")
    assert cli.main(["models", "verify", str(package.path)]) == 1
    assert "were altered or damaged" in capsys.readouterr().err


def _fields_with_values(value):
    """Yield (object, field name) for every field, anywhere within, that holds something."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            held = getattr(value, field.name)
            if held not in (None, (), {}):
                yield value, field.name
            yield from _fields_with_values(held)
    elif isinstance(value, tuple):
        for entry in value:
            yield from _fields_with_values(entry)


def _parts(schema):
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from _parts(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _parts(value)
