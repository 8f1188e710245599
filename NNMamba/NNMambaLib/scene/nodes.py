"""Adds nodes to a scene: in one undo step, all or none, under unique names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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


def add_or_replace(
    add: Callable[..., slicer.vtkMRMLNode],
    replace: Callable[..., None],
    result: Any,
    reference_node: slicer.vtkMRMLVolumeNode,
    output: slicer.vtkMRMLNode | None,
    name: str | None,
) -> slicer.vtkMRMLNode:
    """Put a result into the scene of the volume it is of, and return its node.

    Args:
        add: from a scene, the result, the reference and a name to the node that it adds.
        replace: puts a result in place of what a node holds.
        output: the node whose content is replaced; None, or one that was removed, adds a node.
        name: of a new node; None takes the default of `add`.
    """
    output = in_scene(output)
    if output is None:
        return add(reference_node.GetScene(), result, reference_node, name)
    replace(output, result, reference_node)
    return output


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
