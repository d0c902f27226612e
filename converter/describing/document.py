"""A description file as plain data, YAML or JSON."""

from __future__ import annotations

from pathlib import Path

from bundle.errors import BundleError
from bundle.strict_json import parse_json
from bundle.strict_yaml import LABEL_KEYS, parse_yaml

# 21,841 classes of ImageNet-22k with their names in full take one; a larger file is a mistake.
MAX_BYTES = 4 << 20
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def load_document(path: Path) -> object:
    """Return what a description file holds: JSON if its name or its first character says so.

    Raises:
        BundleError: missing, empty, too large, not UTF-8, not YAML or JSON, or a key is given
            twice.
    """
    text = _text(path)
    if path.suffix.lower() == ".json":
        return parse_json(text, str(path))
    if text.lstrip()[0] == "{":
        # YAML can be written so too, and reads 1e-5 as text, where JSON reads a number
        try:
            return parse_json(text, str(path))
        except BundleError:
            pass
    try:
        return parse_yaml(text, str(path), label_keys=LABEL_KEYS)
    except BundleError as error:
        if "escape" not in str(error):
            raise
        raise BundleError(
            f"{error}; \\ in double quotes is read as an escape: write a path of Windows without"
            " quotes"
        ) from error


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise BundleError(f"there is no {path}; check the path") from error
    except OSError as error:
        raise BundleError(
            f"cannot read {path}: {error.strerror}; give a file that you may read"
        ) from error
    if len(content) > MAX_BYTES:
        raise BundleError(
            f"{path} is larger than {MAX_BYTES >> 20} MiB, so it is no description; give the file"
            " that says how images are prepared"
        )
    if content.startswith(_UTF16):
        raise BundleError(f"{path} is UTF-16; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BundleError(f"{path} is not YAML in UTF-8 (line {line}); save it as UTF-8") from error
    if not text.strip():
        raise BundleError(f"{path} is empty; export the model again, or give a whole file")
    return text
