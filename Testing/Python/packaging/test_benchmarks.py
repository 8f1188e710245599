"""What the benchmarks share: times, goals, parts and the report, and the plain networks they are measured against."""

import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from helpers.perturbed_networks import perturbed_network

BENCHMARKS = Path(__file__).parents[2] / "Benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    """Make the benchmarks' modules importable, as they are when one of them is started."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def part():
    """Return a function that makes a part with goals that are met and not met."""
    from part import Check, Goal, Part

    def make(name="scan", **changes):
        goals = [Goal("speed", 9.96, 10, "times"), Goal("memory", 3.0, 3.0, "GiB", at_most=True)]
        content = {
            "goals": goals,
            "checks": [Check("outputs agree", True)],
            "notes": ["a note"],
            "machine": "a machine",
        }
        return Part(name, f"Title of {name}", "How.", ["form", "seconds"], [["ours", "1.0"]], **(content | changes))

    return make


def test_contestants_take_turns_and_only_their_last_outputs_are_kept():
    from measure import Contestant, take_times

    calls = []

    @contextmanager
    def kept():
        calls.append("enter")
        yield
        calls.append("leave")

    def run(name, seconds=0.0):
        def work():
            calls.append(name)
            time.sleep(seconds)
            return len(calls)

        return work

    times, outputs = take_times(
        {
            "a": Contestant(run("a", 0.01)),
            "b": Contestant(run("b"), warm_up=run("small"), context=kept),
            "c": Contestant(run("c"), repeats=1),
        },
        repeats=2,
    )
    round_of = ["a", "enter", "b", "b", "leave"]
    assert calls == ["a", "small", "c", *round_of, "c", *round_of]
    assert {name: len(taken.seconds) for name, taken in times.items()} == {"a": 2, "b": 2, "c": 1}
    assert times["a"].median >= 0.01
    assert outputs == {"a": 10, "b": 13, "c": 9}


@pytest.mark.skipif(sys.platform != "linux", reason="an earlier peak can be forgotten on Linux alone")
def test_extra_memory_is_that_of_the_work():
    from measure import extra_memory

    bytes_of_work = 64 * 2**20
    assert 0.9 < extra_memory(lambda: torch.ones(bytes_of_work // 4)) / bytes_of_work < 1.5


def test_goals_are_judged_as_they_are_measured_and_not_as_they_are_rounded(part):
    from part import goals_table

    speed, memory = part().goals
    assert goals_table([speed, memory])[2:] == [
        "| speed | 10.0 times | at least 10.0 times | **not met** |",
        "| memory | 3 GiB | at most 3 GiB | met |",
    ]


def test_a_part_is_the_same_after_it_was_written_and_read(part, tmp_path):
    from part import Part

    part().write(tmp_path / "folder" / "scan.json")
    assert Part.read(tmp_path / "folder" / "scan.json") == part()


def test_report_holds_all_that_was_measured_and_names_what_was_not(part, tmp_path):
    from part import Check
    from report import PARTS, write_report

    curve = {"sizes": [1, 2, 4], "seconds": [0.1, 0.2, 0.4], "slope": 1.0, "unit": "voxels"}
    part().write(tmp_path / "scan.json")
    part("linearity", data={"a": curve, "b": curve | {"unit": "tokens"}}, checks=[Check("outputs agree", False)]).write(
        tmp_path / "linearity.json"
    )
    text, picture = write_report(tmp_path, tmp_path)
    assert picture.read_bytes().startswith(b"\x89PNG")
    content = text.read_text(encoding="utf-8")
    assert content.index("Title of scan") < content.index("Title of linearity") < content.index(picture.name)
    assert content.count("| speed |") == 2
    assert "outputs agree: **NO**" in content
    missing = [name for name in PARTS if name not in ("scan", "linearity")]
    assert f"Not measured: {', '.join(missing)}." in content


@pytest.mark.parametrize(("variant", "outputs"), [("SEG-CSS", 5), ("CLS", 2)])
def test_plain_networks_compute_what_the_project_does(variant, outputs):
    from forms import FORMS, available_forms, random_volume

    x = random_volume((32, 16, 48), channels=2)
    with torch.no_grad():
        expected = perturbed_network(variant, 2, outputs, base_width=16).double()(x.double())
        for form in available_forms(FORMS)[0]:
            output = form.build(variant, 2, outputs, width=16)(x)
            assert (output - expected).abs().max() < 2e-5 * expected.abs().max(), form.name


def test_scans_compute_the_same():
    from scan import LOOP, Inputs, prepare, scans

    inputs = Inputs(batch=1, length=70, channels=24, states=4)
    expected = prepare(LOOP, inputs)()
    for name in scans()[0]:
        torch.testing.assert_close(prepare(name, inputs)(), expected, rtol=1e-4, atol=1e-5)


def test_a_peer_that_is_not_installed_is_named():
    from peer_networks import Peer

    missing = Peer("a peer", "no_such_package", torch.nn.Identity).missing
    assert missing == "no_such_package is not installed (extra benchmark)"


def test_slope_is_the_exponent():
    from linearity import slope

    assert slope([1, 2, 4, 8], [3 * size**1.5 for size in (1, 2, 4, 8)]) == pytest.approx(1.5)


@pytest.mark.slow
def test_every_part_is_measured_once_and_then_left(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "run_all.py"), "--quick", "--only", "scan", "--results", str(tmp_path)]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(2))
    assert "## The selective scan alone" in first.stdout
    assert "measured already" in second.stdout
    assert (tmp_path / "benchmarks.md").read_text(encoding="utf-8").count("## ") == 1
