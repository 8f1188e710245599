"""Draw the thumbnail of the bundled sample volume, as Slicer's module Sample Data shows it.

    python Documentation/Scripts/sample_thumbnail.py FILE.png

It needs the extra scene.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from NNMambaLib.export.four_views import write_png
from NNMambaLib.files import check_writable
from NNMambaLib.models.catalogue import sample_volume
from NNMambaLib.scene.headless import headless_application
from NNMambaLib.scene.rendering import add_slice, draw_slice, render_window_class
from NNMambaLib.scene.volumes import add_volume
from NNMambaLib.volumes.files import read_volume
from NNMambaLib.volumes.volume import LPS_TO_RAS, Volume

# Width and height in pixels that Slicer asks for.
SIZE = (260, 280)
_MARGIN = 1.06
# Share of the voxels' maximum that air stays below, and percentile of the voxels that is shown white.
_AIR, _WHITE = 0.15, 99.5


def write_thumbnail(path: str | Path) -> None:
    """Write a coronal slice through the middle of the sample volume as a PNG.

    Raises:
        OutputError: if the file exists or cannot be written, or there is nothing to draw with.
    """
    path = check_writable(path)
    render_window_class()
    with headless_application() as application:
        volume = read_volume(sample_volume())
        node = add_volume(application.GetMRMLScene(), volume)
        node.GetDisplayNode().AutoWindowLevelOff()
        node.GetDisplayNode().SetWindowLevelMinMax(0, np.percentile(volume.array, _WHITE))
        low, high = _head(volume)
        logic = add_slice(application, "Coronal", node, (low + high) / 2, _MARGIN * (high - low)[[0, 2]], SIZE)
        write_png(draw_slice(application, logic), path)


def _head(volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and greatest RAS coordinates in mm of what is no air."""
    indices = np.argwhere(volume.array[0] > _AIR * volume.array.max())[:, ::-1]
    lps = indices @ volume.matrix[:3, :3].T + volume.matrix[:3, 3]
    # The nose and the like are few voxels.
    low, high = np.percentile(lps @ LPS_TO_RAS[:3, :3], (0.2, 99.8), axis=0)
    return low, high


def main() -> None:
    """Write the thumbnail to the file that the command line names."""
    parser = argparse.ArgumentParser(description="Draw the thumbnail of the bundled sample volume.")
    parser.add_argument("output", metavar="FILE.png")
    write_thumbnail(parser.parse_args().output)


if __name__ == "__main__":
    main()
