"""The `brain-landmarks` model: anatomical fiducials and centroids of deep nuclei."""
