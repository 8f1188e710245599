"""All functions that numba compiles. Nothing else imports numba, and everything works without it."""
