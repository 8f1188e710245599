"""From a user's folder to training samples: reading, checking, splitting by subject, preparing, sampling."""
