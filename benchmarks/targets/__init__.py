"""`python -m benchmarks targets`: what this kit promises of its speed, each measured as a ratio."""
