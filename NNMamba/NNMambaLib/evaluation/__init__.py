"""Metrics of the three tasks, case by case and over cases."""
