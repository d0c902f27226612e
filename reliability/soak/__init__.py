"""Load, faults and bad input on a real service for minutes, and a judge of every single answer."""
