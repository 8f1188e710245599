"""How the bundled brain models are made: synthetic heads, training, measuring, packaging.

`heads` holds what a head is made of, `synthesis` turns heads into samples, and each model has a package of its own with
its `samples`, `train`, `evaluate`, `package` and `picture`. Nothing in NNMambaLib imports from here.
"""
