"""From a user's folder to samples: reading and checking it, splitting by subject, preparing, drawing."""
