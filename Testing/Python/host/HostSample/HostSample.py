"""A scripted module for the tests of the host: what panels do, each once."""

import sys
from enum import Enum
from typing import Annotated

import numpy as np
import qt
import slicer
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class HostSample(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Host Sample")
        self.parent.categories = ["Testing"]


class Quality(Enum):
    FAST = "fast"
    FINE = "fine"


@parameterNodeWrapper
class HostSampleParameterNode:
    inputVolume: vtkMRMLScalarVolumeNode
    segmentation: vtkMRMLSegmentationNode
    model: Annotated[str, Choice(["small", "large"])] = "large"
    quality: Quality
    threshold: Annotated[float, WithinRange(0, 10)] = 2.5
    steps: Annotated[int, WithinRange(1, 9)] = 3
    mirror: bool = False
    note: str
    history: list[str]


class HostSampleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.parameterNode = None
        self.guiTag = None
        self.process = None
        self.received = []

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/HostSample.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = HostSampleLogic()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.ui.applyButton.connect("clicked(bool)", self.onApply)
        self.ui.breakButton.connect("clicked()", self.onBreak)
        self.ui.echoButton.clicked.connect(self.onEcho)
        self.ui.segmentationSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onSegmentationChanged)
        self.initializeParameterNode()

    def cleanup(self):
        self.removeObservers()

    def enter(self):
        self.initializeParameterNode()

    def exit(self):
        self.setParameterNode(None)

    def onSceneStartClose(self, caller, event):
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode):
        if self.parameterNode is not None:
            self.parameterNode.disconnectGui(self.guiTag)
        self.parameterNode = parameterNode
        if parameterNode is not None:
            self.guiTag = parameterNode.connectGui(self.ui)

    def onSegmentationChanged(self, node):
        self.ui.segmentsTable.setSegmentationNode(node)
        self.ui.show3DButton.setSegmentationNode(node)

    def onApply(self):
        if slicer.util.confirmOkCancelDisplay("Do it now?", windowTitle="Sample"):
            self.ui.statusLabel.text = f"Done {self.parameterNode.steps} steps"
            self.ui.resultTable.setMRMLTableNode(self.logic.makeTable())

    def onBreak(self):
        raise ValueError("the slot failed")

    def onEcho(self):
        self.process = qt.QProcess()
        self.process.connect("readyReadStandardOutput()", self.onOutput)
        self.process.connect("finished(int,QProcess::ExitStatus)", self.onFinished)
        self.process.start(sys.executable, ["-c", "print(input()[::-1])"])
        self.process.write("stressed\n")

    def onOutput(self):
        self.received.append(self.process.readAllStandardOutput().data().decode().strip())

    def onFinished(self, exitCode, exitStatus):
        assert exitStatus == qt.QProcess.NormalExit
        self.ui.statusLabel.text = f"Echo ended with {exitCode}"


class HostSampleLogic(ScriptedLoadableModuleLogic):
    def getParameterNode(self):
        return HostSampleParameterNode(super().getParameterNode())

    def makeTable(self):
        table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "Probabilities")
        slicer.util.updateTableFromArray(table, [np.array([0.75, 0.25])], ["probability"])
        return table
