"""Tables that are as tall as their content."""

from __future__ import annotations

from collections.abc import Sequence

import qt

_MOST_PIXELS = 260
_FRAME = 4
_SCROLL_BAR = 16


def fill_table(table, rows: Sequence[Sequence[str]], tips: Sequence[str] | None = None) -> None:
    """Show rows of text; the selected row stays selected, and no signal is emitted.

    Args:
        table: a QTableWidget with its columns.
        rows: the texts of their cells.
        tips: a tooltip for each row; by default each cell's own text, which may be cut off.
    """
    row, was_blocked = table.currentRow(), table.blockSignals(True)
    table.setRowCount(len(rows))
    for number, texts in enumerate(rows):
        for column, text in enumerate(texts):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(tips[number] if tips else text)
            table.setItem(number, column, item)
    if 0 <= row < len(rows):
        table.selectRow(row)
    fit_table(table)
    table.blockSignals(was_blocked)


def fit_table(table) -> None:
    """Make the columns as wide and the table as tall as the texts need, up to a limit."""
    table.visible = table.rowCount > 0
    # The height of a row depends on its width, which must be known now.
    table.parentWidget().layout().activate()
    for column in range(table.columnCount - 1):
        table.resizeColumnToContents(column)
    table.resizeRowsToContents()
    header = table.horizontalHeader()
    height = table.verticalHeader().length() + header.height + _FRAME
    if header.length() > table.viewport().width:
        height += _SCROLL_BAR
    table.minimumHeight = table.maximumHeight = min(height, _MOST_PIXELS)
