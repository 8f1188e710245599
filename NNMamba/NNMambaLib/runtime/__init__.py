"""The process and the machine: devices, threads, memory allocation, OpenMP; and units."""
