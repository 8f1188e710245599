"""For the type checker alone: the package installs beside an NVIDIA GPU's compiler only."""
