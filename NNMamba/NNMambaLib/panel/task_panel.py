"""What the three panels have in common: models, inputs, Apply that becomes Cancel, progress and messages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import slicer
from slicer.i18n import tr as _

from NNMambaLib.errors import Cancelled, ModelError, NNMambaError
from NNMambaLib.models.catalogue import find_package, installed_packages
from NNMambaLib.models.manifest import Channel, Manifest
from NNMambaLib.panel.scene_job import SceneJob
from NNMambaLib.panel.shared_worker import shared_worker
from NNMambaLib.progress import Progress
from NNMambaLib.results import Provenance
from NNMambaLib.worker.messages import Result

# As many as the .ui files have selectors.
MOST_CHANNELS = 4


class Task:
    """What differs from panel to panel.

    Attributes:
        name: of the engine's task.
        ui: the panel's widgets.
    """

    name: str

    def __init__(self, ui):
        self.ui = ui

    def bind(self, parameters, manifest: Manifest | None) -> None:
        """Take notice of another parameter node or model.

        Args:
            parameters: None while the scene is closed, which ends what the panel shows of it.
            manifest: of the model that is chosen, None where there is none.
        """

    def options(self) -> dict[str, Any]:
        """Return the options of the engine's method, as the panel has them."""
        raise NotImplementedError

    def may_replace(self, output: slicer.vtkMRMLNode | None) -> bool:
        """Tell, having asked the user if need be, whether what an output node holds may be replaced."""
        return True

    def show(
        self, result: Result, nodes: Sequence[slicer.vtkMRMLVolumeNode], output: slicer.vtkMRMLNode | None
    ) -> None:
        """Put a result into the scene, into `output` where there is one, and onto the panel."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of all nodes."""


