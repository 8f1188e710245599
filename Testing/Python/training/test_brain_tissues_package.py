"""The manifest that the recipe writes."""

from NNMambaLib.models.manifest import format_manifest, parse_manifest
from NNMambaLib.training.brain_labels import OutputLabel
from NNMambaLib.training.brain_tissues import SETTINGS, TRAINING_SOURCES
from NNMambaLib.training.evaluate_brain_tissues import HELD_OUT
from NNMambaLib.training.package_brain_tissues import make_manifest


def test_manifest_follows_the_schema_and_names_every_label():
    manifest = make_manifest(SETTINGS, ())
    parsed, _ = parse_manifest(format_manifest(manifest, "0" * 64))
    assert parsed == manifest
    assert [label.value for label in manifest.labels] == [int(label) for label in OutputLabel if label]
    assert len({label.color for label in manifest.labels}) == len(manifest.labels)
    assert all(label.terminology.type.scheme == "SCT" for label in manifest.labels)


def test_nobody_is_both_in_training_and_evaluation():
    held_out = {source for head in HELD_OUT for source in (head.volume, head.mask)}
    assert not held_out & set(TRAINING_SOURCES)
