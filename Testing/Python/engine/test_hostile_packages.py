"""Packages from strangers: each is refused by name before it takes memory or time, and breaks nothing else."""

import json
import os
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from NNMambaLib import cli
from NNMambaLib.engine import Engine
from NNMambaLib.errors import ModelError, OutputError, VolumeError
from NNMambaLib.files import write_json
from NNMambaLib.inference.answers import predict_target
from NNMambaLib.inference.tasks import TASKS
from NNMambaLib.models import limits
from NNMambaLib.models.catalogue import find_package
from NNMambaLib.models.installation import install_package
from NNMambaLib.models.manifest import Target
from NNMambaLib.models.manifest_file import SCHEMA_FILE, format_manifest, parse_manifest
from NNMambaLib.models.package import open_package, write_package
from NNMambaLib.networks.variants import build
from NNMambaLib.support.diagnostics import diagnostic_report
from NNMambaLib.support.random_package import random_manifest, write_random_package
from NNMambaLib.volumes.volume import Volume

_DIGEST = "0" * 64


@pytest.fixture
def package(tmp_path):
    manifest = random_manifest("classification", outputs=2, base_width=1, patch=(16, 16, 16))
    return write_random_package(tmp_path / "source", manifest)


@pytest.fixture(autouse=True)
def users_folder(tmp_path, monkeypatch):
    folder = tmp_path / "users models"
    folder.mkdir()
    monkeypatch.setenv("NNMAMBA_MODELS", str(folder))
    return folder


def edited(task, place, value):
    """Return a manifest's text with another value at a place such as ``input.patch.0``."""
    content = json.loads(format_manifest(random_manifest(task, base_width=1, patch=(16, 16, 16)), _DIGEST))
    *way, last = place.split(".")
    part = content
    for key in way:
        part = part[int(key) if isinstance(part, list) else key]
    part[int(last) if isinstance(part, list) else last] = value
    return json.dumps(content)


def edit_file(package, **changes):
    path = package.path / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def zipped(folder, path, *extra):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
        for name, content in extra:
            archive.writestr(name, content)
    return path


# --- manifests ---------------------------------------------------------------------------------------------------

_CT = {"kind": "ct", "low": -100, "high": 100, "mean": 0, "sd": 1}


@pytest.mark.parametrize(
    ("task", "place", "value"),
    [
        *(("segmentation", "input.spacing.0", value) for value in (1e-9, 1e-30, 5e-324, 1e300, 10**30, 0, -1)),
        ("segmentation", "input.patch", [160_000] * 3),
        ("segmentation", "input.channels.0.normalisation", _CT | {"mean": 1e300}),
        ("segmentation", "input.channels.0.normalisation", _CT | {"sd": 5e-324}),
        ("segmentation", "network.base_width", 10**6),
        ("segmentation", "network.in_channels", 10**9),
        ("segmentation", "network.out_channels", 10**9),
        ("segmentation", "labels", [{"value": n, "name": f"l{n}", "color": [1, 2, 3]} for n in range(1, 5001)]),
        ("landmarks", "heatmap.slope", 1e300),
        ("classification", "targets.0.temperature", 5e-324),
        ("classification", "targets.0.temperature", 1e300),
        ("segmentation", "name", "x" * 300),
        ("segmentation", "title", "x" * 10_000),
    ],
)
def test_sizes_out_of_range_are_refused_by_the_manifest(task, place, value):
    with pytest.raises(ModelError, match="does not follow the schema at") as error:
        parse_manifest(edited(task, place, value))
    assert place.split(".")[0] in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("title", "\x1b[2J\x1b]0;owned\7title"),
        ("name", "a\n"),
        ("version", "1.0.0\n"),
        ("licence", "MIT\nSegment0_Name:=evil"),
        ("licence", "MIT\n"),
        ("labels.0.name", "a\nSegment0_Name:=evil"),
        ("labels.0.name", "left\u202etfel"),
        ("input.channels.0.name", "a\0b"),
        ("description", "\x1b[2J"),
    ],
)
def test_control_characters_are_refused_and_not_repeated(place, value):
    with pytest.raises(ModelError, match="does not follow the schema at") as error:
        parse_manifest(edited("segmentation", place, value))
    assert str(error.value).isprintable()


