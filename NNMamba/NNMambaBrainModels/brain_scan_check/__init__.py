"""The `brain-scan-check` model: how a head volume lies in its array, and its contrast."""
