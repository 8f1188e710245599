"""The former name of `NNMambaLib.volumes.volume`, for scripts of version 0.1; it goes with version 0.3."""

import warnings

from NNMambaLib.volumes.volume import Grid, Volume

__all__ = ["Grid", "Volume"]

warnings.warn("NNMambaLib.volume is now NNMambaLib.volumes.volume", DeprecationWarning, stacklevel=2)
