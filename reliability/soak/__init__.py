"""Load, faults and bad input on a real service for minutes, and a check of every reply."""
