"""Stack traces in the log of a service: errors that its code does not expect."""

from __future__ import annotations

import re

# The first words of a stack trace, anywhere in a line: the log indents the lines after the first.
# When a fault of ours crashes a worker, Paddle writes "C++ Traceback"; that does not count.
_TRACE = re.compile(r"(?<!C\+\+ )Traceback \(most recent call last\)")


def stack_traces(log: str) -> int:
    """Return how many stack traces of Python a service's log holds."""
    return len(_TRACE.findall(log))
