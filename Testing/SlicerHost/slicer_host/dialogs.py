"""Dialogs that would wait for a user are answered by the test instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from PySide6 import QtWidgets


class UnexpectedDialogError(AssertionError):
    """A dialog opened that the test said nothing of, or another than it said."""


@dataclass(frozen=True)
class Shown:
    """A dialog that was shown: its class or function, its title, all its text and the answer it got."""

    kind: str
    title: str
    text: str
    answer: object


class Dialogs:
    """The answers that a test gives beforehand, and the dialogs that were shown."""

    def __init__(self, report: Callable[[BaseException], None]):
        self.shown: list[Shown] = []
        self._answers = []
        self._report = report

    def answer(self, answer, pattern: str = "") -> None:
        """Give the next dialog's answer.

        Args:
            answer: the text of the button to press (``"OK"``, ``"Yes"``, ...); True or False, to accept or reject; a
                callable that gets the dialog and does what a user would do in it; for a file or input dialog, what its
                function returns, ``""`` if it is cancelled.
            pattern: a regular expression that the dialog's title or text must contain.
        """
        self._answers.append((answer, pattern))

    def check_all_shown(self) -> None:
        """Fail if a dialog that was answered beforehand has not been shown."""
        if self._answers:
            raise AssertionError(f"no dialog has taken the answers {[answer for answer, _ in self._answers]}")

    def ask(self, kind: str, title: str, text: str, cancelled):
        """Return the next answer to a dialog that is a function, `cancelled` where it was not expected."""
        expected, answer = self._next(kind, title, text)
        return answer if expected else cancelled

    def execute(self, dialog: QtWidgets.QWidget) -> int:
        """Answer a dialog or menu and return what its `exec` returns."""
        kind, title, text = type(dialog).__name__, dialog.windowTitle, _text_of(dialog)
        expected, answer = self._next(kind, title, text)
        if isinstance(dialog, QtWidgets.QMenu):
            return next((action for action in dialog.actions() if expected and action.text == answer), None)
        dialog.show()
        try:
            if not expected:
                dialog.reject()
            elif isinstance(answer, bool):
                dialog.accept() if answer else dialog.reject()
            elif isinstance(answer, str):
                self._press(dialog, answer)
            else:
                returned = answer(dialog)
                if isinstance(returned, int):
                    dialog.done(returned)
        finally:
            dialog.hide()
        return QtWidgets.QDialog.result(dialog)

    def _next(self, kind, title, text) -> tuple[bool, object]:
        expected = bool(self._answers) and re.search(self._answers[0][1], f"{title}\n{text}") is not None
        answer = self._answers.pop(0)[0] if expected else None
        self.shown.append(Shown(kind, title, text, answer))
        if not expected:
            next_pattern = f"; the next answer is for {self._answers[0][1]!r}" if self._answers else ""
            self._report(UnexpectedDialogError(f"{kind} {title!r} asks: {text}{next_pattern}"))
        return expected, answer

    def _press(self, dialog, text):
        for button in dialog.findChildren(QtWidgets.QAbstractButton):
            if button.text.replace("&", "") == text and button.isEnabled():
                button.click()
                return
        texts = [button.text.replace("&", "") for button in dialog.findChildren(QtWidgets.QAbstractButton)]
        dialog.reject()
        self._report(UnexpectedDialogError(f"{dialog.windowTitle!r} has no enabled button {text!r} among {texts}"))


def _text_of(dialog: QtWidgets.QWidget) -> str:
    if isinstance(dialog, QtWidgets.QMessageBox):
        return "\n".join(part for part in (dialog.text, dialog.informativeText, dialog.detailedText) if part)
    return "\n".join(label.text for label in dialog.findChildren(QtWidgets.QLabel) if label.text)
