"""What the three task panels share: models, inputs, Apply that becomes Cancel, progress and messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer
from slicer.i18n import tr as _

from NNMambaLib.errors import Cancelled, ModelError, NNMambaError
from NNMambaLib.models.catalogue import installed_packages
from NNMambaLib.models.manifest import Channel, Manifest
from NNMambaLib.panel.installed_manifest import installed_manifest
from NNMambaLib.panel.scene_job import SceneJob
from NNMambaLib.panel.shared_worker import shared_worker
from NNMambaLib.progress import Progress
from NNMambaLib.results import Provenance
from NNMambaLib.runtime.units import format_duration
from NNMambaLib.worker.job import JobRequest
from NNMambaLib.worker.messages import Result

# The number of input selectors in each .ui file.
MOST_CHANNELS = 4


class TaskControls:
    """What differs from panel to panel: the options, the output, and how a result is shown.

    Attributes:
        task: name of the engine's task.
        ui: the panel's widgets.
    """

    task: str

    def __init__(self, ui):
        self.ui = ui

    def bind(self, parameters, manifest: Manifest | None) -> None:
        """Show another parameter node or model.

        Args:
            parameters: None while the scene is closed: nothing of it may be shown any longer.
            manifest: of the chosen model, None where there is none.
        """

    def parameters_changed(self) -> None:
        """Show what the parameter node holds now, where no widget is bound to it."""

    def options(self, parameters) -> dict[str, Any]:
        """Return the options of the engine's method, read from the parameter node alone."""
        raise NotImplementedError

    def may_replace(self, output: slicer.vtkMRMLNode | None) -> bool:
        """Return whether the content of an output node may be replaced; asks the user where that would lose work."""
        return True

    def show(
        self, result: Result, nodes: Sequence[slicer.vtkMRMLVolumeNode], output: slicer.vtkMRMLNode | None
    ) -> None:
        """Put a result into the scene, in `output` or a new node, and show it on the panel."""
        raise NotImplementedError

    def close(self) -> None:
        """Release all nodes."""


