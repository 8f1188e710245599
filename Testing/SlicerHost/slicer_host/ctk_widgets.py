"""Stand-ins for the widgets of CTK that panels use: the same members, a plain look."""

from __future__ import annotations

from pathlib import Path

from PySide6 import QtCore, QtGui, QtWidgets

from slicer_host.members import assigns, forwarded, kept
from slicer_host.pythonqt import StandIn

_TITLE_PADDING = 5
_NO_LIMIT = 16777215


class ctkCollapsibleButton(StandIn, QtWidgets.QAbstractButton):
    """A title bar that hides and shows what lies below it."""

    def __init__(self, *arguments):
        super().__init__(next((value for value in arguments if isinstance(value, QtWidgets.QWidget)), None))
        self._collapsed = False
        self._hidden_by_collapse = []
        self.text = next((value for value in arguments if isinstance(value, str)), "")
        self.setSizePolicy(QtWidgets.QSizePolicy.Preferred, QtWidgets.QSizePolicy.Preferred)
        self.focusPolicy = QtCore.Qt.StrongFocus
        self._title_height = QtGui.QFontMetrics(self.font).height() + 2 * _TITLE_PADDING
        self.setContentsMargins(0, self._title_height, 0, 0)
        self.connect("clicked()", lambda: setattr(self, "collapsed", not self._collapsed))

    @property
    def collapsed(self):
        return self._collapsed

    @collapsed.setter
    def collapsed(self, collapsed):
        if collapsed == self._collapsed:
            return
        self._collapsed = bool(collapsed)
        if collapsed:
            children = self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly)
            self._hidden_by_collapse = [child for child in children if not child.isHidden()]
        for child in self._hidden_by_collapse:
            child.visible = not collapsed
        self.setMaximumHeight(self._title_height if collapsed else _NO_LIMIT)
        self.update()
        self._emit("contentsCollapsed(bool)", self._collapsed)

    def minimumSizeHint(self):
        title = QtCore.QSize(QtGui.QFontMetrics(self.font).horizontalAdvance(self.text) + 40, self._title_height)
        return title.expandedTo(QtWidgets.QAbstractButton.minimumSizeHint(self))

    def paintEvent(self, event):
        painter = QtGui.QPainter(self)
        title = QtCore.QRect(0, 0, self.width, self._title_height)
        painter.fillRect(title, self.palette.color(QtGui.QPalette.Button).darker(107))
        option = QtWidgets.QStyleOption()
        option.initFrom(self)
        option.rect = QtCore.QRect(6, (self._title_height - 12) // 2, 12, 12)
        arrow = QtWidgets.QStyle.PE_IndicatorArrowRight if self._collapsed else QtWidgets.QStyle.PE_IndicatorArrowDown
        self.style().drawPrimitive(arrow, option, painter, self)
        font = self.font
        font.setBold(True)
        painter.setFont(font)
        painter.drawText(title.adjusted(24, 0, 0, 0), QtCore.Qt.AlignVCenter | QtCore.Qt.TextShowMnemonic, self.text)

    def hitButton(self, position):
        return position.y() < self._title_height


class ctkComboBox(StandIn, QtWidgets.QComboBox):
    """A combo box with a text for when nothing is chosen."""

    defaultText = property(lambda self: self.placeholderText, lambda self, text: self.setPlaceholderText(text))


class ctkPushButton(StandIn, QtWidgets.QPushButton):
    pass


class ctkMenuButton(ctkPushButton):
    pass


class ctkFittedTextBrowser(StandIn, QtWidgets.QTextBrowser):
    pass


class ctkMessageBox(StandIn, QtWidgets.QMessageBox):
    """A message box that can be told not to come again; it always comes."""

    dontShowAgain = kept(False)
    dontShowAgainVisible = kept(False)
    dontShowAgainSettingsKey = kept("")


class ctkSliderWidget(StandIn, QtWidgets.QWidget):
    """A slider of floats beside a spin box."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Horizontal, self)
        self._spin_box = QtWidgets.QDoubleSpinBox(self)
        self._spin_box.keyboardTracking = False
        self._spin_box.maximum = 99
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider, 1)
        row.addWidget(self._spin_box)
        self.setFocusProxy(self._spin_box)
        self._fit_slider()
        self._slider.connect("valueChanged(int)", self._slider_moved)
        self._slider.connect("sliderReleased()", self._slider_moved)
        self._spin_box.connect("valueChanged(double)", self._value_changed)

    value = forwarded("_spin_box", "value")
    minimum = forwarded("_spin_box", "minimum", then="_fit_slider")
    maximum = forwarded("_spin_box", "maximum", then="_fit_slider")
    singleStep = forwarded("_spin_box", "singleStep", then="_fit_slider")
    decimals = forwarded("_spin_box", "decimals")
    prefix = forwarded("_spin_box", "prefix")
    suffix = forwarded("_spin_box", "suffix")
    spinBoxVisible = forwarded("_spin_box", "visible")
    pageStep = kept(10.0)
    tracking = kept(True)
    setValue = assigns("value")
    setDecimals = assigns("decimals")
    setSpinBoxVisible = assigns("spinBoxVisible")

    def _fit_slider(self):
        blocked = self._slider.blockSignals(True)
        self._slider.setRange(0, max(0, round((self.maximum - self.minimum) / self.singleStep)))
        self._slider.setValue(round((self.value - self.minimum) / self.singleStep))
        self._slider.blockSignals(blocked)

    def _slider_moved(self):
        value = self.minimum + self._slider.value * self.singleStep
        if self._slider.isSliderDown():
            self._emit("valueIsChanging(double)", value)
        if self.tracking or not self._slider.isSliderDown():
            self.value = value

    def _value_changed(self, value):
        self._fit_slider()
        self._emit("valueChanged(double)", value)


class ctkPathLineEdit(StandIn, QtWidgets.QWidget):
    """A path that can be typed, browsed for or taken from the paths used before."""

    Dirs, Files, Drives, NoSymLinks = 0x1, 0x2, 0x4, 0x8
    Readable, Writable, Executable, Hidden = 0x10, 0x20, 0x40, 0x100

    def __init__(self, parent=None):
        super().__init__(parent)
        self._valid = False
        self._box = QtWidgets.QComboBox(self)
        self._box.editable = True
        self._box.setSizePolicy(QtWidgets.QSizePolicy.Ignored, QtWidgets.QSizePolicy.Fixed)
        self._button = QtWidgets.QToolButton(self)
        self._button.text = "…"
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._box, 1)
        row.addWidget(self._button)
        self.setFocusProxy(self._box)
        self._box.connect("editTextChanged(QString)", self._path_changed)
        self._button.connect("clicked()", self.browse)

    currentPath = property(lambda self: self._box.currentText, lambda self, path: self._box.setEditText(str(path)))
    setCurrentPath = assigns("currentPath")
    filters = kept(Files | Readable)
    nameFilters = kept([])
    label = kept("")
    settingKey = kept("", then="retrieveHistory")
    showBrowseButton = forwarded("_button", "visible")
    showHistoryButton = kept(True)

    def comboBox(self):
        return self._box

    def browse(self):
        import qt

        title = self.label or "Select"
        if self.filters & self.Files:
            ask = qt.QFileDialog.getSaveFileName if self.filters & self.Writable else qt.QFileDialog.getOpenFileName
            path = ask(self, title, self.currentPath, ";;".join(self.nameFilters))
        else:
            path = qt.QFileDialog.getExistingDirectory(self, title, self.currentPath)
        if path:
            self.currentPath = path

    def addCurrentPathToHistory(self):
        if self.settingKey and self.currentPath:
            others = [path for path in self._history() if path != self.currentPath]
            QtCore.QSettings().setValue(self.settingKey, [self.currentPath, *others])
            self.retrieveHistory()

    def retrieveHistory(self):
        path, blocked = self.currentPath, self._box.blockSignals(True)
        self._box.clear()
        self._box.addItems(self._history())
        self._box.setEditText(path)
        self._box.blockSignals(blocked)

    def _history(self):
        value = QtCore.QSettings().value(self.settingKey) or []
        return [value] if isinstance(value, str) else list(value)

    def _path_changed(self, path):
        valid = Path(path).is_file() if self.filters & self.Files else Path(path).is_dir()
        if valid != self._valid:
            self._valid = valid
            self._emit("validInputChanged(bool)", valid)
        self._emit("currentPathChanged(QString)", path)
