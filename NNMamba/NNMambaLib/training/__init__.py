"""Recipes that make the bundled model packages: data, synthesis, optimisation, evaluation."""
