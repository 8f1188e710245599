"""Results as files and pictures that others open, without Slicer's libraries."""
