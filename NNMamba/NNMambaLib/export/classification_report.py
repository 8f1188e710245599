"""A classification as one HTML page that holds its pictures and loads nothing from elsewhere."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from NNMambaLib.export.explanation_picture import (
    AGAINST_COLOR,
    FOR_COLOR,
    color_limit,
    png,
    slice_pictures,
    strongest,
)
from NNMambaLib.export.slices import View
from NNMambaLib.files import write_text
from NNMambaLib.results import ClassificationResult, Explanation, Prediction, Provenance
from NNMambaLib.volumes.volume import Volume

_STYLE = """
body { font: 15px/1.45 sans-serif; color: #1c1e22; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.research { border: 2px solid #8a5a00; background: #fff4dc; padding: .6rem 1rem; font-weight: bold; }
.slices { display: flex; flex-wrap: wrap; gap: .6rem; }
.slice { position: relative; margin: 0; background: #000; color: #fff; }
.slice img { display: block; }
.slice span { position: absolute; text-shadow: 0 0 3px #000, 0 0 3px #000; font-weight: bold; }
.left { left: .3rem; top: 50%; } .right { right: .3rem; top: 50%; }
.top { left: 50%; top: .2rem; } .bottom { left: 50%; bottom: .2rem; } .name { left: .3rem; top: .2rem; }
.key { display: inline-block; width: 1em; height: .8em; border: 1px solid #555; }
table { border-collapse: collapse; } caption { text-align: left; font-weight: bold; padding: .4rem 0; }
th, td { text-align: left; padding: .2rem 1rem .2rem 0; border-bottom: 1px solid #d5d8de; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
td.bar { width: 16rem; } td.bar div { background: #0072b2; height: .8rem; }
td.digest { overflow-wrap: anywhere; }
@media print { body { margin: 0; } .slices, table { break-inside: avoid; } }
"""
# The page must not fetch or run anything when it is opened, whatever a name in it says.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_report(path: str | Path, result: ClassificationResult, volume: Volume) -> Path:
    """Write the page of a volume's classification, over an existing file; it appears whole or not at all.

    Args:
        volume: the (first) volume that was classified. Its name is the only text on the page that may come from the
            patient's data.

    Raises:
        OutputError: if the file cannot be written.
    """
    path = Path(path)
    content = report_html(result, volume)
    write_text(content, path)
    return path


def report_html(result: ClassificationResult, volume: Volume) -> str:
    """Return the text of the page; see `write_report`."""
    pictures = slice_pictures(volume, result.explanation)
    title = f"Classification of {volume.name}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="research">{escape(result.research_use)}</p>',
        "<h2>Answers</h2>",
        *(_answer(prediction) for prediction in result.predictions),
        f"<h2>{'Explanation' if result.explanation else 'Volume'}</h2>",
        f'<div class="slices">{"".join(_slice(picture) for picture in pictures)}</div>',
        _legend(result.explanation),
        "<h2>Where this comes from</h2>",
        _provenance(result.provenance),
        _notices(result.provenance.notices),
        "<p>This page names the volume as it was named when the page was made. It holds no other data of the patient "
        "than the slices shown.</p>",
        f'<p class="research">{escape(result.research_use)}</p>',
    ]
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _answer(prediction: Prediction) -> str:
    rows = [
        f'<tr><th scope="row">{escape(name)}</th><td class="number">{100 * probability:.1f} %</td>'
        f'<td class="bar"><div style="width: {100 * probability:.1f}%"></div></td>'
        f"<td>{'predicted' if name == prediction.predicted else ''}</td></tr>"
        for name, probability in prediction.probabilities.items()
    ]
    head = '<tr><th scope="col">Class</th><th scope="col">Probability</th><td></td><td></td></tr>'
    return f"<table><caption>{escape(prediction.target)}</caption>{head}{''.join(rows)}</table>"


def _slice(picture: View) -> str:
    data = base64.b64encode(png(picture.pixels)).decode("ascii")
    letters = "".join(
        f'<span class="{edge}">{letter}</span>'
        for edge, letter in zip(("left", "right", "top", "bottom"), picture.letters, strict=True)
    )
    height, width, _ = picture.pixels.shape
    return (
        f'<figure class="slice"><img src="data:image/png;base64,{data}" width="{width}" height="{height}" '
        f'alt="{picture.name} slice"><span class="name">{picture.name}</span>{letters}</figure>'
    )


def _legend(explanation: Explanation | None) -> str:
    if explanation is None:
        return "<p>Slices through the centre of the volume.</p>"
    limit, found = color_limit(explanation), strongest(explanation)
    keys = [f'<span class="key" style="background: {_css(color)}"></span>' for color in (FOR_COLOR, AGAINST_COLOR)]
    answer, question = escape(explanation.predicted), escape(explanation.target)
    if found is None:
        where = "No region matters by itself; the slices go through the centre of the volume."
    else:
        change = f"{'falls' if found[0] > 0 else 'rises'} by {abs(found[0]):.4f}"
        where = f"The slices meet where it changes most: there it {change}."
    return (
        f"<p>Which regions speak for the answer “{answer}” to “{question}”: by how much its probability falls when a "
        "region is hidden, averaged over the regions around each place (occlusion: Zeiler and Fergus, ECCV 2014). "
        f"{where} Where several regions tell the same, hiding one of them changes little.</p>"
        f"<p>{keys[0]} Orange speaks for the answer, {keys[1]} blue against it; full colour is a change of "
        f"{limit:.3f}, no colour is none.</p>"
    )


def _provenance(provenance: Provenance) -> str:
    rows = {
        "Model": provenance.model,
        "Version of the model": provenance.model_version,
        "Licence of the model": provenance.licence or "not stated",
        "SHA-256 of its weights": provenance.weights_sha256,
        "Version of NNMamba": provenance.engine_version,
        "Device": provenance.device,
        "Selective scan": provenance.scan_backend,
        "Options": json.dumps(provenance.options, ensure_ascii=False, default=str) if provenance.options else "none",
        "Classified": provenance.started,
        "Seconds": f"{provenance.seconds.get('total', 0.0):.1f}",
        "Page made": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    cells = (
        f'<tr><th scope="row">{escape(name)}</th><td class="digest">{escape(value)}</td></tr>'
        for name, value in rows.items()
    )
    return f"<table>{''.join(cells)}</table>"


def _notices(notices: tuple[str, ...]) -> str:
    if not notices:
        return "<p>The model ran as asked for, on the volume as it is.</p>"
    entries = "".join(f"<li>{escape(notice)}</li>" for notice in notices)
    return f"<p>How the run departed from what was asked for:</p><ul>{entries}</ul>"


def _css(color: tuple[float, float, float]) -> str:
    return "rgb({}, {}, {})".format(*(round(255 * part) for part in color))
