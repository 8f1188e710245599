"""File systems on which a file cannot take its place, or that lack hard links."""

import errno
import os


def refuse_links(monkeypatch):
    """Let the file system have no hard links."""

    def refuse(*arguments, **options):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)


def fail_at(monkeypatch, name, action=None):
    """Fail once, where a file is to take the place of that name; or do something else then.

    Returns a list of the names that a file took, or was to take, in their order.
    """
    taken = []

    def patched(really):
        def rename(source, target, **options):
            target_name = os.path.basename(target)
            if not target_name.startswith(".nnmamba-"):
                taken.append(target_name)
                if target_name == name and taken.count(name) == 1:
                    if action is None:
                        raise OSError(errno.EIO, "Input/output error")
                    action()
            return really(source, target, **options)

        return rename

    for function in ("replace", "link"):
        monkeypatch.setattr(os, function, patched(getattr(os, function)))
    return taken