def test_texts_may_have_lines():
    manifest, _ = parse_manifest(edited("segmentation", "description", "First line.\n\tSecond line."))
    assert manifest.description == "First line.\n\tSecond line."


@pytest.mark.parametrize("name", ["con", "nul.v2", "lpt1", "a..", "..", "x."])
def test_names_that_no_folder_on_windows_can_have_are_refused(name):
    with pytest.raises(ModelError, match="name"):
        parse_manifest(edited("segmentation", "name", name))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"name": "\\ud800"}',
        '{"a": NaN}',
        '{"a": 1' + "0" * 400 + "}",
        '{"a": 1e400}',
        '{"a": 1, "a": 2}',
    ],
)
def test_json_that_python_cannot_hold_is_refused(text):
    with pytest.raises(ModelError, match=r"model.json is not valid JSON \(it "):
        parse_manifest(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_a_manifest_that_would_not_be_json_is_not_written(value):
    manifest = random_manifest("segmentation", base_width=1, patch=(16, 16, 16))
    with pytest.raises(ModelError, match="cannot be written"):
        format_manifest(replace(manifest, provenance={"loss": value}), _DIGEST)


def test_schema_states_the_limits():
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    part, network, given = schema["properties"], schema["properties"]["network"]["properties"], None
    given = part["input"]["properties"]
    assert network["base_width"]["maximum"] == limits.MAX_BASE_WIDTH
    assert network["members"]["maximum"] == limits.MAX_MEMBERS
    mamba = tuple(network[key]["maximum"] for key in ("d_state", "d_conv", "expand"))
    assert mamba == (limits.MAX_STATES, limits.MAX_TAPS, limits.MAX_EXPAND)
    assert network["in_channels"]["maximum"] == given["channels"]["maxItems"] == limits.MAX_CHANNELS
    outputs = [network[key]["maximum"] for key in ("out_channels", "head_channels")]
    outputs += [part[key]["maxItems"] for key in ("labels", "landmarks", "targets", "outputs")]
    outputs.append(part["targets"]["items"]["properties"]["classes"]["maxItems"])
    assert set(outputs) == {limits.MAX_OUTPUTS}
    assert {given[key]["items"]["maximum"] for key in ("patch", "shape")} == {limits.MAX_SIZE}
    spacing, temperature = given["spacing"]["items"], part["targets"]["items"]["properties"]["temperature"]
    assert (spacing["minimum"], spacing["maximum"]) == (limits.MIN_SPACING, limits.MAX_SPACING)
    assert (temperature["minimum"], temperature["maximum"]) == (limits.MIN_TEMPERATURE, limits.MAX_TEMPERATURE)
    kinds = {
        kind["properties"]["kind"]["const"]: kind["properties"] for kind in schema["$defs"]["normalisation"]["oneOf"]
    }
    for key in ("low", "high", "mean"):
        assert -kinds["ct"][key]["minimum"] == kinds["ct"][key]["maximum"] == limits.MAX_INTENSITY
    assert kinds["ct"]["sd"]["minimum"] == kinds["clip-sd"]["sds"]["minimum"] == limits.MIN_DEVIATION
    assert part["name"]["maxLength"] == limits.MAX_NAME
    assert schema["$defs"]["line"]["maxLength"] == limits.MAX_LINE
    assert schema["$defs"]["text"]["maxLength"] == limits.MAX_TEXT


# --- weights -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [{"base_width": 128}, {"in_channels": 64}])
def test_manifest_of_a_larger_network_is_refused_before_that_is_built(package, monkeypatch, size):
    content = json.loads((package.path / "model.json").read_text(encoding="utf-8"))
    channels = content["input"]["channels"] * size.get("in_channels", 1)
    channels = [channel | {"name": f"{number}"} for number, channel in enumerate(channels)]
    edit_file(package, network=content["network"] | size, input=content["input"] | {"channels": channels})
    devices = []
    monkeypatch.setattr(
        "NNMambaLib.models.weights.build", lambda network: devices.append(str(torch.zeros(1).device)) or build(network)
    )
    with pytest.raises(ModelError, match="do not fit its network CLS of width"):
        open_package(package.path).load()
    assert set(devices) == {"meta"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(package, tmp_path, value):
    network = package.load()
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] = value
    bad = write_package(tmp_path / "bad", package.manifest, network)
    with pytest.raises(ModelError, match="are not finite"):
        bad.load()
    with pytest.raises(ModelError, match="are not finite"):
        install_package(bad.path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("binary", [False, True])
def test_an_answer_that_is_not_finite_is_no_answer(binary, value):
    target = Target("sex", ("female", "male"), binary=binary)
    with pytest.raises(ModelError, match="answer to 'sex' is not finite"):
        predict_target(target, np.array([value] if binary else [1.0, value]))


def test_weights_larger_than_the_network_can_have_are_not_read(package):
    with (package.path / "weights.safetensors").open("r+b") as file:
        file.truncate(64 * 2**30)
    with pytest.raises(ModelError, match=r"weights.safetensors of .* has 64.* GiB where"):
        open_package(package.path).load()


def test_damaged_header_of_weights_is_named(package):
    from hashlib import sha256

    for content in (b"", b"\xff" * 8, (2).to_bytes(8, "little") + b"[]", (5).to_bytes(8, "little") + b"[[[[["):
        (package.path / "weights.safetensors").write_bytes(content)
        edit_file(package, weights={"file": "weights.safetensors", "sha256": sha256(content).hexdigest()})
        with pytest.raises(ModelError, match="cannot be read"):
            open_package(package.path).load()


def test_tensor_that_the_network_lacks_is_named(package):
    from hashlib import sha256

    path = package.path / "weights.safetensors"
    content = save(load(path.read_bytes()) | {"more": torch.zeros(3)})
    path.write_bytes(content)
    edit_file(package, weights={"file": path.name, "sha256": sha256(content).hexdigest()})
    with pytest.raises(ModelError, match="they have more as 3 and the network has no more"):
        open_package(package.path).load()


# --- files -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="there are no devices here")
@pytest.mark.parametrize("name", ["model.json", "weights.safetensors", None])
def test_devices_are_not_read(package, name):
    path = "/dev/zero"
    if name is not None:
        (package.path / name).unlink()
        (package.path / name).symlink_to("/dev/zero")
        path = package.path
    with pytest.raises(ModelError, match="is not a file"):
        open_package(path).load()


def test_card_is_text_without_control_characters(package):
    (package.path / "card.md").write_text("# Card\n\x1b[2Jend", encoding="utf-8")
    assert package.card() == "# Card\n\ufffd[2Jend"
    (package.path / "card.md").write_bytes(b"\xff\xfe\0")
    with pytest.raises(ModelError, match=r"card.md is not text in UTF-8: save it again as such"):
        package.card()


def test_large_texts_are_not_read(package):
    (package.path / "model.json").write_text(" " * (limits.MAX_TEXT_BYTES + 1))
    with pytest.raises(ModelError, match=r"model.json of .* has 4.0 MiB where 4.0 MiB is the most"):
        open_package(package.path)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ([("Card.md", "x"), ("card.md", "x")], "which are one file on Windows and macOS"),
        ([("MODEL.JSON", "{}")], "which are one file on Windows and macOS"),
        ([("esc\x1b[2J\n.py", "x")], "a name with control characters"),
        ([("CON.txt", "x")], "'CON.txt', a name that Windows cannot have"),
        ([("a?.txt", "x")], "'a?.txt', a name that Windows cannot have"),
        ([(f"{n}/x.py", "x") for n in range(1001)], "and a model package at most 1,000"),
        ([("notes.txt", b"\0" * (limits.MAX_TEXT_BYTES + 1))], "no file of a package has more than 4.0 MiB"),
    ],
)
def test_zip_files_are_refused_by_name(package, tmp_path, users_folder, extra, words):
    path = zipped(package.path, tmp_path / "package.zip", *extra)
    with pytest.raises(ModelError) as error:
        install_package(path)
    assert words in str(error.value)
    assert str(error.value).isprintable()
    assert list(users_folder.iterdir()) == []


