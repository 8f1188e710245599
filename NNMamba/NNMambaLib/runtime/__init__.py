"""The process and the machine: threads, devices, allocation, OpenMP, units."""
