"""Adds nodes to a scene: in one undo step, all or none, under unique names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from NNMambaLib.results import Provenance
from NNMambaLib.scene.provenance import describe_node

if TYPE_CHECKING:
    import slicer


@contextmanager
def all_or_nothing(scene: slicer.vtkMRMLScene) -> Iterator[None]:
    """Make what the block adds to a scene one undo step; remove all of it if the block fails."""
    import slicer

    before = set(_node_ids(scene))
    scene.SaveStateForUndo()
    scene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    try:
        yield
    except BaseException:
        for node_id in reversed(_node_ids(scene)):
            # Removing a node may also have removed others.
            if node_id not in before and (node := scene.GetNodeByID(node_id)) is not None:
                scene.RemoveNode(node)
        raise
    finally:
        scene.EndState(slicer.vtkMRMLScene.BatchProcessState)


def in_scene(node: slicer.vtkMRMLNode | None) -> slicer.vtkMRMLNode | None:
    """Return an output node, or None where there is none or it was removed while its result was computed."""
    return None if node is None or node.GetScene() is None else node


def _node_ids(scene: slicer.vtkMRMLScene) -> list[str]:
    return [scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())]


def new_node(scene: slicer.vtkMRMLScene, class_name: str, name: str) -> slicer.vtkMRMLNode:
    """Add a node under a name that no other node has, and return it."""
    return scene.AddNewNodeByClass(class_name, scene.GenerateUniqueName(name))


def result_name(kind: str, provenance: Provenance, reference_node: slicer.vtkMRMLVolumeNode | None = None) -> str:
    """Return the name of a result's node, after the volume that it is of, or else after the model."""
    return f"{reference_node.GetName() if reference_node else provenance.model} {kind}"


def new_result_node(
    scene: slicer.vtkMRMLScene, class_name: str, name: str, provenance: Provenance
) -> slicer.vtkMRMLNode:
    """Add a node with the provenance of its result, and return it."""
    node = new_node(scene, class_name, name)
    describe_node(node, provenance)
    return node
