"""Tables of VTK from columns of Python values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import vtk


def vtk_table(columns: dict[str, tuple]) -> vtk.vtkTable:
    """Return a table with columns of str, float or bool, each of one type and none empty."""
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
