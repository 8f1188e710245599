"""The `brain-structures` model: labels of a head MR volume of any contrast."""
