"""The tasks of ``nnmamba train``, one file each."""
