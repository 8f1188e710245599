"""The former name of `NNMambaLib.volumes.files`, for scripts of version 0.1; it goes with version 0.3."""

import warnings

from NNMambaLib.volumes.files import read_volume, write_volume

__all__ = ["read_volume", "write_volume"]

warnings.warn("NNMambaLib.volume_io is now NNMambaLib.volumes.files", DeprecationWarning, stacklevel=2)
