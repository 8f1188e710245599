"""A host for the panels of Slicer's scripted modules, without Slicer and without a screen; see README.md."""

from slicer_host.dialogs import UnexpectedDialogError
from slicer_host.host import SlicerHost

__all__ = ["SlicerHost", "UnexpectedDialogError"]