def test_weights_of_a_zip_bomb_are_not_unpacked(package, tmp_path, users_folder):
    (package.path / "weights.safetensors").write_bytes(b"\0" * (200 << 20))
    path = zipped(package.path, tmp_path / "package.zip")
    assert path.stat().st_size < 1 << 20
    for use in (install_package, lambda path: open_package(path).load()):
        with pytest.raises(ModelError, match=r"weights.safetensors of .* has 200.* MiB where"):
            use(path)
    assert list(users_folder.iterdir()) == []


def test_files_that_macos_adds_to_archives_are_left_out(package, tmp_path):
    path = zipped(package.path, tmp_path / "package.zip", ("._model.json", "x"), ("__MACOSX/._model.json", "x"))
    installation = install_package(path)
    assert set(installation.left_out) == {"._model.json", "__MACOSX/._model.json"}
    assert {file.name for file in installation.package.path.iterdir()} == {"model.json", "weights.safetensors"}


def test_one_bad_package_breaks_neither_the_list_nor_the_report(package, users_folder, capsys):
    install_package(package.path)
    (users_folder / "noise.zip").write_bytes(b"PK\5\6" + b"\xff" * 18)
    (users_folder / "._noise.zip").write_bytes(b"\0")
    (users_folder / "folder.zip").mkdir()
    for name, content in {
        "deep": b"[" * 100_000,
        "surrogate": b'{"licence": "\\ud800"}',
        "latin": b'{"title": "\xe4"}',
        "empty": b"",
    }.items():
        (users_folder / name).mkdir()
        (users_folder / name / "model.json").write_bytes(content)
    (users_folder / "loop").mkdir()
    (users_folder / "loop" / "model.json").symlink_to("model.json")
    assert cli.main(["models", "list"]) == 0
    listed, report = capsys.readouterr().out, diagnostic_report("script", (), "not asked", "not running", "", "")
    for name in ("noise", "folder", "deep", "surrogate", "latin", "empty", package.manifest.name):
        assert name in listed
        assert name in report
    assert find_package(package.manifest.name).sha256 == package.sha256


