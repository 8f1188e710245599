"""Many cases with one command: what is done stands on disk, and only what is missing or has changed is done again."""
