"""How soon a browser shows the page of a batch with 2,000 cases, and whether it complains.

    pip install pyside6-essentials pyside6-webengine
    python Testing/Benchmarks/batch_page.py

The browser is Qt's (Chromium), without a window. The cases are made up: the sample's slice with noise, so that no
picture is like another.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from part import Check, Goal, Part, main, make_parser

from NNMambaLib.batch.plan import Plan, Step
from NNMambaLib.batch.record import THUMBNAIL_FILE
from NNMambaLib.batch.report_page import report_page
from NNMambaLib.export.thumbnail import jpeg, volume_thumbnail
from NNMambaLib.models.catalogue import sample_volume
from NNMambaLib.volumes.files import read_volume

_SHOWN = (
    "JSON.stringify([performance.getEntriesByType('paint')[0].startTime, document.querySelectorAll('article').length])"
)


def measure(options) -> Part:
    """Write the page, open it, and return what the browser says."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_text(_page(Path(folder), options.cases), encoding="utf-8")
        megabytes = page.stat().st_size / 1e6
        paint, shown, complaints = open_page(page, options.picture)
    return Part(
        "batch_page",
        "Batch: the page in a browser",
        "Qt's WebEngine, offscreen; first paint as the browser's own clock has it.",
        ["", ""],
        [["cases", str(options.cases)], ["page", f"{megabytes:.1f} MB"], ["first paint", f"{paint:.2f} s"]],
        [Goal("first paint", paint, 2.0, "s", at_most=True)],
        [
            Check("all cases are on the page", shown == options.cases),
            Check("the browser's console is empty", not complaints),
        ],
        complaints,
    )


def _page(output: Path, count: int) -> str:
    step = Step("", "segmentation", "brain-structures", {}, {"output": ".nii.gz"})
    plan = Plan(str(output), (step,)).with_models()
    chance, picture = np.random.default_rng(0), volume_thumbnail(read_volume(sample_volume()))
    rows = []
    for number in range(count):
        name, failed = f"sub-{number:04}", number % 97 == 5
        noisy = np.clip(picture + chance.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
        plan.case_folder(name).mkdir(parents=True)
        (plan.case_folder(name) / THUMBNAIL_FILE).write_bytes(jpeg(noisy))
        error = "The volume is empty: copy or export it again." if failed else ""
        doubt = None if failed else float(chance.random())
        rows.append(
            {"case": name, "status": "failed" if failed else "done", "error": error, "notices": "", "doubt": doubt}
        )
    return report_page(plan, rows)


def open_page(page: Path, picture: Path | None) -> tuple[float, int, list[str]]:
    """Return the seconds to the first paint, the cases that are shown, and what the console says."""
    os.environ |= {"QT_QPA_PLATFORM": "offscreen", "QTWEBENGINE_CHROMIUM_FLAGS": "--disable-gpu --no-sandbox"}
    from PySide6.QtCore import QTimer, QUrl
    from PySide6.QtWebEngineCore import QWebEnginePage
    from PySide6.QtWebEngineWidgets import QWebEngineView
    from PySide6.QtWidgets import QApplication

    said, found = [], []

    class Listening(QWebEnginePage):
        def javaScriptConsoleMessage(self, level, message, line, source):
            said.append(message)

    application = QApplication(sys.argv[:1])
    view = QWebEngineView()
    view.setPage(Listening(view))
    view.resize(1280, 800)

    def shown(answer: str) -> None:
        found.extend(json.loads(answer))
        if picture is not None:
            view.grab().save(str(picture))
        application.quit()

    view.loadFinished.connect(lambda _: QTimer.singleShot(1500, lambda: view.page().runJavaScript(_SHOWN, shown)))
    view.load(QUrl.fromLocalFile(str(page)))
    view.show()
    QTimer.singleShot(60_000, application.quit)
    application.exec()
    if not found:
        raise SystemExit("The page was not shown within a minute.")
    return found[0] / 1000, found[1], said


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--picture", type=Path, metavar="FILE", help="also save what is shown, as PNG")
    sys.exit(main(parser.parse_args(), measure))
