"""What `nnmamba train` needs to know of each task, one file each."""
