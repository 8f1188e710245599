"""Model packages: a manifest and weights; data, never code."""
