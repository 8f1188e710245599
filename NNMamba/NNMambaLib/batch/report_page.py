"""All cases of a batch on one HTML page that holds its pictures and loads nothing from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from NNMambaLib.batch.plan import CASES_FOLDER, Plan
from NNMambaLib.batch.record import RECORD_FILE, THUMBNAIL_FILE, State
from NNMambaLib.results import RESEARCH_USE

REPORT_FILE = "report.html"

# Larger pictures than ours are not taken in.
_MAX_PICTURE_BYTES = 64 * 2**10
# The page must not fetch or run anything when it is opened, whatever a name in it says.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
body { font: 14px/1.4 sans-serif; color: #1c1e22; margin: 1.5rem; }
h1 { font-size: 1.4rem; }
.research { border: 2px solid #8a5a00; background: #fff4dc; padding: .5rem 1rem; font-weight: bold; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(24rem, 1fr)); gap: .6rem; }
article { display: flex; gap: .7rem; border: 1px solid #c9ccd3; padding: .5rem; content-visibility: auto;
  contain-intrinsic-size: auto 24rem auto 8.5rem; overflow-wrap: anywhere; }
article.failed { border-left: .5rem solid #b3261e; }
article.missing, article.changed { border-left: .5rem solid #8a5a00; }
article img, article .none { width: 7rem; height: 7rem; object-fit: contain; background: #000; flex: none; }
h2 { font-size: 1rem; margin: 0 0 .2rem; } p { margin: .15rem 0; }
.notice { color: #6b4700; } .error { color: #8c1d18; }
@media print { article { break-inside: avoid; } }
"""


def report_page(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of the page: failures first, then by doubt.

    Args:
        rows: a case each, as in the summary.
    """
    counts = {state.value: sum(row["status"] == state.value for row in rows) for state in State}
    models = ", ".join(f"{model['name']} {model['version']}" for model in plan.models.values())
    title = f"{len(rows)} cases, {models}"
    known = [row for row in rows if row["doubt"] is not None]
    order = sorted(rows, key=lambda row: (row["status"] == State.DONE.value, -(row["doubt"] or 0), row["case"]))
    sorting = "Failed cases come first, then the most doubtful."
    if not known and counts[State.DONE.value]:
        sorting = "Failed cases come first. Nothing tells how doubtful the others are: add --uncertainty to sort by it."
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="research">{escape(RESEARCH_USE)}</p>',
        f"<p>{', '.join(f'{count} {name}' for name, count in counts.items())}. {escape(sorting)} This page names the "
        "cases and shows a slice of each.</p>",
        "<main>",
        *(_article(plan, row) for row in order),
        "</main>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _article(plan: Plan, row: Mapping[str, Any]) -> str:
    done = row["status"] == State.DONE.value
    lines = [f"<h2>{escape(row['case'])}</h2>"]
    if not done:
        lines.append(f'<p class="error">{escape(row["status"])}: {escape(row["error"])}</p>')
    if row["doubt"] is not None:
        lines.append(f"<p>doubt {row['doubt']:.3f}</p>")
    if row["notices"]:
        lines.append(f'<p class="notice">{escape(row["notices"])}</p>')
    links = [*(plan.output_paths(row["case"]) if done else ()), f"{CASES_FOLDER}/{row['case']}/{RECORD_FILE}"]
    lines.append(f"<p>{' '.join(_link(path) for path in links)}</p>")
    picture = _picture(plan, row) if done else ""
    return f'<article class="{escape(row["status"])}">{picture}<div>{"".join(lines)}</div></article>'


def _link(path: str) -> str:
    return f'<a href="{escape(quote(path))}">{escape(path)}</a>'


def _picture(plan: Plan, row: Mapping[str, Any]) -> str:
    path = plan.case_folder(row["case"]) / THUMBNAIL_FILE
    content = _read(path)
    if content is None:
        return '<div class="none"></div>'
    data = base64.b64encode(content).decode("ascii")
    name = escape(row["case"])
    return f'<img loading="lazy" decoding="async" alt="A slice of {name}" src="data:image/jpeg;base64,{data}">'


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_PICTURE_BYTES + 1)
    except OSError:
        return None
    return content if len(content) <= _MAX_PICTURE_BYTES else None
