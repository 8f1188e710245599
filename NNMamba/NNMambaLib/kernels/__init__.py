"""All that numba compiles. Nothing else imports numba, and nothing needs it."""
