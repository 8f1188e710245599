"""MRML scenes outside the Slicer application, on Slicer's own libraries (the package slicer-core)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from NNMambaLib.errors import OutputError, VolumeError
from NNMambaLib.files import atomic_file
from NNMambaLib.runtime.leftovers import PLAIN, temporary_prefix

if TYPE_CHECKING:
    import slicer

# The logics of the nodes that the library reads and writes. That of terminologies would look for vocabulary files,
# which only the application has; terminology entries are kept as text and need none.
_MODULE_LOGICS = {
    "Volumes": "vtkSlicerVolumesLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Tables": "vtkSlicerTablesLogic",
}


@contextmanager
def headless_scene() -> Iterator[slicer.vtkMRMLScene]:
    """Give an empty scene with the logics of volumes, segmentations, markups and tables; clear it at the end.

    Nodes must not be used after the block.

    Raises:
        OutputError: if Slicer's libraries are not installed.
    """
    with headless_application() as application:
        yield application.GetMRMLScene()


@contextmanager
def headless_application() -> Iterator[slicer.vtkSlicerApplicationLogic]:
    """Give the application logic of a scene like that of `headless_scene`."""
    slicer = slicer_libraries()
    import vtk

    with tempfile.TemporaryDirectory(prefix=temporary_prefix(PLAIN)) as folder:
        scene = slicer.vtkMRMLScene()
        application = slicer.vtkSlicerApplicationLogic()
        application.SetTemporaryPath(folder)
        # The libraries come without Slicer's folders, and the colour logic warns of unset paths.
        application.SetHomeDirectory(folder)
        application.SetShareDirectory(folder)
        application.SetMRMLScene(scene)
        remote_io = slicer.vtkMRMLRemoteIOLogic()
        remote_io.GetCacheManager().SetRemoteCacheDirectory(folder)
        data_io = slicer.vtkDataIOManagerLogic()
        logics = []  # the application does not keep them alive
        remote_io.SetMRMLApplicationLogic(application)
        remote_io.SetMRMLScene(scene)
        application.SetMRMLSceneDataIO(scene, remote_io, data_io)
        for module, class_name in _MODULE_LOGICS.items():
            logic = getattr(slicer, class_name)()
            logic.SetMRMLApplicationLogic(application)
            application.SetModuleLogic(module, logic)
            logic.SetMRMLScene(scene)
            logics.append(logic)
        application.GetColorLogic().SetMRMLScene(scene)
        application.GetColorLogic().AddDefaultColorNodes()
        slice_logics = vtk.vtkCollection()
        application.SetSliceLogics(slice_logics)
        try:
            yield application
        finally:
            scene.Clear(True)


def write_mrb(scene: slicer.vtkMRMLScene, path: str | Path) -> None:
    """Write a scene with all its data to a ``.mrb`` file, which appears complete or not at all.

    Nodes without a storage node get one.

    Raises:
        OutputError: if the path does not end in ``.mrb``, or a node or the file cannot be written.
    """
    slicer = slicer_libraries()
    path = Path(path)
    if path.suffix.lower() != ".mrb":
        raise OutputError(f"{path} is not named as a scene bundle: end it in .mrb.")
    with (
        atomic_file(path) as temporary,
        tempfile.TemporaryDirectory(prefix=temporary_prefix(), dir=path.parent) as folder,
    ):
        # The folder within the bundle has the name of the file, which must therefore be the final one.
        bundle = Path(folder) / path.name
        messages = slicer.vtkMRMLMessageCollection()
        if not scene.WriteToMRB(str(bundle), None, messages) or not bundle.exists():
            raise OutputError(f"{path} cannot be written ({_in_one_line(messages)}): check space and permissions.")
        os.replace(bundle, temporary)


def read_mrb(scene: slicer.vtkMRMLScene, path: str | Path) -> None:
    """Read a ``.mrb`` file into a scene of `headless_scene`, in addition to what it holds.

    Raises:
        VolumeError: if the file is missing or damaged.
    """
    slicer = slicer_libraries()
    if not Path(path).is_file():
        raise VolumeError(f"There is no file {path}: check the path.")
    messages = slicer.vtkMRMLMessageCollection()
    # A bundle that cannot be read would leave the process in a folder that is then removed.
    with chdir("."):
        read = scene.ReadFromMRB(str(Path(path).absolute()), False, messages)
    if not read:
        raise VolumeError(f"{path} cannot be read ({_in_one_line(messages)}): save the scene again.")


def slicer_libraries():
    """Return the module `slicer`.

    Raises:
        OutputError: if it is not installed, or is another package of that name.
    """
    try:
        import slicer
    except ImportError as error:
        raise OutputError(
            "Scenes and pictures need Slicer's libraries: install slicer-core (pip install nnmamba[scene])."
        ) from error
    if not hasattr(slicer, "vtkMRMLScene"):
        raise OutputError(
            "The package slicer that is installed has nothing to do with 3D Slicer and takes the place of its "
            "libraries: pip uninstall slicer, then install the extra scene again (pip install nnmamba[scene])."
        )
    return slicer


def _in_one_line(messages: slicer.vtkMRMLMessageCollection) -> str:
    return " ".join(messages.GetAllMessagesAsString().split()) or "no reason given"
