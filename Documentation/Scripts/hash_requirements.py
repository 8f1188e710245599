"""Write the hashes of everything that the README's two commands install, for ``pip install --require-hashes``.

    python Documentation/Scripts/hash_requirements.py

Versions are those of `constraints.txt`, and where it has none, those of the files that are replaced; hashes are those
of the index that uv asks, of all platforms' files. It needs uv (pip install uv) and the internet. After a change of
`constraints.txt` or of the dependencies in `pyproject.toml`, run it and commit what it wrote.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The extras of each of the README's commands, by the file that has their hashes.
EXTRAS = {
    "requirements-demo.txt": ("fast", "scene"),
    "requirements-test.txt": ("brain-models", "evaluate", "fast", "scene", "test", "train"),
}
_OLDEST_PYTHON = "3.11"
_HEADER = """\
# What pip install "nnmamba[{extras}]" installs, with the hashes of the index's files.
# Written by Documentation/Scripts/hash_requirements.py from constraints.txt: run it rather than edit this.
"""


def hashed_requirements(extras: tuple[str, ...], before: Path) -> str:
    """Return what the project, built in the same environment, needs with these extras.

    Args:
        before: a file of such requirements, whose versions are kept where constraints.txt has none.

    Raises:
        subprocess.CalledProcessError: if the versions do not fit each other, or the index cannot be asked.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / before.name
        if before.exists():
            shutil.copyfile(before, output)
        command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", _OLDEST_PYTHON]
        command += ["--generate-hashes", "--no-header", "--no-annotate", "--constraint", str(ROOT / "constraints.txt")]
        command += [f"--extra={extra}" for extra in extras]
        # What builds the project is hashed too: without it, pip would fetch it by itself.
        build = Path(folder) / "build.in"
        build.write_text("setuptools\n", encoding="utf-8")
        command += [str(ROOT / "pyproject.toml"), str(build), "--output-file", str(output)]
        subprocess.run(command, check=True)
        return output.read_text(encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Run the command that the module's docstring describes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT, help="folder to write to (default: the repository)")
    options = parser.parse_args(arguments)
    if shutil.which("uv") is None:
        sys.exit("uv is missing: pip install uv.")
    for name, extras in EXTRAS.items():
        text = hashed_requirements(extras, ROOT / name)
        (options.output / name).write_text(_HEADER.format(extras=",".join(extras)) + text, encoding="utf-8")


if __name__ == "__main__":
    main()
