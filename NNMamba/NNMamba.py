"""The hub module of NNMamba: what is installed and what this machine can use."""

from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)


class NNMamba(ScriptedLoadableModule):
    """The module's entry in Slicer. It has no panel yet: its logic serves scripts."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("NNMamba")
        self.parent.categories = ["Segmentation"]
        self.parent.contributors = ["The NNMamba maintainers"]
        self.parent.helpText = _("Models and engine of nnMamba (arXiv 2402.03526). Research use only.")
        self.parent.acknowledgementText = _("nnMamba: Gong et al., ISBI 2025. Mamba: Gu and Dao, arXiv 2312.00752.")


class NNMambaLogic(ScriptedLoadableModuleLogic):
    """What scripts may ask of the engine."""

    def installedModels(self):
        """Return {name: folder or zip file} of the installed model packages."""
        from NNMambaLib.models.catalogue import installed_packages

        return installed_packages()

    def scanBackends(self):
        """Return {backend of the selective scan: None, or the reason why it cannot be used here}."""
        from NNMambaLib.networks.selective_scan import available_backends

        return available_backends()


class NNMambaTest(ScriptedLoadableModuleTest):
    """Runs in Slicer, from its self tests."""

    def runTest(self):
        self.test_bundled_models_are_sound()

    def test_bundled_models_are_sound(self):
        from NNMambaLib.models.catalogue import find_package

        names = NNMambaLogic().installedModels()
        self.assertIn("brain-structures", names)
        for name in names:
            find_package(name).load()
