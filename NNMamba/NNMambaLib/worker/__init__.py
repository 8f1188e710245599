"""The engine as a process of its own: JSON lines over its pipes, voxels through files that both sides map.

`client` is the caller's side and needs neither torch nor a graphical interface; `process` is the worker's.
"""
