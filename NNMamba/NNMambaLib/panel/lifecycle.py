"""The life cycle of a panel: its parameter node comes and goes with the scene, its job ends with the panel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin

from NNMambaLib.panel.task_panel import TaskPanel


class PanelLifecycle(VTKObservationMixin):
    """Binds a panel to the parameter node of the scene.

    Args:
        get_parameters: returns the scene's wrapped parameter node, and adds it where there is none.
    """

    def __init__(self, panel: TaskPanel, get_parameters: Callable[[], Any]):
        VTKObservationMixin.__init__(self)
        self.panel = panel
        self._get_parameters = get_parameters
        self._parameters = None
        self._connection = None
        self._shown = False
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._scene_closes)
        self.addObserver(scene, scene.EndCloseEvent, self._scene_is_new)
        self.addObserver(scene, scene.EndImportEvent, self._scene_is_new)
        self.addObserver(scene, slicer.vtkMRMLScene.NodeAddedEvent, self._nodes_changed)
        self._bind(get_parameters())

    def enter(self) -> None:
        """The panel is shown."""
        self._shown = True
        # Models may have been installed or deleted while another panel was shown.
        self.panel.list_models()
        self._bind(self._get_parameters())

    def exit(self) -> None:
        """Another panel is shown; a running job continues, and its result still reaches the parameter node."""
        self._shown = False

    def cleanup(self) -> None:
        """The panel is closed or reloaded."""
        self.panel.close()
        self._bind(None)
        self.removeObservers()

    def _bind(self, parameters) -> None:
        if self._parameters is not None:
            self._parameters.disconnectGui(self._connection)
            self.removeObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self._parameters_changed)
        self._parameters = parameters
        if parameters is not None:
            self._connection = parameters.connectGui(self.panel.ui)
            self.addObserver(parameters, vtk.vtkCommand.ModifiedEvent, self._parameters_changed)
        self.panel.set_parameters(parameters)

    def _parameters_changed(self, caller=None, event=None) -> None:
        self.panel.parameters_changed()

    def _scene_closes(self, caller=None, event=None) -> None:
        self._bind(None)

    def _scene_is_new(self, caller=None, event=None) -> None:
        if self._shown:
            self._bind(self._get_parameters())

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _nodes_changed(self, caller, event, node) -> None:
        if self._parameters is not None and node.IsA("vtkMRMLScalarVolumeNode") and not self.panel.running:
            self.panel.fill_inputs()
