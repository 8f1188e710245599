"""What a process may take of memory: the machine's, its container's (cgroup 1 and 2) and ulimit's limits are seen."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import NNMambaLib
from NNMambaLib import cli
from NNMambaLib.engine import Engine
from NNMambaLib.runtime.memory import free_memory
from NNMambaLib.runtime.units import format_bytes
from NNMambaLib.support.random_package import random_manifest, write_random_package
from NNMambaLib.volumes.files import write_volume
from NNMambaLib.volumes.volume import Volume

MIB = 2**20


def write_group(folder, limit, usage, cached, version):
    """Write the files of a control group."""
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in zip(names, (limit, usage), strict=True):
        (folder / name).write_text(f"{value}\n", encoding="ascii")
    key = "inactive_file" if version == 2 else "total_inactive_file"
    (folder / "memory.stat").write_text(f"anon 5\n{key} {cached}\n", encoding="ascii")


@pytest.fixture
def system(tmp_path):
    """Return a function that makes a system whose process is in a control group, and the group's folder there."""

    def make(version, group, line=None):
        line = line or (f"0::{group}" if version == 2 else f"9:cpu,cpuacct:/elsewhere\n4:memory:{group}")
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(line + "\n", encoding="ascii")
        mount = tmp_path / ("sys/fs/cgroup" if version == 2 else "sys/fs/cgroup/memory")
        return tmp_path, mount, mount / group.strip("/")

    return make


@pytest.mark.parametrize("version", [1, 2])
def test_a_containers_limit_is_seen_and_files_in_the_cache_count_as_free(system, version):
    root, _, group = system(version, "/docker/abc")
    write_group(group, limit=100 * MIB, usage=70 * MIB, cached=20 * MIB, version=version)
    free = free_memory(root)
    assert free.bytes == 50 * MIB
    assert free.limit == "left of the container's limit (cgroup)"


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_a_group_above_counts_too(system, version):
    root, mount, group = system(version, "/slurm/job_1/step_0")
    unlimited = "max" if version == 2 else 9223372036854771712
    write_group(group, unlimited, 10 * MIB, 0, version)
    write_group(mount / "slurm/job_1", 40 * MIB, 15 * MIB, 0, version)
    write_group(mount / "slurm", 90 * MIB, 15 * MIB, 0, version)
    assert free_memory(root).bytes == 25 * MIB


@pytest.mark.parametrize("version", [1, 2])
def test_in_a_container_the_mount_itself_is_the_group(system, version):
    root, mount, _ = system(version, "/docker/only/outside/known")
    write_group(mount, 30 * MIB, 30 * MIB, 0, version)
    assert free_memory(root).bytes == 0


@pytest.mark.parametrize("line", ["0::/", "4:memory:/a\n0::/", "nonsense", ""])
def test_without_a_limit_it_is_what_the_machine_has(system, line):
    root, _, _ = system(2, "/", line)
    free = free_memory(root)
    assert free.bytes > 100 * MIB


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no ulimit")
def test_the_address_space_is_a_limit():
    code = (
        "import resource, psutil\n"
        "from NNMambaLib.runtime.memory import free_memory\n"
        f"resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 64 * {MIB},) * 2)\n"
        "free = free_memory()\n"
        "print(free.bytes, free.limit)\n"
    )
    environment = {"PYTHONPATH": str(Path(NNMambaLib.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    number, limit = done.stdout.strip().split(" ", 1)
    assert 32 * MIB < int(number) <= 64 * MIB
    assert limit == "left of the address space (ulimit -v)"


def test_the_command_announces_the_way_that_will_run_and_what_limits_it(tmp_path, capsys):
    phantom = Volume(np.random.default_rng(0).normal(size=(1, 70, 66, 64)).astype(np.float32), np.eye(4))
    package = write_random_package(
        tmp_path / "model", random_manifest("segmentation", base_width=4, patch=(64, 64, 64))
    )
    write_volume(phantom, tmp_path / "volume.nrrd")
    need = Engine("cpu", "torch").estimate_memory(phantom, package)
    limit = (need.total - 1) / 2**30
    command = ["segment", str(tmp_path / "volume.nrrd"), "--model", str(package.path), "--device", "cpu"]
    command += ["--pad-small", "--output", str(tmp_path / "labels.nrrd"), "--memory-limit", str(limit)]
    assert cli.main(command) == 0
    said = capsys.readouterr().err
    smaller = Engine("cpu", "torch", need.total - 1).estimate_memory(phantom, package)
    assert smaller.total < need.total
    assert f"Needs about {format_bytes(smaller.total)} of memory; " in said
    assert "can be used (the limit that was given)" in said
    assert "Note: patch reduced from 64x64x64 to " in said
