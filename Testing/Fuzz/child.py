"""The process that takes the inputs, thousands one after the other: a line of JSON in for each, and one out."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import shutil
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import psutil

from mutation import mutate


def main(sandbox: Path) -> None:
    """Answer the requests on standard input; everything is written below the sandbox alone."""
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    seeds: dict[str, list[Path]] = {}
    for line in sys.stdin:
        request = json.loads(line)
        name = request["family"]
        family = importlib.import_module(request["module"])
        if name not in seeds:
            (sandbox / "seeds" / name).mkdir(parents=True)
            family.seeds(sandbox / "seeds" / name)
            seeds[name] = sorted((sandbox / "seeds" / name).iterdir())
            # Each seed is what its reader takes; changes of what it refuses would try nothing.
            for seed in seeds[name]:
                _copy(seed, sandbox / "input")
                family.feed(sandbox / "input")
        _copy(seeds[name][request["number"] % len(seeds[name])], sandbox / "input")
        generator = random.Random(f"{request['seed']} {name} {request['number']}")
        _change(sandbox / "input", generator, getattr(family, "changeable", lambda name: True))
        answers.write(json.dumps({"event": "begun"}) + "\n")
        answers.write(json.dumps({"event": "done", **_try(family, sandbox)}) + "\n")


def peak_bytes() -> int:
    """Return the most memory that this process has held."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    if sys.platform == "linux":
        # Unlike getrusage, without the memory of the process that started this one.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _copy(seed: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(seed, folder)


def _change(folder: Path, generator: random.Random, changeable) -> None:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and changeable(path.name))
    path = generator.choice(paths)
    path.write_bytes(mutate(path.read_bytes(), generator))


def _try(family, sandbox: Path) -> dict:
    from NNMambaLib.errors import NNMambaError

    before, fault = _files(sandbox), None
    outcome = "read"
    try:
        family.feed(sandbox / "input")
    except NNMambaError:
        outcome = "refused"
    except Exception:
        outcome, fault = "traceback", traceback.format_exc()
    if outcome != "traceback":
        after = _files(sandbox)
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        if changed:
            outcome, fault = "leftover", "Left behind or changed: " + ", ".join(changed)
    for name in ("temporary", "models"):
        shutil.rmtree(sandbox / name, ignore_errors=True)
        if name == "temporary":
            (sandbox / name).mkdir()
    return {"outcome": outcome, "fault": fault, "peak": peak_bytes()}


def _files(sandbox: Path) -> dict[str, str]:
    """Return what is in the input's, the temporary and the models' folder, by its digest."""
    return {
        path.relative_to(sandbox).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for name in ("input", "temporary", "models")
        for path in (sandbox / name).rglob("*")
        if path.is_file()
    }


if __name__ == "__main__":
    tempfile.tempdir = os.environ["TMPDIR"]
    main(Path(sys.argv[1]))
