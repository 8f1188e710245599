"""Tables in CSV."""

from __future__ import annotations

from pathlib import Path

from NNMambaLib.evaluation.cases import case_rows


def seeds(folder: Path) -> None:
    """Write a table with plain and quoted cells."""
    (folder / "0").mkdir()
    (folder / "0" / "classes.csv").write_text('case,sex,age\nsub-1,F,61\n"sub-2","M","72"\n', encoding="utf-8")


def feed(folder: Path) -> None:
    """Read the rows."""
    case_rows(folder / "classes.csv")
