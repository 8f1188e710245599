"""Head models: where they come from, their labels and landmarks, and the subjects that are held out."""
