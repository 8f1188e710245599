"""What a network learns, one file a task: how it is built for training, and the loss of a batch."""
