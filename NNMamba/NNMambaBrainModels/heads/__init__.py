"""Head models: where they come from, their labels and landmarks, and the people that are held out."""
