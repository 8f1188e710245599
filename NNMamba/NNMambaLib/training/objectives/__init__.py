"""The training objectives, one file a task: how a network is built for training, and the loss of a batch."""
