"""``nnmamba benchmark``: what it reports, what it estimates, and what it refuses."""

import json

import pytest

from NNMambaLib import cli
from NNMambaLib.engine import Engine
from NNMambaLib.support.random_package import random_manifest, write_random_package
from NNMambaLib.support.speed import measure_speed


@pytest.fixture
def package(tmp_path):
    """Return a function that writes a small random package for a task."""

    def write(task, spacing=(2.0, 2.0, 2.0)):
        manifest = random_manifest(task, None, 3, 4, patch=(32, 32, 32), spacing=spacing)
        return write_random_package(tmp_path / task, manifest)

    return write


@pytest.mark.parametrize("task", ["segmentation", "landmarks", "classification"])
def test_report_holds_what_was_measured(task, package, tmp_path, capsys):
    report = tmp_path / "report.json"
    options = ["--size", "96", "64", "32", "--spacing", "1", "1", "2", "--backend", "torch", "--json", str(report)]
    assert cli.main(["benchmark", "--model", str(package(task).path), *options]) == 0
    content = json.loads(report.read_text(encoding="utf-8"))
    # 48 x 32 x 32 voxels of 2 mm in tiles 16 apart; a classifier takes one patch.
    assert content["patches"] == (1 if task == "classification" else 2)
    seconds = content["patch_seconds"]
    assert seconds["count"] >= 3
    assert 0 < seconds["min"] <= seconds["median"] <= seconds["max"]
    assert content["scan_backend"] == "torch"
    assert content["seconds"] == pytest.approx(sum(stage["seconds"] for stage in content["stages"]))
    assert not any(stage["estimated"] for stage in content["stages"])
    printed = capsys.readouterr().out
    assert all(stage["name"] in printed for stage in content["stages"])
    if task == "segmentation":
        expected = content["seconds"] + 7 * 2 * seconds["median"]
        assert content["seconds_mirrored"] == pytest.approx(expected)
        assert "--mirror (8 flips)" in printed
    else:
        assert content["seconds_mirrored"] is None


def test_a_volume_that_takes_too_long_is_estimated_from_its_first_tiles(package):
    speed = measure_speed(
        Engine("cpu", "torch"), package("segmentation", spacing=(1.0, 1.0, 1.0)), (64, 64, 64), (2, 2, 2), 0.5, 0.0
    )
    assert speed.tiles == 7**3
    assert 3 <= len(speed.tile_seconds) <= 4
    stages = {stage.name: stage for stage in speed.stages}
    assert [stage.estimated for stage in speed.stages] == [False, False, True, True]
    assert stages["Segmenting"].seconds == pytest.approx(7**3 * speed.median)


def test_a_volume_larger_than_the_memory_is_refused(package, capsys):
    model = str(package("segmentation").path)
    assert cli.main(["benchmark", "--model", model, "--size", "100000", "100000", "1000"]) == 1
    assert "--size" in capsys.readouterr().err


@pytest.mark.parametrize("options", [("--size", "0", "1", "1"), ("--spacing", "1", "nan", "1"), ("--threads", "0")])
def test_sizes_that_are_none_are_refused(options, capsys):
    with pytest.raises(SystemExit):
        cli.main(["benchmark", *options])
    assert "is not a" in capsys.readouterr().err
