"""Classifications as nodes of a MRML scene: a table, a bar plot of it, and the explanation as a volume.

The table is the result: all else is found from it, and it tells what `classification_of` needs to read it back, also
after the scene was saved and loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from NNMambaLib.export.explanation_picture import AGAINST_COLOR, FOR_COLOR, color_limit
from NNMambaLib.results import ClassificationResult, Explanation, Prediction
from NNMambaLib.scene.nodes import all_or_nothing, new_node, result_name
from NNMambaLib.scene.provenance import describe_node, provenance_of
from NNMambaLib.scene.volumes import add_volume, volume_from_node

if TYPE_CHECKING:
    import slicer
    import vtk

COLUMNS = ("target", "class", "probability", "predicted")
# Of the table, to the nodes that belong to it.
INPUT_ROLE = "NNMamba.input"
EXPLANATION_ROLE = "NNMamba.explanation"
CHART_ROLE = "NNMamba.chart"
# Of the explanation's volume.
TARGET_ATTRIBUTE = "NNMamba.Target"
PREDICTED_ATTRIBUTE = "NNMamba.PredictedClass"

_COLORS_ATTRIBUTE = "NNMamba.Colors"
_COLOR_COUNT = 255
# Of the full colour; what is weaker is transparent.
_LEAST_SHOWN = 0.2
# Of the chart, to the table and the series that belong to it; the chart itself refers to the series that it shows.
_BARS_ROLE, _SERIES_ROLE = "NNMamba.bars", "NNMamba.series"
# The bars stand around 0; the legend has the room to the right of them.
_BARS_RANGE = (-0.5, 1.0)
# Told apart by the colour-blind too: Okabe and Ito.
_BAR_COLORS = (
    (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0), (240, 228, 66),
)  # fmt: skip


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
        # The last two would stay behind; before the volume, slice views that show it would make it others.
        for part in (old, old.GetDisplayNode(), old.GetStorageNode()):
            if part is not None:
                node.GetScene().RemoveNode(part)
        new, name = explanation_node(node), result_name("explanation", result.provenance, reference_node)
        if new is not None and node.GetScene().GetFirstNodeByName(name) is None:
            # The old one had the name that this one would have had.
            new.SetName(name)


def classification_of(node: slicer.vtkMRMLNode | None) -> ClassificationResult | None:
    """Return the result that a table holds, None where it holds none; the explanation is a view of its volume."""
    provenance = None if node is None else provenance_of(node)
    if provenance is None or not node.IsA("vtkMRMLTableNode"):
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
    return ClassificationResult(predictions, provenance, explanation=_explanation_of(explanation_node(node)))


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
                _plot(chart, prediction)


def _fill(
    node: slicer.vtkMRMLTableNode, result: ClassificationResult, reference_node: slicer.vtkMRMLVolumeNode | None
) -> None:
    """Put a result into a table. Whatever may fail comes first, so that the table is changed wholly or not at all."""
    rows = [
        (prediction.target, class_name, probability, class_name == prediction.predicted)
        for prediction in result.predictions
        for class_name, probability in prediction.probabilities.items()
    ]
    table = _table(dict(zip(COLUMNS, zip(*rows, strict=True), strict=True)))
    explanation = None if result.explanation is None else _add_explanation(node, result, reference_node)
    chart = chart_node(node) or _add_chart(node.GetScene(), node.GetName())
    _add_series(chart, max(len(prediction.probabilities) for prediction in result.predictions))
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
    _plot(chart, prediction)
    node.EndModify(was_modifying)


def _table(columns: dict[str, tuple]) -> vtk.vtkTable:
    """Return a table of columns of texts, numbers, or truth values."""
    import vtk

    kinds = {str: vtk.vtkStringArray, float: vtk.vtkDoubleArray, bool: vtk.vtkBitArray}
    table = vtk.vtkTable()
    for name, values in columns.items():
        column = kinds[type(values[0])]()
        column.SetName(name)
        for value in values:
            column.InsertNextValue(value)
        table.AddColumn(column)
    return table


# --- plot ---------------------------------------------------------------------------------------------------------


def _add_chart(scene: slicer.vtkMRMLScene, name: str) -> slicer.vtkMRMLPlotChartNode:
    """Add a chart without bars."""
    chart = new_node(scene, "vtkMRMLPlotChartNode", f"{name} plot")
    chart.SetXAxisTitleVisibility(False)
    chart.SetYAxisTitle("Probability")
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(0.0, 1.0)
    chart.SetXAxisRangeAuto(False)
    chart.SetXAxisRange(*_BARS_RANGE)
    chart.SetTitleFontSize(13)
    chart.SetLegendFontSize(12)
    chart.SetAxisTitleFontSize(12)
    chart.SetAxisLabelFontSize(10)
    table = new_node(scene, "vtkMRMLTableNode", f"{name} bars")
    table.SetHideFromEditors(True)
    chart.SetNodeReferenceID(_BARS_ROLE, table.GetID())
    return chart


def _add_series(chart: slicer.vtkMRMLPlotChartNode, count: int) -> None:
    """Add series of one bar each, of the chart's hidden table, until there are so many."""
    for number in range(chart.GetNumberOfNodeReferences(_SERIES_ROLE), count):
        series = new_node(chart.GetScene(), "vtkMRMLPlotSeriesNode", f"{chart.GetName()} bar {number + 1}")
        series.SetHideFromEditors(True)
        series.SetPlotType(series.PlotTypeBar)
        series.SetAndObserveTableNodeID(chart.GetNodeReferenceID(_BARS_ROLE))
        series.SetColor(*(part / 255 for part in _BAR_COLORS[number % len(_BAR_COLORS)]))
        chart.AddNodeReferenceID(_SERIES_ROLE, series.GetID())


