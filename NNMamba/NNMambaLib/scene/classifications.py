"""Classifications as nodes of a MRML scene: a table, its bar plot, and the explanation as a volume.

The table is the result: it refers to the other nodes, and `classification_of` reads the result back from it, also after
the scene was saved and loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from NNMambaLib.results import ClassificationResult, Prediction
from NNMambaLib.scene.explanation_volume import add_explanation, explanation_of
from NNMambaLib.scene.nodes import add_or_replace, all_or_nothing, new_node, result_name
from NNMambaLib.scene.probability_chart import add_chart, add_series, plot_prediction
from NNMambaLib.scene.provenance import describe_node, provenance_of
from NNMambaLib.scene.tables import vtk_table

if TYPE_CHECKING:
    import slicer

COLUMNS = ("target", "class", "probability", "predicted")
# References of the table to the nodes that belong to it.
INPUT_ROLE = "NNMamba.input"
EXPLANATION_ROLE = "NNMamba.explanation"
CHART_ROLE = "NNMamba.chart"


def add_classification(
    scene: slicer.vtkMRMLScene,
    result: ClassificationResult,
    reference_node: slicer.vtkMRMLVolumeNode | None = None,
    name: str | None = None,
) -> slicer.vtkMRMLTableNode:
    """Add a table with a row for each class of each question: target, class, probability, predicted (1 or 0).

    A bar plot of it is added too, which shows the question explained, or else the first, and the explanation as a
    volume if there is one. See `explanation_node` and `chart_node`.

    Args:
        reference_node: the volume that was classified.
        name: of the node; by default the reference's or the model's, with "classification".
    """
    with all_or_nothing(scene):
        name = name or result_name("classification", result.provenance, reference_node)
        node = new_node(scene, "vtkMRMLTableNode", name)
        _fill(node, result, reference_node)
    return node


def replace_classification(
    node: slicer.vtkMRMLTableNode,
    result: ClassificationResult,
    reference_node: slicer.vtkMRMLVolumeNode | None = None,
) -> None:
    """Put a result into a table in place of what it holds, its explanation included; the plot stays the same node."""
    old = explanation_node(node)
    with all_or_nothing(node.GetScene()):
        _fill(node, result, reference_node)
    if old is not None:
        # Display and storage nodes would stay behind; removed first, slice views would give the volume new ones.
        for part in (old, old.GetDisplayNode(), old.GetStorageNode()):
            if part is not None:
                node.GetScene().RemoveNode(part)
        new, name = explanation_node(node), result_name("explanation", result.provenance, reference_node)
        if new is not None and node.GetScene().GetFirstNodeByName(name) is None:
            # Its name was taken by the old volume until now.
            new.SetName(name)


def put_classification(
    result: ClassificationResult,
    reference_node: slicer.vtkMRMLVolumeNode,
    output: slicer.vtkMRMLTableNode | None = None,
    name: str | None = None,
) -> slicer.vtkMRMLTableNode:
    """Put a result into the scene of the volume it is of, and return its table.

    Args:
        output: the table whose content is replaced; None, or one that was removed, adds a table.
        name: of a new table; see `add_classification`.
    """
    return add_or_replace(add_classification, replace_classification, result, reference_node, output, name)


def classification_of(node: slicer.vtkMRMLNode | None) -> ClassificationResult | None:
    """Return the result that a table holds, None where it holds none; the explanation is a view of its volume."""
    if node is None or not node.IsA("vtkMRMLTableNode"):
        return None
    provenance = provenance_of(node)
    if provenance is None:
        return None
    table = node.GetTable()
    columns = [table.GetColumnByName(name) for name in COLUMNS]
    if None in columns:
        return None
    probabilities, predicted = {}, {}
    for row in range(table.GetNumberOfRows()):
        target, name, probability, chosen = (column.GetVariantValue(row) for column in columns)
        probabilities.setdefault(target.ToString(), {})[name.ToString()] = probability.ToDouble()
        if chosen.ToInt():
            predicted[target.ToString()] = name.ToString()
    predictions = tuple(Prediction(target, p, predicted.get(target, "")) for target, p in probabilities.items())
    return ClassificationResult(predictions, provenance, explanation=explanation_of(explanation_node(node)))


def input_node(node: slicer.vtkMRMLTableNode) -> slicer.vtkMRMLVolumeNode | None:
    """Return the volume that a table's result is of, None where it is gone."""
    return node.GetNodeReference(INPUT_ROLE)


def explanation_node(node: slicer.vtkMRMLTableNode) -> slicer.vtkMRMLScalarVolumeNode | None:
    """Return the volume with a result's explanation, None where there is none."""
    return node.GetNodeReference(EXPLANATION_ROLE)


def chart_node(node: slicer.vtkMRMLTableNode) -> slicer.vtkMRMLPlotChartNode | None:
    """Return the chart of a table's result, None where there is none."""
    return node.GetNodeReference(CHART_ROLE)


def plot_question(node: slicer.vtkMRMLTableNode, target: str) -> None:
    """Show one question's probabilities in a table's chart, if it has one."""
    result, chart = classification_of(node), chart_node(node)
    if result is not None and chart is not None:
        for prediction in result.predictions:
            if prediction.target == target:
                plot_prediction(chart, prediction)


def _fill(
    node: slicer.vtkMRMLTableNode, result: ClassificationResult, reference_node: slicer.vtkMRMLVolumeNode | None
) -> None:
    """Put a result into a table; what may fail comes first, so that the table changes as a whole or not at all."""
    rows = [
        (prediction.target, class_name, probability, class_name == prediction.predicted)
        for prediction in result.predictions
        for class_name, probability in prediction.probabilities.items()
    ]
    table = vtk_table(dict(zip(COLUMNS, zip(*rows, strict=True), strict=True)))
    scene, explanation = node.GetScene(), None
    if result.explanation is not None:
        explanation = add_explanation(scene, result.explanation, result.provenance, reference_node)
    chart = chart_node(node) or add_chart(scene, node.GetName())
    add_series(chart, max(len(prediction.probabilities) for prediction in result.predictions))
    explained = result.explanation and result.explanation.target
    prediction = next((p for p in result.predictions if p.target == explained), result.predictions[0])

    was_modifying = node.StartModify()
    node.SetNodeReferenceID(INPUT_ROLE, reference_node and reference_node.GetID())
    node.SetNodeReferenceID(EXPLANATION_ROLE, explanation and explanation.GetID())
    node.SetNodeReferenceID(CHART_ROLE, chart.GetID())
    node.SetAndObserveTable(table)
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetDescription(result.research_use)
    describe_node(node, result.provenance)
    plot_prediction(chart, prediction)
    node.EndModify(was_modifying)