class TaskPanel:
    """Drives the widgets that all task panels have.

    Args:
        controls: what differs, with the panel's ``ui``: ``modelComboBox``, ``modelLabel``, ``inputSelector0`` to 3,
            ``outputSelector``, ``applyButton``, ``progressBar``, ``progressLabel``, ``messageLabel``.
    """

    def __init__(self, controls: TaskControls):
        self.ui = ui = controls.ui
        self._controls = controls
        self._parameters = None
        self._job: SceneJob | None = None
        self._manifests: dict[str, Manifest] = {}
        # A .ui file cannot set a label's buddy where the buddy comes later.
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
        """The manifest of the chosen model; None where there is none."""
        return self._manifests.get(self.ui.modelComboBox.currentData)

    def set_parameters(self, parameters) -> None:
        """Show a parameter node, and from now on read every option of a job from it; None while there is none."""
        self._parameters = parameters
        if parameters is not None:
            self._choose(parameters.model)
            self._model_chosen()
        else:
            self._controls.bind(None, self.manifest)

    def parameters_changed(self) -> None:
        """Show what the parameter node holds now."""
        if self._parameters is not None:
            self._choose(self._parameters.model)
            self._controls.parameters_changed()
        self.refresh()

    def list_models(self) -> None:
        """Fill the list with the installed models of the task; the choice stays where it can."""
        box = self.ui.modelComboBox
        chosen = box.currentData if self._parameters is None else self._parameters.model
        was_blocked = box.blockSignals(True)
        box.clear()
        self._manifests = {}
        for name, path in installed_packages().items():
            try:
                manifest = installed_manifest(path)
            except ModelError as error:
                self.say(str(error))
                continue
            except ImportError:
                # Manifests are checked with a package that Slicer does not come with.
                self.say(_("Set up NNMamba first: open the module NNMamba and press Set up."))
                break
            if manifest.task == self._controls.task:
                self._manifests[name] = manifest
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
        """Show a sentence to the user; an empty one clears it."""
        self.ui.messageLabel.text = message
        self.ui.messageLabel.visible = bool(message)

    def cancel(self) -> None:
        """Cancel a running job, as its button does."""
        if self.running:
            self._apply_or_cancel()

    def close(self) -> None:
        """Cancel a running job and release all nodes."""
        self.cancel()
        self._controls.close()

    def fill_inputs(self) -> None:
        """Choose volumes for channels that have none, by the keywords of the model's channels."""
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

    def _choose(self, model: str) -> None:
        index = self.ui.modelComboBox.findData(model)
        if index >= 0:
            self.ui.modelComboBox.currentIndex = index

    def _model_chosen(self, index: int = -1) -> None:
        name = self.ui.modelComboBox.currentData
        if self._parameters is not None and name:
            self._parameters.model = name
        self.ui.modelLabel.text = self._describe_model()
        for number, (label, selector) in enumerate(zip(self._labels(), self._selectors(), strict=True)):
            used = number < len(self._channels())
            label.visible = selector.visible = used
            if used:
                label.text = f"{self._channels()[number].name}:"
        self._controls.bind(self._parameters, self.manifest)
        self.fill_inputs()
        self.refresh()

    def _describe_model(self) -> str:
        manifest = self.manifest
        if manifest is None:
            return _("No model for this task is installed: see the module NNMamba.")
        licence = _("Licence: {licence}. Version {version}.").format(
            licence=manifest.licence or _("not stated"), version=manifest.version
        )
        return " ".join(part for part in (manifest.description, manifest.intended_use, licence) if part)

    def _channels(self) -> tuple[Channel, ...]:
        return () if self.manifest is None else self.manifest.input.channels[:MOST_CHANNELS]

    def _labels(self) -> list:
        return [getattr(self.ui, f"inputSelector{number}Label") for number in range(MOST_CHANNELS)]

    def _selectors(self) -> list:
        return [getattr(self.ui, f"inputSelector{number}") for number in range(MOST_CHANNELS)]

    def _inputs_changed(self, node=None) -> None:
        self.refresh()

    def _why_not(self) -> str | None:
        if self.manifest is None:
            return _("Install a model for this task first: see the module NNMamba.")
        if len(self.manifest.input.channels) > MOST_CHANNELS:
            return _("This model has more channels than the panel: call it from a script.")
        for channel, node in zip(self._channels(), self.nodes(), strict=True):
            if node is None:
                return _("Choose a volume for {channel}.").format(channel=channel.name)
        return None

    # --- the job --------------------------------------------------------------------------------------------------

    def _apply_or_cancel(self, checked: bool = False) -> None:
        if self._job is not None and not self._job.ended:
            self._job.cancel()
            if self.running:
                self.ui.applyButton.text = _("Stop at once")
                self.ui.applyButton.toolTip = _("End the engine's process without waiting for the tile it works on.")
                self.ui.progressLabel.text = _("Cancelling ...")
            return
        if self._parameters is None:
            return
        nodes, output = self.nodes(), self.ui.outputSelector.currentNode()
        if not self._controls.may_replace(output):
            return
        self.say("")
        try:
            self._job = SceneJob(
                shared_worker(),
                self._request(self._parameters),
                nodes,
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

    def _request(self, parameters) -> JobRequest:
        """Return what to run, without its volumes."""
        return JobRequest(
            self._controls.task,
            parameters.model,
            (),
            self._controls.options(parameters),
            parameters.device,
            precision=parameters.precision,
        )

    def _progressed(self, progress: Progress) -> None:
        if self._job is not None and self._job.cancels:
            return
        # A stage of one step has no progress to show.
        known = progress.total > 1
        self.ui.progressBar.setRange(0, progress.total if known else 0)
        self.ui.progressBar.value = progress.done
        self.ui.progressLabel.text = describe_progress(progress)

    def _finished(
        self, result: Result, nodes: Sequence[slicer.vtkMRMLVolumeNode], output: slicer.vtkMRMLNode | None
    ) -> None:
        self._idle()
        try:
            self._controls.show(result, nodes, output)
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
    """Return a line with the stage, its step and the time left."""
    text = progress.stage
    if progress.total > 1:
        text += f" {progress.done}/{progress.total}"
    if progress.seconds_left:
        text += ", " + _("about {time} left").format(time=format_duration(progress.seconds_left))
    return text


def describe_run(provenance: Provenance) -> str:
    """Return what computed a result, and every way in which the run departed from what was asked for."""
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
    """Return whether a volume may have been acquired: it is neither a label map nor itself a result."""
    return not node.IsA("vtkMRMLLabelMapVolumeNode") and node.GetAttribute("NNMamba.Model") is None
