"""The README's pictures of the panels: each panel beside four views, with the bundled models on the sample volume.

    python Documentation/Scripts/screenshots.py [--output Documentation] [NAME ...]

Runs the panels in the host (Testing/SlicerHost), which is not Slicer; it needs the extras fast, scene and test.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

_CHECKOUT = Path(__file__).parents[2]
sys.path[:0] = [str(_CHECKOUT / "NNMamba"), str(_CHECKOUT / "Testing" / "SlicerHost")]

from slicer_host import SlicerHost  # noqa: E402

SECONDS = 600
SIZE = (1500, 940)


def sample_node(host: SlicerHost):
    """Return a node with the sample volume, shown in all slice views."""
    import slicer

    from NNMambaLib import scene
    from NNMambaLib.models.catalogue import sample_volume
    from NNMambaLib.volumes.files import read_volume

    node = scene.add_volume(host.scene, read_volume(sample_volume()), "Sample head T1")
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    return node


def apply(host: SlicerHost, widget) -> None:
    panel = widget.lifecycle.panel
    panel.ui.applyButton.click()
    host.wait(lambda: not panel.running, SECONDS)


def segment(host: SlicerHost) -> None:
    import slicer

    sample_node(host)
    widget = host.open("NNMambaSegment")
    apply(host, widget)
    node = widget.lifecycle.panel.ui.outputSelector.currentNode()
    node.CreateClosedSurfaceRepresentation()
    # The head hides what is in it.
    display = node.GetDisplayNode()
    for name, opacity in (("other_head", 0.1), ("cerebral_cortex", 0.25), ("cerebral_white_matter", 0.25)):
        display.SetSegmentOpacity3D(name, opacity)
    display.SetSegmentVisibility3D("cerebrospinal_fluid", False)
    _look_at_the_middle(slicer)


def landmarks(host: SlicerHost) -> None:
    import slicer

    sample_node(host)
    widget = host.open("NNMambaLandmarks")
    apply(host, widget)
    _look_at_the_middle(slicer)
    widget.lifecycle.panel.ui.reviewTable.selectRow(0)


def classify(host: SlicerHost) -> None:
    import slicer

    sample_node(host)
    widget = host.open("NNMambaClassify")
    ui = widget.lifecycle.panel.ui
    ui.explainCheckBox.checked = True
    ui.questionComboBox.currentIndex = ui.questionComboBox.count - 1
    apply(host, widget)
    _look_at_the_middle(slicer)


def hub(host: SlicerHost) -> None:
    import slicer

    sample_node(host)
    widget = host.open("NNMamba")
    host.wait(lambda: widget.panel.ui.machineTable.rowCount > 0, SECONDS)
    _look_at_the_middle(slicer)


PICTURES: dict[str, Callable[[SlicerHost], None]] = {
    "panel-segment": segment,
    "panel-landmarks": landmarks,
    "panel-classify": classify,
    "panel-hub": hub,
}


def _look_at_the_middle(slicer) -> None:
    view = slicer.app.layoutManager().threeDWidget(0).threeDView()
    view.resetFocalPoint()
    view.resetCamera()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}; all by default")
    parser.add_argument("--output", type=Path, default=_CHECKOUT / "Documentation")
    options = parser.parse_args()
    for name in options.names or PICTURES:
        with SlicerHost() as host:
            PICTURES[name](host)
            path = options.output / f"{name}.png"
            host.screenshot(path, size=SIZE)
            print(f"Wrote {path}.")


if __name__ == "__main__":
    main()
