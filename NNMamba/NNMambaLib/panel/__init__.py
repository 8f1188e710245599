"""What the panels in Slicer share: the worker on Qt's event loop, jobs from and into the scene, and their widgets.

Nothing here computes; the only files of the library that need Qt, together with Slicer's application.
"""
