"""Stand-ins for the widgets of CTK that panels use: the same members, a plain look."""

from __future__ import annotations

from pathlib import Path

from PySide6 import QtCore, QtGui, QtWidgets

from slicer_host.pythonqt import StandIn


class ctkCollapsibleButton(StandIn, QtWidgets.QAbstractButton):
    """A title bar that hides and shows what lies below it."""

    _TITLE_PADDING = 5

    def __init__(self, *arguments):
        text = arguments[0] if arguments and isinstance(arguments[0], str) else ""
        super().__init__(next((value for value in arguments if isinstance(value, QtWidgets.QWidget)), None))
        self._collapsed = False
        self._hidden_by_collapse = []
        self.setText(text)
        self.setSizePolicy(QtWidgets.QSizePolicy.Preferred, QtWidgets.QSizePolicy.Preferred)
        self.setFocusPolicy(QtCore.Qt.StrongFocus)
        self.setContentsMargins(0, self._title_height(), 0, 0)
        self.clicked.connect(self._toggle)

    @property
    def collapsed(self):
        return self._collapsed

    @collapsed.setter
    def collapsed(self, collapsed):
        if collapsed == self._collapsed:
            return
        self._collapsed = bool(collapsed)
        if collapsed:
            self._hidden_by_collapse = [child for child in self._widgets() if not child.isHidden()]
            for child in self._hidden_by_collapse:
                child.hide()
        else:
            for child in self._hidden_by_collapse:
                child.show()
        self.setMaximumHeight(self._title_height() if collapsed else 16777215)
        self.updateGeometry()
        self.update()
        self._emit("contentsCollapsed(bool)", self._collapsed)

    def minimumSizeHint(self):
        title = QtCore.QSize(QtGui.QFontMetrics(self.font).horizontalAdvance(self.text) + 40, self._title_height())
        return title.expandedTo(QtWidgets.QAbstractButton.minimumSizeHint(self))

    def paintEvent(self, event):
        painter = QtGui.QPainter(self)
        title = QtCore.QRect(0, 0, self.width, self._title_height())
        painter.fillRect(title, self.palette.color(QtGui.QPalette.Button).darker(107))
        option = QtWidgets.QStyleOption()
        option.initFrom(self)
        option.rect = QtCore.QRect(6, (title.height() - 12) // 2, 12, 12)
        arrow = QtWidgets.QStyle.PE_IndicatorArrowRight if self._collapsed else QtWidgets.QStyle.PE_IndicatorArrowDown
        self.style().drawPrimitive(arrow, option, painter, self)
        font = self.font
        font.setBold(True)
        painter.setFont(font)
        painter.drawText(title.adjusted(24, 0, 0, 0), QtCore.Qt.AlignVCenter | QtCore.Qt.TextShowMnemonic, self.text)

    def hitButton(self, position):
        return position.y() < self._title_height()

    def _title_height(self):
        return QtGui.QFontMetrics(self.font).height() + 2 * self._TITLE_PADDING

    def _toggle(self):
        self.collapsed = not self._collapsed

    def _widgets(self):
        return self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly)


class qMRMLCollapsibleButton(ctkCollapsibleButton):
    def setMRMLScene(self, scene):
        """Taken and of no use: nothing below the title asks for it."""


class ctkCollapsibleGroupBox(StandIn, QtWidgets.QGroupBox):
    """A group box whose title collapses it."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.setCheckable(True)
        self.toggled.connect(self._show_contents)

    @property
    def collapsed(self):
        return not self.checked

    @collapsed.setter
    def collapsed(self, collapsed):
        self.setChecked(not collapsed)

    def _show_contents(self, shown):
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly):
            child.setVisible(shown)


class ctkComboBox(StandIn, QtWidgets.QComboBox):
    """A combo box with a text for when nothing is chosen."""

    @property
    def defaultText(self):
        return self.placeholderText

    @defaultText.setter
    def defaultText(self, text):
        self.placeholderText = text

    @property
    def currentUserDataAsString(self):
        return str(self.currentData or "")

    @currentUserDataAsString.setter
    def currentUserDataAsString(self, value):
        self.setCurrentUserDataAsString(value)

    def setCurrentUserDataAsString(self, value):
        self.setCurrentIndex(self.findData(value))


class ctkPushButton(StandIn, QtWidgets.QPushButton):
    pass


class ctkMenuButton(ctkPushButton):
    pass


class ctkFittedTextBrowser(StandIn, QtWidgets.QTextBrowser):
    pass


class ctkMessageBox(StandIn, QtWidgets.QMessageBox):
    """A message box that can be told not to come again."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._settings_key = ""
        self._check_box = QtWidgets.QCheckBox("Don't show this message again")

    @property
    def dontShowAgainVisible(self):
        return self.checkBox() is not None

    @dontShowAgainVisible.setter
    def dontShowAgainVisible(self, visible):
        self.setCheckBox(self._check_box if visible else None)

    @property
    def dontShowAgain(self):
        return self._check_box.checked

    @dontShowAgain.setter
    def dontShowAgain(self, checked):
        self._check_box.checked = checked

    @property
    def dontShowAgainSettingsKey(self):
        return self._settings_key

    @dontShowAgainSettingsKey.setter
    def dontShowAgainSettingsKey(self, key):
        self._settings_key = key
        self.dontShowAgainVisible = bool(key)


