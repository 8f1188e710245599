"""Networks for inference on a CPU: the same function in fewer and faster steps."""
