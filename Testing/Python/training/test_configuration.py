"""The configuration file of ``nnmamba train``."""

import json
from dataclasses import fields

import pytest

from NNMambaLib.cli import main
from NNMambaLib.errors import TrainingError
from NNMambaLib.training.configuration import Configuration, as_json, make_configuration, read_configuration
from NNMambaLib.training.setting_words import SETTINGS


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("settings.json", '{"steps": 50, "patch": [32, 48, 64], "spacing": null, "deep_supervision": false}'),
        ("settings.toml", "steps = 50\npatch = [32, 48, 64]\ndeep_supervision = false\n"),
    ],
)
def test_json_and_toml_say_the_same(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_configuration(tmp_path / name) == Configuration(steps=50, patch=(32, 48, 64), deep_supervision=False)


def test_without_a_file_all_is_default():
    assert read_configuration(None) == Configuration()


def test_what_is_saved_can_be_given_again():
    configuration = make_configuration({"spacing": [1, 1.5, 2], "mirror_axes": ["y"], "seed": 7})
    assert make_configuration(json.loads(json.dumps(as_json(configuration)))) == configuration


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"step": 3}, "settings.json has the unknown key 'step': choose one of steps, batch_size, "),
        (
            {"steps": 0},
            "settings.json has steps 0, but it must be a whole number of at least 1, at most 1,000,000,000.",
        ),
        ({"steps": True}, "has steps true, but it must be a whole number"),
        ({"steps": "many"}, 'has steps "many", but it must be a whole number'),
        ({"learning_rate": -1}, "has learning_rate -1, but it must be a number above 0, at most 1e6."),
        ({"optimizer": "adam"}, 'has optimizer "adam", but it must be one of adamw, sgd.'),
        ({"schedule": []}, "has schedule [], but it must be one of cosine, poly."),
        ({"precision": "half"}, "one of float32, bfloat16, float16"),
        ({"variant": "SEG"}, "one of SEG-CSS"),
        ({"patch": [32, 32]}, "has patch [32, 32], but it must be three multiples of 16, at most 1024."),
        ({"patch": [32, 32, 30]}, "three multiples of 16"),
        ({"spacing": [1, 1, 0]}, "three lengths of 0.001 to 1000 mm"),
        ({"mirror_axes": ["x", "x"]}, "a list of x, y, z, each at most once"),
        ({"validation_fraction": 1}, "a number of at least 0 and below 1"),
        ({"foreground": 1.1}, "a number of 0 to 1"),
        ({"augment": 1}, "true or false"),
        ({"base_width": 10**6}, "has base_width 1000000, but it must be a whole number of at least 1, at most 128."),
        ({"batch_size": 10**9}, "a whole number of at least 1, at most 4,096."),
        ({"steps": 10**30}, "a whole number of at least 1, at most 1,000,000,000."),
        ({"workers": 10**6}, "a whole number of at least 0, at most 256."),
        ({"patch": [16000] * 3}, "three multiples of 16, at most 1024."),
        ({"spacing": [1e-9] * 3}, "three lengths of 0.001 to 1000 mm."),
        ({"spacing": [1e300] * 3}, "three lengths of 0.001 to 1000 mm."),
        ({"learning_rate": 1e300}, "has learning_rate 1e+300, but it must be a number above 0, at most 1e6."),
        ({"mirror_axes": [["x"]]}, "a list of x, y, z, each at most once"),
        ({"variant": []}, "one of SEG-CSS"),
        ({"optimizer": ["x" * 1000]}, "x..., but it must be one of adamw, sgd."),
        ({"checkpoint_every": 3, "validate_every": 4}, "must be a multiple of checkpoint_every, 3."),
    ],
)
def test_values_that_are_not_allowed_are_named(tmp_path, content, sentence):
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(content))
    with pytest.raises(TrainingError) as error:
        read_configuration(path)
    assert sentence in str(error.value)


def test_every_setting_has_its_words():
    assert set(SETTINGS) == {entry.name for entry in fields(Configuration)}


def test_help_lists_the_settings_with_their_defaults(capsys):
    with pytest.raises(SystemExit):
        main(["train", "segmentation", "--help"])
    said = capsys.readouterr().out
    for key, default in (("steps", "20000"), ("patch", "from the data"), ("optimizer", '"adamw"'), ("augment", "true")):
        assert f"  {key} = {default}: " in said


def test_what_is_printed_can_be_given_again(tmp_path, capsys):
    pytest.importorskip("monai", reason="the extra train is not installed")
    (tmp_path / "given.json").write_text('{"steps": 5, "base_width": 8}')
    changes = ["--set", "steps=7", "--set", "optimizer=sgd", "--set", "patch=[32, 32, 16]", "--set", "normalisation=ct"]
    command = ["train", "segmentation", "--config", str(tmp_path / "given.json"), *changes, "--print-config"]
    assert main(command) == 0
    printed = tmp_path / "printed.toml"
    printed.write_text(capsys.readouterr().out)
    wanted = {"steps": 7, "base_width": 8, "optimizer": "sgd", "patch": [32, 32, 16], "normalization": "ct"}
    assert read_configuration(printed) == make_configuration(wanted)
    assert "# optimizer steps in all\nsteps = 7\n" in printed.read_text()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("steps", "--set 'steps' is no setting: write key=value, such as --set steps=1000."),
        ("=1", "--set '=1' is no setting"),
        ("stepz=1", "--set has the unknown key 'stepz': choose one of steps, "),
        ("steps=many", '--set has steps "many", but it must be a whole number'),
        ("steps=1\nseed=2", '--set has steps "1\\nseed=2", but it must be a whole number'),
        ("steps=" + "[" * 5000, "--set has steps "),
        ("learning_rate=1e400", "--set has learning_rate Infinity, but it must be a number above 0"),
    ],
)
def test_changes_that_are_not_allowed_are_named(change, sentence):
    with pytest.raises(TrainingError) as error:
        read_configuration(None, [change])
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("settings.json", "{", "settings.json is not valid JSON"),
        ("settings.toml", "steps", "settings.toml is not valid TOML"),
        ("settings.json", "[" * 50_000, "settings.json is not valid JSON (it is nested deeper than 64 levels)"),
        ("settings.json", '{"seed": NaN}', "settings.json is not valid JSON (it holds NaN"),
        ("settings.json", '{"steps": 1, "steps": 2}', "(it names 'steps' twice in one object)"),
        (
            "settings.toml",
            "a = " + "[" * 50_000,
            "settings.toml is not valid TOML (it is nested deeper than 64 levels)",
        ),
        ("settings.toml", "a." * 30_000 + "a = 1", "settings.toml is not valid TOML (it is nested deeper than 64"),
        ("settings.toml", "learning_rate = 1" + "0" * 400, "settings.toml has learning_rate 1000"),
        ("settings.toml", "learning_rate = nan", "settings.toml has learning_rate NaN, but it must be a number"),
        ("settings.json", " " * (65 << 10), "settings.json has more than 64.0 KiB"),
        ("settings.json", "[1]", "settings.json holds no settings by name"),
        ("settings.json", None, "There is no file"),
        ("settings.yaml", "steps: 100", "settings.yaml is YAML, which is not read: write the settings as TOML"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, name, text, sentence):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(TrainingError) as error:
        read_configuration(tmp_path / name)
    assert sentence in str(error.value)
