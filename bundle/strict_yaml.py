"""YAML as configuration needs it: safe, in UTF-8, and a key given twice is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Hashable

import yaml

from .errors import BundleError

# What PyYAML lets through where a value does not fit its tag (!!timestamp x), or is too large.
_TAG_ERRORS = (ValueError, TypeError, AttributeError, LookupError, RecursionError)


def read_yaml(path: Path) -> object:
    """Return what a YAML file holds.

    Raises:
        BundleError: missing, not UTF-8, not YAML, or a key is given twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise BundleError("there is no {}; check the path".format(path)) from error
    except OSError as error:
        raise BundleError(
            "cannot read {}: {}; give a file that you may read".format(path, error.strerror)
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BundleError(
            "{} is not YAML in UTF-8 (line {}); save it as UTF-8".format(path, line)
        ) from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str, *, texts: bool = False) -> object:
    """Return what `text` holds; `source` names it in errors, `texts` leaves scalars as written.

    Raises:
        BundleError: not YAML, or a key is given twice; its cause has PyYAML's `problem_mark`.
    """
    try:
        # Neither loader makes objects.
        document: object = yaml.load(text, Loader=_TextLoader if texts else _PlainLoader)  # noqa: S506
    except yaml.YAMLError as error:
        # PyYAML calls a text by its type, where the caller has a name for it.
        reason = " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
        raise BundleError("{} cannot be read as YAML: {}".format(source, reason)) from error
    except _TAG_ERRORS as error:
        raise BundleError(
            "{} has a value that does not fit its tag, or too many brackets: {}; write it "
            "plainly".format(source, error)
        ) from error
    return document


class _UniqueKeys:
    """Makes a loader refuse a key given twice, where YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, "the key {!r} is given twice".format(key.value), key.start_mark
                    )
                seen.add(key.value)
        construct = super().construct_mapping  # type: ignore[misc] # of the loader beside it
        mapping: Dict[Hashable, Any] = construct(node, deep=deep)
        return mapping


class _PlainLoader(_UniqueKeys, yaml.SafeLoader):
    """Plain data, whatever the tags say."""


class _TextLoader(_UniqueKeys, yaml.BaseLoader):
    """Every scalar as it is written: a key of digits is no number, `no` is not False."""
