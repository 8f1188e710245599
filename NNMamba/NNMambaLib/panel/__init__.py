"""What the modules in Slicer share: the worker, jobs from and into the scene, and the panels' widgets.

Nothing here computes. `run_from_script` and what it needs also run on Slicer's libraries alone; the rest needs Qt and
the application.
"""
