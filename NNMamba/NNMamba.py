"""The hub module of NNMamba: set-up, models, what this machine can use, self-test and diagnostic report."""

import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

SAMPLE_SHA256 = "e0e5975587f3f7916804bdd317c493cdb99cdb3703bf2671d458528f62510327"


class NNMamba(ScriptedLoadableModule):
    """The module's entry in Slicer."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("NNMamba")
        self.parent.categories = ["Segmentation"]
        self.parent.dependencies = []
        self.parent.contributors = ["The NNMamba maintainers"]
        self.parent.helpText = _(
            "Sets up nnMamba (arXiv 2402.03526) in Slicer, manages its models and tells what this machine can use. The "
            "modules NNMamba Segment, Landmarks and Classify run the models. Research use only."
        )
        self.parent.acknowledgementText = _("nnMamba: Gong et al., ISBI 2025. Mamba: Gu and Dao, arXiv 2312.00752.")
        # Sample Data may be loaded later than this module.
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Add the bundled sample volume to the module Sample Data; it needs no network."""
    import SampleData  # type: ignore[reportMissingImports] # a module of Slicer

    from NNMambaLib.models.catalogue import sample_volume

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="NNMamba",
        sampleName="NNMambaHeadT1",
        uris=sample_volume().as_uri(),
        fileNames="NNMamba-head-t1.nii.gz",
        nodeNames="Head T1",
        checksums=f"SHA256:{SAMPLE_SHA256}",
        thumbnailFileName=slicer.modules.nnmamba.path.replace("NNMamba.py", "Resources/Icons/NNMambaSampleHead.png"),
    )


class NNMambaWidget(ScriptedLoadableModuleWidget):
    """The panel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        self.logic = None
        # Stays None where the set-up fails.
        self.panel = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from NNMambaLib.panel.hub.panel import HubPanel

        widget = slicer.util.loadUI(self.resourcePath("UI/NNMamba.ui"))
        self.layout.addWidget(widget)
        self.logic = NNMambaLogic()
        self.panel = HubPanel(slicer.util.childWidgetVariables(widget), self.resourcePath("requirements.txt"))

    def enter(self):
        if self.panel is not None:
            self.panel.enter()

    def exit(self):
        if self.panel is not None:
            self.panel.exit()

    def cleanup(self):
        if self.panel is not None:
            self.panel.cleanup()


class NNMambaLogic(ScriptedLoadableModuleLogic):
    """What scripts may ask of the engine."""

    def installedModels(self):
        """Return {name: folder or zip file} of the installed model packages."""
        from NNMambaLib.models.catalogue import installed_packages

        return installed_packages()

    def scanBackends(self):
        """Return {backend of the selective scan: None, or the reason why it cannot be used here}."""
        from NNMambaLib.networks.scan.selective_scan import available_backends

        return available_backends()


class NNMambaTest(ScriptedLoadableModuleTest):
    """Runs in Slicer, from its self tests."""

    def runTest(self):
        self.test_bundled_models_are_sound()
        self.test_sample_volume_can_be_loaded()

    def test_bundled_models_are_sound(self):
        from NNMambaLib.models.catalogue import find_package

        names = NNMambaLogic().installedModels()
        self.assertIn("brain-structures", names)
        for name in names:
            find_package(name).load()

    def test_sample_volume_can_be_loaded(self):
        import SampleData  # type: ignore[reportMissingImports] # a module of Slicer

        node = SampleData.SampleDataLogic().downloadSample("NNMambaHeadT1")
        self.assertEqual(node.GetImageData().GetDimensions(), (128, 128, 62))
