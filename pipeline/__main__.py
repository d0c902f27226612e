"""`python -m pipeline` is `python pipeline/web_service.py`."""

import sys

from .web_service import main

sys.exit(main())
