"""Results as files and pictures that other programs open, made without Slicer's libraries."""
