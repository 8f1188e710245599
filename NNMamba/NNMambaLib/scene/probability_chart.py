"""The bar plot of a classification: a chart that shows the probabilities of one question at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from NNMambaLib.results import Prediction
from NNMambaLib.scene.nodes import new_node
from NNMambaLib.scene.tables import vtk_table

if TYPE_CHECKING:
    import slicer

# References of a chart to its hidden table and to all its series; the chart itself refers to the series that it shows.
_BARS_ROLE, _SERIES_ROLE = "NNMamba.bars", "NNMamba.series"
# The bars stand around 0; the legend takes the room to their right.
_BARS_RANGE = (-0.5, 1.0)
# Colours of Okabe and Ito, which the colour-blind can tell apart too.
_BAR_COLORS = (
    (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0), (240, 228, 66),
)  # fmt: skip


def add_chart(scene: slicer.vtkMRMLScene, name: str) -> slicer.vtkMRMLPlotChartNode:
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


def add_series(chart: slicer.vtkMRMLPlotChartNode, count: int) -> None:
    """Add series of one bar each, on the chart's hidden table, until it has `count` of them."""
    for number in range(chart.GetNumberOfNodeReferences(_SERIES_ROLE), count):
        series = new_node(chart.GetScene(), "vtkMRMLPlotSeriesNode", f"{chart.GetName()} bar {number + 1}")
        series.SetHideFromEditors(True)
        series.SetPlotType(series.PlotTypeBar)
        series.SetAndObserveTableNodeID(chart.GetNodeReferenceID(_BARS_ROLE))
        series.SetColor(*(part / 255 for part in _BAR_COLORS[number % len(_BAR_COLORS)]))
        chart.AddNodeReferenceID(_SERIES_ROLE, series.GetID())


def plot_prediction(chart: slicer.vtkMRMLPlotChartNode, prediction: Prediction) -> None:
    """Show a prediction in a chart that has a series for each of its classes.

    Slicer writes no text below bars, so each class is a series, named in the legend, and the title gives the answer.
    """
    table = chart.GetNodeReference(_BARS_ROLE)
    if table is None:
        return
    columns = {name: (probability,) for name, probability in prediction.probabilities.items()}
    table.SetAndObserveTable(vtk_table(columns))
    was_modifying = chart.StartModify()
    chart.RemoveAllPlotSeriesNodeIDs()
    for number, (name, probability) in enumerate(prediction.probabilities.items()):
        series = chart.GetNthNodeReference(_SERIES_ROLE, number)
        series.SetName(f"{name} {probability:.2f}")
        series.SetYColumnName(name)
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
    chart.SetTitle(f"{prediction.target}: {prediction.predicted}")
    chart.EndModify(was_modifying)
