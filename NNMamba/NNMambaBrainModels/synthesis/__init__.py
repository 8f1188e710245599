"""From a head model to a synthetic volume: deformation, contrast and artifacts."""
