"""The same faults on this service and on Paddle Serving 0.9, side by side."""
