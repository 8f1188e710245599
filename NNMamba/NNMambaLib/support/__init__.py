"""What people ask of an installation: what the machine offers, what is missing, how fast it is, a report."""
