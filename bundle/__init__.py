"""What a serving bundle is: its folders, its files, and how they are read and written."""

from .bundle import Bundle, load_bundle
from .errors import BundleError

__all__ = ["Bundle", "BundleError", "load_bundle"]
