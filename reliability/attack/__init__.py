"""Attacks on the service, over loopback only, and what honest callers notice of them."""
