"""Model packages: a manifest and weights, data and never code."""