class ctkSliderWidget(StandIn, QtWidgets.QWidget):
    """A slider of floats beside a spin box."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._tracking = True
        self._slider = QtWidgets.QSlider(QtCore.Qt.Horizontal, self)
        self._spin_box = QtWidgets.QDoubleSpinBox(self)
        self._spin_box.setKeyboardTracking(False)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider, 1)
        row.addWidget(self._spin_box)
        self.setFocusProxy(self._spin_box)
        self._spin_box.setMaximum(99)
        self._fit_slider()
        self._slider.connect("valueChanged(int)", self._slider_moved)
        self._slider.connect("sliderReleased()", self._slider_released)
        self._spin_box.connect("valueChanged(double)", self._value_changed)

    @property
    def value(self):
        return self._spin_box.value

    @value.setter
    def value(self, value):
        self._spin_box.value = float(value)

    def setValue(self, value):
        self.value = value

    @property
    def minimum(self):
        return self._spin_box.minimum

    @minimum.setter
    def minimum(self, minimum):
        self._spin_box.minimum = float(minimum)
        self._fit_slider()

    @property
    def maximum(self):
        return self._spin_box.maximum

    @maximum.setter
    def maximum(self, maximum):
        self._spin_box.maximum = float(maximum)
        self._fit_slider()

    @property
    def singleStep(self):
        return self._spin_box.singleStep

    @singleStep.setter
    def singleStep(self, step):
        self._spin_box.singleStep = float(step)
        self._fit_slider()

    @property
    def pageStep(self):
        return self._slider.pageStep * self.singleStep

    @pageStep.setter
    def pageStep(self, step):
        self._slider.pageStep = max(1, round(step / self.singleStep))

    @property
    def decimals(self):
        return self._spin_box.decimals

    @decimals.setter
    def decimals(self, decimals):
        if decimals != self._spin_box.decimals:
            self._spin_box.decimals = decimals
            self._emit("decimalsChanged(int)", decimals)

    def setDecimals(self, decimals):
        self.decimals = decimals

    @property
    def prefix(self):
        return self._spin_box.prefix

    @prefix.setter
    def prefix(self, prefix):
        self._spin_box.prefix = prefix

    @property
    def suffix(self):
        return self._spin_box.suffix

    @suffix.setter
    def suffix(self, suffix):
        self._spin_box.suffix = suffix

    @property
    def tracking(self):
        return self._tracking

    @tracking.setter
    def tracking(self, tracking):
        self._tracking = bool(tracking)

    @property
    def spinBoxVisible(self):
        return not self._spin_box.isHidden()

    @spinBoxVisible.setter
    def spinBoxVisible(self, visible):
        self._spin_box.setVisible(visible)

    def setSpinBoxVisible(self, visible):
        self.spinBoxVisible = visible

    def reset(self):
        self.value = 0

    def _fit_slider(self):
        blocked = self._slider.blockSignals(True)
        self._slider.setRange(0, max(0, round((self.maximum - self.minimum) / self.singleStep)))
        self._slider.setValue(round((self.value - self.minimum) / self.singleStep))
        self._slider.blockSignals(blocked)

    def _slider_moved(self, position):
        value = self.minimum + position * self.singleStep
        if self._slider.isSliderDown() and not self._tracking:
            self._emit("valueIsChanging(double)", value)
        else:
            self._spin_box.setValue(value)

    def _slider_released(self):
        self._slider_moved(self._slider.value)

    def _value_changed(self, value):
        self._fit_slider()
        if self._slider.isSliderDown():
            self._emit("valueIsChanging(double)", value)
        self._emit("valueChanged(double)", value)


class ctkPathLineEdit(StandIn, QtWidgets.QWidget):
    """A path that can be typed or browsed for."""

    Dirs, Files, Drives = 0x1, 0x2, 0x4
    NoSymLinks, Readable, Writable, Executable = 0x8, 0x10, 0x20, 0x40
    Hidden = 0x100

    def __init__(self, parent=None):
        super().__init__(parent)
        self._filters = self.Files | self.Readable
        self._name_filters = []
        self._label = ""
        self._setting_key = ""
        self._box = QtWidgets.QComboBox(self)
        self._box.setEditable(True)
        self._box.setSizePolicy(QtWidgets.QSizePolicy.Ignored, QtWidgets.QSizePolicy.Fixed)
        self._button = QtWidgets.QToolButton(self)
        self._button.setText("…")
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._box, 1)
        row.addWidget(self._button)
        self.setFocusProxy(self._box)
        self._valid = False
        self._box.connect("editTextChanged(QString)", self._path_changed)
        self._button.connect("clicked()", self.browse)

    @property
    def currentPath(self):
        return self._box.currentText

    @currentPath.setter
    def currentPath(self, path):
        self._box.setEditText(str(path))

    def setCurrentPath(self, path):
        self.currentPath = path

    def comboBox(self):
        return self._box

    @property
    def filters(self):
        return self._filters

    @filters.setter
    def filters(self, filters):
        self._filters = int(filters)

    @property
    def nameFilters(self):
        return self._name_filters

    @nameFilters.setter
    def nameFilters(self, filters):
        self._name_filters = list(filters)

    @property
    def label(self):
        return self._label

    @label.setter
    def label(self, label):
        self._label = label

    @property
    def settingKey(self):
        return self._setting_key

    @settingKey.setter
    def settingKey(self, key):
        self._setting_key = key
        self.retrieveHistory()

    @property
    def showBrowseButton(self):
        return not self._button.isHidden()

    @showBrowseButton.setter
    def showBrowseButton(self, shown):
        self._button.setVisible(shown)

    @property
    def showHistoryButton(self):
        return True

    @showHistoryButton.setter
    def showHistoryButton(self, shown):
        """Taken; the history is shown in any case."""

    def browse(self):
        import qt

        title = self._label or "Select"
        if self._filters & self.Files:
            ask = qt.QFileDialog.getSaveFileName if self._filters & self.Writable else qt.QFileDialog.getOpenFileName
            path = ask(self, title, self.currentPath, ";;".join(self._name_filters))
        else:
            path = qt.QFileDialog.getExistingDirectory(self, title, self.currentPath)
        if path:
            self.currentPath = path

    def addCurrentPathToHistory(self):
        if self._setting_key and self.currentPath:
            history = [self.currentPath, *(path for path in self._history() if path != self.currentPath)]
            QtCore.QSettings().setValue(self._setting_key, history)
            self.retrieveHistory()

    def retrieveHistory(self):
        path, blocked = self.currentPath, self._box.blockSignals(True)
        self._box.clear()
        self._box.addItems(self._history())
        self._box.setEditText(path)
        self._box.blockSignals(blocked)

    def _history(self):
        value = QtCore.QSettings().value(self._setting_key) or []
        return [value] if isinstance(value, str) else list(value)

    def _path_changed(self, path):
        valid = Path(path).is_file() if self._filters & self.Files else Path(path).is_dir()
        if valid != self._valid:
            self._valid = valid
            self._emit("validInputChanged(bool)", valid)
        self._emit("currentPathChanged(QString)", path)


class ctkDirectoryButton(StandIn, QtWidgets.QWidget):
    """A button that shows and asks for a folder."""

    def __init__(self, *arguments):
        super().__init__(next((value for value in arguments if isinstance(value, QtWidgets.QWidget)), None))
        self._caption = "Select folder"
        self._button = QtWidgets.QPushButton(self)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._button)
        self._directory = arguments[0] if arguments and isinstance(arguments[0], str) else ""
        self._button.setText(self._directory)
        self._button.connect("clicked()", self.browse)

    @property
    def directory(self):
        return self._directory

    @directory.setter
    def directory(self, directory):
        if directory != self._directory:
            self._directory = str(directory)
            self._button.setText(self._directory)
            self._emit("directoryChanged(QString)", self._directory)

    @property
    def caption(self):
        return self._caption

    @caption.setter
    def caption(self, caption):
        self._caption = caption

    def browse(self):
        import qt

        directory = qt.QFileDialog.getExistingDirectory(self, self._caption, self._directory)
        if directory:
            self.directory = directory
            self._emit("directorySelected(QString)", directory)
