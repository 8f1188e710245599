"""The commands of ``nnmamba``, one file each: arguments in, files and printed lines out."""