def _plot(chart: slicer.vtkMRMLPlotChartNode, prediction: Prediction) -> None:
    """Show a prediction in a chart that has series enough.

    Slicer writes no text below bars: so each class is a series, named in the legend, and the title tells the answer.
    """
    table = chart.GetNodeReference(_BARS_ROLE)
    if table is None:
        return
    columns = {name: (probability,) for name, probability in prediction.probabilities.items()}
    table.SetAndObserveTable(_table(columns))
    was_modifying = chart.StartModify()
    chart.RemoveAllPlotSeriesNodeIDs()
    for number, (name, probability) in enumerate(prediction.probabilities.items()):
        series = chart.GetNthNodeReference(_SERIES_ROLE, number)
        series.SetName(f"{name} {probability:.2f}")
        series.SetYColumnName(name)
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
    chart.SetTitle(f"{prediction.target}: {prediction.predicted}")
    chart.EndModify(was_modifying)


# --- explanation --------------------------------------------------------------------------------------------------


def _add_explanation(
    node: slicer.vtkMRMLTableNode, result: ClassificationResult, reference_node: slicer.vtkMRMLVolumeNode | None
) -> slicer.vtkMRMLScalarVolumeNode:
    scene, explanation = node.GetScene(), result.explanation
    volume = add_volume(scene, explanation.volume, result_name("explanation", result.provenance, reference_node))
    describe_node(volume, result.provenance)
    volume.SetAttribute(TARGET_ATTRIBUTE, explanation.target)
    volume.SetAttribute(PREDICTED_ATTRIBUTE, explanation.predicted)
    display, limit = volume.GetDisplayNode(), color_limit(explanation)
    display.SetAndObserveColorNodeID(_color_node(scene).GetID())
    display.SetWindowLevelMinMax(-limit, limit)
    return volume


def _color_node(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLColorTableNode:
    """Return the colours of explanations: transparent around 0, where a region hardly matters."""
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLColorTableNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLColorTableNode")
        if node.GetAttribute(_COLORS_ATTRIBUTE) is not None:
            return node
    node = new_node(scene, "vtkMRMLColorTableNode", "NNMamba explanation")
    node.SetAttribute(_COLORS_ATTRIBUTE, "explanation")
    node.SetTypeToUser()
    node.SetNumberOfColors(_COLOR_COUNT)
    # Slicer's slice views take any opacity but 0 for 1: so what is weak is dark.
    for index, part in enumerate(np.linspace(-1, 1, _COLOR_COUNT).tolist()):
        color = np.array(FOR_COLOR if part > 0 else AGAINST_COLOR) * abs(part)
        node.SetColor(index, f"{part:+.2f}", *color.tolist(), float(abs(part) >= _LEAST_SHOWN))
    return node


def _explanation_of(node: slicer.vtkMRMLScalarVolumeNode | None) -> Explanation | None:
    if node is None or node.GetImageData() is None:
        return None
    target, predicted = node.GetAttribute(TARGET_ATTRIBUTE), node.GetAttribute(PREDICTED_ATTRIBUTE)
    return Explanation(target or "", predicted or "", volume_from_node(node, check=False))
