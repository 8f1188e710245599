"""nnMamba for 3D medical volumes: networks, model packages and inference (arXiv 2402.03526).

The package knows neither Qt nor the Slicer application; importing it loads nothing heavy.
"""

__version__ = "0.1.0"