# --- options -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1e-9, 0, -1, 1.1, float("nan"), float("inf")])
@pytest.mark.parametrize("task", ["segmentation", "landmarks"])
def test_step_of_the_tiles_has_a_range(task, step):
    with pytest.raises(VolumeError, match=r"must be at least 0.01 and at most 1"):
        TASKS[task].complete({"step": step})


@pytest.mark.parametrize("limit", ["1e300", "inf", "nan", "0", "-1"])
def test_memory_limit_has_a_range(package, limit, capsys):
    with pytest.raises(SystemExit):
        cli.main(["classify", "x.nrrd", "--model", str(package.path), "--output", "o.json", f"--memory-limit={limit}"])
    assert f"{limit} is not a number above 0 and up to 1,048,576 GiB" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    [
        ["--width=3000"],
        ["--channels=65"],
        ["--outputs=1025"],
        ["--patch", "16", "16", "160000"],
        ["--spacing", "1", "1", "1e-9"],
        ["--spacing", "1", "1", "1e300"],
    ],
)
def test_random_models_have_the_same_limits(option, tmp_path, capsys):
    assert cli.main(["random-model", "landmarks", *option, "--output", str(tmp_path / "m")]) == 1
    assert option[0].split("=")[0] in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


# --- what is not finite ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["segmentation", "landmarks", "classification"])
def test_finite_weights_whose_outputs_are_not_give_no_result(tmp_path, task):
    """Products of large weights overflow: argmax and peaks of NaN would pass for a result."""
    manifest = random_manifest(task, base_width=1, patch=(16, 16, 16))
    network = build(manifest.network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1e30)
    package = write_package(tmp_path / "large", manifest, network)
    volume = Volume(np.random.default_rng(0).random((1, 16, 16, 16), np.float32), np.eye(4))
    with pytest.raises(ModelError, match=r"(is|are) not finite \(NaN or infinity\)"):
        Engine(device="cpu", backend="torch").run(task, volume, package)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_is_never_written_with_numbers_that_it_does_not_have(tmp_path, value):
    with pytest.raises(OutputError, match="its numbers are not all finite"):
        write_json({"p": [value]}, tmp_path / "report.json")
    assert list(tmp_path.glob("*.json")) == []
