"""The training loop: settings, optimizer, checkpoints, averages of weights, several processes, curves."""
