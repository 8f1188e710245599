"""The former name of `NNMambaLib.export.segmentation_file`, for scripts of version 0.1; it goes with version 0.3."""

import warnings

from NNMambaLib.export.segmentation_file import write_segmentation

__all__ = ["write_segmentation"]

warnings.warn(
    "NNMambaLib.segmentation_file is now NNMambaLib.export.segmentation_file", DeprecationWarning, stacklevel=2
)
