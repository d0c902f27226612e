"""From an export to a bundle: `python -m converter`."""

import os
import sys

if sys.argv[:1] == ["-m"] and sys.path[:1] == [os.getcwd()]:  # noqa: PTH109 - nothing is imported yet
    # `python -m` looks for modules in the working folder first, and this may be that of a
    # stranger's model, with a yaml.py in it. What is not installed lies beside this package.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
