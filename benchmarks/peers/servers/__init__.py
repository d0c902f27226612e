"""What runs in the peers' own environments: a small file for each, written as its docs show it."""
