"""Volumes: voxels with their place in the patient; reading, writing, checking and resampling them."""
