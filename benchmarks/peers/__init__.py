"""`python -m benchmarks peers`: this service and others with the same function, in turns."""
