"""From a volume to a result: preprocessing, sliding window, and one file a task."""
