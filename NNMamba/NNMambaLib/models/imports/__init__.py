"""Other people's weights: read as data from the files that PyTorch and nnU-Net write, and made into model packages."""
