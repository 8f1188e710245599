"""The machine-readable report of a command (``--json FILE``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from NNMambaLib.output import atomic_file


def write_json(content: Any, path: str | Path) -> None:
    """Write JSON; the file appears whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