class TaskPanel:
    """Drives the widgets of a panel that the panels share.

    Args:
        task: what differs, with the panel's ``ui``: ``modelComboBox``, ``modelLabel``, ``inputSelector0`` to 3,
            ``outputSelector``, ``deviceComboBox``, ``applyButton``, ``progressBar``, ``progressLabel``,
            ``messageLabel``.
    """

    def __init__(self, task: Task):
        self.ui = ui = task.ui
        self._task = task
        self._parameters = None
        self._job: SceneJob | None = None
        self._manifest: Manifest | None = None
        # .ui files cannot tell a label which widget it names.
        for name, label in vars(ui).items():
            if name.endswith("Label") and hasattr(ui, name.removesuffix("Label")):
                label.setBuddy(getattr(ui, name.removesuffix("Label")))
        self.ui.modelComboBox.connect("currentIndexChanged(int)", self._model_chosen)
        self.ui.applyButton.connect("clicked(bool)", self._apply_or_cancel)
        for selector in self._selectors():
            selector.connect("currentNodeChanged(vtkMRMLNode*)", self._inputs_changed)
        self.ui.progressBar.visible = False
        self.ui.progressLabel.visible = False
        self.list_models()

    @property
    def running(self) -> bool:
        return self._job is not None and not self._job.ended

    @property
    def manifest(self) -> Manifest | None:
        """Of the model that is chosen; None where there is none."""
        return self._manifest

    def set_parameters(self, parameters) -> None:
        """Take the model from a parameter node with the field ``model``, and keep it there."""
        self._parameters = parameters
        if parameters is not None:
            index = self.ui.modelComboBox.findData(parameters.model)
            if index >= 0:
                self.ui.modelComboBox.currentIndex = index
            self._model_chosen()
        else:
            self._task.bind(None, self._manifest)

    def list_models(self) -> None:
        """Fill the list with the installed models of the task; the choice stays where it can."""
        box = self.ui.modelComboBox
        chosen = box.currentData if self._parameters is None else self._parameters.model
        was_blocked = box.blockSignals(True)
        box.clear()
        for name, path in installed_packages().items():
            try:
                manifest = find_package(path).manifest
            except ModelError as error:
                self.say(str(error))
                continue
            except ImportError:
                # Manifests are checked with a package that Slicer does not come with.
                self.say(_("Set up NNMamba first: open the module NNMamba and press Set up."))
                break
            if manifest.task == self._task.name:
                box.addItem(manifest.title or name, name)
        box.currentIndex = max(0, box.findData(chosen))
        box.blockSignals(was_blocked)
        self._model_chosen()

    def nodes(self) -> list[slicer.vtkMRMLVolumeNode | None]:
        """Return the input of each of the model's channels."""
        return [selector.currentNode() for selector in self._selectors()[: len(self._channels())]]

    def refresh(self) -> None:
        """Show whether the panel can run, and why not."""
        reason = self._why_not()
        self.ui.applyButton.enabled = self.running or reason is None
        if not self.running:
            self.ui.applyButton.text = _("Apply")
            self.ui.applyButton.toolTip = reason or _("Run the model on the volume.")

    def say(self, message: str) -> None:
        """Show a sentence to the user; an empty one takes the last away."""
        self.ui.messageLabel.text = message
        self.ui.messageLabel.visible = bool(message)

    def cancel(self) -> None:
        """End a running job, as the panel's user would."""
        if self.running:
            self._apply_or_cancel()

    def close(self) -> None:
        """End a running job and let go of all nodes."""
        self.cancel()
        self._task.close()

    def fill_inputs(self) -> None:
        """Choose volumes for channels that have none, by the words that the model knows its channels by."""
        taken = [node for node in self.nodes() if node is not None]
        volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        for channel, selector in zip(self._channels(), self._selectors(), strict=False):
            if selector.currentNode() is not None:
                continue
            free = [node for node in volumes if node not in taken and _may_be_input(node)]
            fitting = [node for node in free if _fits(node.GetName(), channel)]
            # With one channel and one volume there is nothing to mistake.
            chosen = fitting or (free if len(self._channels()) == len(free) == 1 else [])
            if chosen:
                selector.setCurrentNode(chosen[0])
                taken.append(chosen[0])

    # --- the model ------------------------------------------------------------------------------------------------

    def _model_chosen(self, index: int = -1) -> None:
        name = self.ui.modelComboBox.currentData
        try:
            self._manifest = find_package(name).manifest if name else None
        except ModelError as error:
            # It was deleted since the list was made.
            self._manifest = None
            self.say(str(error))
        if self._parameters is not None and name:
            self._parameters.model = name
        self.ui.modelLabel.text = self._describe_model()
        for number, (label, selector) in enumerate(zip(self._labels(), self._selectors(), strict=True)):
            used = number < len(self._channels())
            label.visible = selector.visible = used
            if used:
                label.text = f"{self._channels()[number].name}:"
        self._task.bind(self._parameters, self._manifest)
        self.fill_inputs()
        self.refresh()

    def _describe_model(self) -> str:
        if self._manifest is None:
            return _("No model for this task is installed: see the module NNMamba.")
        manifest = self._manifest
        licence = _("Licence: {licence}. Version {version}.").format(
            licence=manifest.licence or _("not stated"), version=manifest.version
        )
        return " ".join(part for part in (manifest.description, manifest.intended_use, licence) if part)

    def _channels(self) -> tuple[Channel, ...]:
        return () if self._manifest is None else self._manifest.input.channels[:MOST_CHANNELS]

    def _labels(self) -> list:
        return [getattr(self.ui, f"inputSelector{number}Label") for number in range(MOST_CHANNELS)]

    def _selectors(self) -> list:
        return [getattr(self.ui, f"inputSelector{number}") for number in range(MOST_CHANNELS)]

    def _inputs_changed(self, node=None) -> None:
        self.refresh()

    def _why_not(self) -> str | None:
        if self._manifest is None:
            return _("Install a model for this task first: see the module NNMamba.")
        if len(self._manifest.input.channels) > MOST_CHANNELS:
            return _("This model has more channels than the panel: call it from a script.")
        for channel, node in zip(self._channels(), self.nodes(), strict=True):
            if node is None:
                return _("Choose a volume for {channel}.").format(channel=channel.name)
        return None

    # --- the job --------------------------------------------------------------------------------------------------

    def _apply_or_cancel(self, checked: bool = False) -> None:
        if self.running:
            self._job.cancel()
            if self._job is not None and not self._job.ended:
                self.ui.applyButton.text = _("Stop at once")
                self.ui.applyButton.toolTip = _("End the engine's process without waiting for the tile it works on.")
                self.ui.progressLabel.text = _("Cancelling ...")
            return
        nodes, output = self.nodes(), self.ui.outputSelector.currentNode()
        if not self._task.may_replace(output):
            return
        self.say("")
        try:
            self._job = SceneJob(
                shared_worker(),
                self._task.name,
                self._parameters.model,
                nodes,
                self._task.options(),
                self._parameters.device,
                self._progressed,
                lambda result: self._finished(result, nodes, output),
                self._failed,
            )
        except NNMambaError as error:
            self._failed(error)
            return
        self.ui.applyButton.text = _("Cancel")
        self.ui.applyButton.toolTip = _("End the job; nothing will be added to the scene.")
        self.ui.progressLabel.text = _("Handing over the volume")
        self.ui.progressBar.setRange(0, 0)
        self.ui.progressBar.visible = self.ui.progressLabel.visible = True

    def _progressed(self, progress: Progress) -> None:
        if self._job is not None and self._job.cancels:
            return
        # A stage of one step tells nothing until it ends.
        known = progress.total > 1
        self.ui.progressBar.setRange(0, progress.total if known else 0)
        self.ui.progressBar.value = progress.done
        self.ui.progressLabel.text = describe_progress(progress)

    def _finished(
        self, result: Result, nodes: Sequence[slicer.vtkMRMLVolumeNode], output: slicer.vtkMRMLNode | None
    ) -> None:
        self._idle()
        if output is not None and output.GetScene() is None:
            # It was removed meanwhile; the result is not lost with it.
            output = None
        try:
            self._task.show(result, nodes, output)
        except NNMambaError as error:
            self._failed(error)
            return
        except (RuntimeError, MemoryError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            self._failed(NNMambaError(f"The result cannot be put into the scene ({reason}): run again."))
            return
        self.say(describe_run(result.provenance))
        self.refresh()

    def _failed(self, error: NNMambaError) -> None:
        self._idle()
        self.say(str(error))
        if not isinstance(error, Cancelled):
            slicer.util.errorDisplay(str(error), windowTitle=_("NNMamba"))

    def _idle(self) -> None:
        self._job = None
        self.ui.progressBar.visible = self.ui.progressLabel.visible = False
        self.refresh()


def describe_progress(progress: Progress) -> str:
    """Return stage, step and seconds left on one line."""
    text = progress.stage
    if progress.total > 1:
        text += f" {progress.done}/{progress.total}"
    if progress.seconds_left:
        text += ", " + _("about {seconds} s left").format(seconds=math.ceil(progress.seconds_left))
    return text


def describe_run(provenance: Provenance) -> str:
    """Return how a result came about, with every way in which the run departed from what was asked for."""
    ran = _("{model} {version} on {device} ({backend}) in {seconds:.1f} s.").format(
        model=provenance.model,
        version=provenance.model_version,
        device=provenance.device,
        backend=provenance.scan_backend,
        seconds=provenance.seconds["total"],
    )
    return " ".join([ran, *(f"{notice[:1].upper()}{notice[1:]}." for notice in provenance.notices)])


def _fits(name: str, channel: Channel) -> bool:
    return any(keyword in name.lower() for keyword in channel.keywords)


def _may_be_input(node: slicer.vtkMRMLVolumeNode) -> bool:
    """Tell label maps, and volumes that are results themselves, from what may have been acquired."""
    return not node.IsA("vtkMRMLLabelMapVolumeNode") and node.GetAttribute("NNMamba.Model") is None
