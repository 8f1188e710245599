"""Training a model on a folder of cases: data, objectives, the training loop, the model package."""
