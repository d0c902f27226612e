"""Label files: what each class of a model is called, in the order of the classes."""

from __future__ import annotations

import codecs
import logging
import re
from pathlib import Path
from typing import Callable, List, Optional, Tuple

from .errors import BundleError
from .label_documents import CLASS_ID, in_order, labels_of_json, labels_of_yaml

# The ImageNet list's form: "n01440764 tench, Tinca tinca".
_SYNSET = re.compile(r"n\d{8}\s+(\S.*)")
# PaddleClas' form (class_id_map_file): "0 tench, Tinca tinca".
_NUMBERED = re.compile(r"([0-9]{1,9})[ \t]+(\S.*)")
# Not a form: what spreadsheets, dictionaries and Chinese lists write, "0,tench", "0: tench",
# "0、tench", or with a space that only looks like one. "0:30" and "0.5" are names.
_SEPARATED = re.compile(
    r"([0-9]{1,9})(\s*(?:[,;|=)\uff0c\uff1b\u3001\uff09]|[:.\uff1a\uff0e](?!\d))|\s+).*"
)
# Nor is "tench 0", "tench,0": names with the class number behind them.
_NUMBER_LAST = re.compile(r"(.*[^\s,;:|=\uff0c\uff1a])[\s,;:|=\uff0c\uff1a]+([0-9]{1,9})")

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
# How much of a Chinese text is within GB2312, the common characters. Text in another 8-bit encoding
# often passes for GBK, but then as rare characters.
_COMMON_SHARE = 0.9
# The names of ImageNet-22k in full take one; a model's file given by mistake is not read whole.
_MAX_BYTES = 16 << 20
_SHOWN = 5  # labels in the warning about a file that is not UTF-8

logger = logging.getLogger(__name__)


def read_labels(
    path: Path,
    warn: Callable[[str], object] = logger.warning,
    delimiter: Optional[str] = None,
) -> Tuple[str, ...]:
    """Return the labels of a file in UTF-8 (with or without BOM) or GBK (GB18030).

    The form is recognised by the content, `.json`, `.yml` and `.yaml` by the file's name:

    - one label a line, commas and all, the first is class 0;
    - `0 name` a line, as PaddleClas writes it; the lines may stand in any order;
    - `n01440764 name` a line, ImageNet's list; the WordNet id is left out;
    - JSON or YAML: a list of labels, `{"0": "name"}`, or Keras' `{"name": 0}`; JSON also in a
      file of another name that begins with "{". `label_documents` reads what is no text there.

    Blank lines at the end are left out; one between labels would shift every class behind it and
    is an error.

    Args:
        path: the file.
        warn: gets one line with the first labels of a file in GBK. Words of Cyrillic and Korean
            encodings can be read as common Chinese characters too, and no program can distinguish
            short lists, so a person must see what was read.
        delimiter: what stands between number and name in PaddleClas' form, where it is neither a
            space nor a tab.

    Raises:
        BundleError: the file cannot be read, is huge or empty, has another encoding, a blank line,
            or its class numbers have a gap.
    """
    text, encoding = _decode(_content(path), path)
    labels = _labels(text, path, delimiter)
    if encoding != "UTF-8":
        first = ", ".join(labels[:_SHOWN])
        warn(
            "the label file {} is not UTF-8 and was read as {}: {}{}; if these are not its labels, "
            "save it as UTF-8".format(path, encoding, first, " ..." if labels[_SHOWN:] else "")
        )
    return labels


def _content(path: Path) -> bytes:
    """Read the file, up to a size beyond which no label file is."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise BundleError(
            "cannot read the label file {}: {}; give a text file that you may read".format(
                path, error.strerror
            )
        ) from error
    if len(content) > _MAX_BYTES:
        raise BundleError(
            "the label file {} is larger than {} MiB, so it is none; give a text file of the names "
            "of the classes".format(path, _MAX_BYTES >> 20)
        )
    return content


def _labels(text: str, path: Path, delimiter: Optional[str]) -> Tuple[str, ...]:
    if not text.strip():
        raise BundleError("the label file {} is empty; write one label a line".format(path))
    if path.suffix.lower() in (".yml", ".yaml"):
        return labels_of_yaml(text, path)
    if path.suffix.lower() == ".json" or text.lstrip()[0] == "{":
        return labels_of_json(text, path)
    return _from_lines(text, path, delimiter)


def check_count(labels: Tuple[str, ...], classes: int, source: str) -> None:
    """Compare the number of labels with the model's classes (-1: not known before it runs).

    Raises:
        BundleError: there are too few or too many; the text says how many of each.
    """
    if classes > 0 and len(labels) != classes:
        few = "too few" if len(labels) < classes else "too many"
        raise BundleError(
            "{} has {} label{}, {} for the model's {} classes; write exactly one label a "
            "class, in the order of training".format(
                source, len(labels), "" if len(labels) == 1 else "s", few, classes
            )
        )


def _decode(content: bytes, path: Path) -> Tuple[str, str]:
    """Return the text and the name of its encoding."""
    for mark, name in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            raise _wrong_encoding(path, "is {}".format(name))
    if b"\0" in content:
        raise _wrong_encoding(path, "holds NUL bytes: it is UTF-16 or no text")
    try:
        return content.decode("utf-8-sig"), "UTF-8"
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
    try:
        # it has every character there is, in four bytes what GBK lacks
        text = content.decode("gb18030")
    except UnicodeDecodeError:
        text = None
    if text is None or content.startswith(codecs.BOM_UTF8):
        raise _wrong_encoding(
            path, "is neither UTF-8 nor GBK (line {}); Big5, Shift-JIS, Latin-1?".format(line)
        )
    wide = [character for character in text if ord(character) > 127]
    if sum(map(_is_common, wide)) < _COMMON_SHARE * len(wide):
        raise _wrong_encoding(
            path,
            "looks like GBK with rare characters, or like another encoding (Big5, Latin-1; line "
            "{})".format(line),
        )
    return text, "GBK"


def _is_common(character: str) -> bool:
    try:
        character.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True


def _wrong_encoding(path: Path, what: str) -> BundleError:
    return BundleError("the label file {} {}; save it as UTF-8".format(path, what))


def _from_lines(text: str, path: Path, delimiter: Optional[str]) -> Tuple[str, ...]:
    # not splitlines(): it also splits at characters that may stand inside a label
    labels = [line.strip() for line in text.rstrip().split("\n")]
    if delimiter and not delimiter.isspace():
        delimited = re.compile(r"([0-9]{1,9})\s*" + re.escape(delimiter) + "(.*)")
        found = [delimited.fullmatch(label) for label in labels]
        if all(found):
            labels = [" ".join(match.groups()) for match in found if match]
    for number, label in enumerate(labels, 1):
        if not label:
            raise BundleError(
                "{} line {} is blank; write the label of class {} there, or take the line "
                "out".format(path, number, number - 1)
            )
    synsets = [_SYNSET.fullmatch(label) for label in labels]
    if all(synsets):
        return tuple(match.group(1) for match in synsets if match)
    numbered = [_NUMBERED.fullmatch(label) for label in labels]
    if all(numbered):
        pairs = [(int(match.group(1)), match.group(2)) for match in numbered if match]
        # "5 yuan", "10 yuan" are names; what counts like class numbers is taken as such
        if any(class_id == 0 for class_id, _ in pairs) or _counts_from_one(pairs):
            return in_order(pairs, path)
    _refuse_numbers(labels, path)
    _refuse_numbers_last(labels, path)
    return tuple(labels)


def _refuse_numbers(labels: List[str], path: Path) -> None:
    """Refuse class numbers that would become part of the labels."""
    found = [_SEPARATED.fullmatch(label) for label in labels]
    pairs = [(int(match.group(1)), match.group(2).strip()) for match in found if match]
    bare = [at for at, label in enumerate(labels) if CLASS_ID.fullmatch(label)]
    if len(pairs) + len(bare) < len(labels) or len(bare) >= len(pairs) or len(labels) < 2:
        return
    ids = sorted([number for number, _ in pairs] + [int(labels[at]) for at in bare])
    if ids not in (list(range(len(ids))), list(range(1, len(ids) + 1))):
        return
    if bare:
        raise BundleError(
            "{} line {}: the class number {} has no name; write '{} name', or the labels as a "
            "list in a .json file if the numbers belong to them".format(
                path, bare[0] + 1, labels[bare[0]], labels[bare[0]]
            )
        )
    separators = {separator for _, separator in pairs}
    if len(separators) == 1:
        raise BundleError(
            "{}: its lines begin with the class number and {}; write '0 name', with a plain space "
            "and counted from 0, or the names alone (or a list in a .json file, if the numbers "
            "belong to them)".format(
                path, repr(separators.pop()).replace("''", "a space of another kind")
            )
        )


def _refuse_numbers_last(labels: List[str], path: Path) -> None:
    """Refuse `name number`: the numbers count the classes, and may put them in another order.

    Names that differ only by their number ("grade 0", "grade 1") are names.
    """
    found = [_NUMBER_LAST.fullmatch(label) for label in labels]
    pairs = [(int(match.group(2)), match.group(1)) for match in found if match]
    if len(pairs) < max(2, len(labels)) or len({name for _, name in pairs}) < len(pairs):
        return
    first = min(number for number, _ in pairs)
    if first > 1 or sorted(i for i, _ in pairs) != list(range(first, first + len(pairs))):
        return
    raise BundleError(
        "{}: its lines end with the class number; write '0 name', counted from 0, or the names "
        "alone in the order of the classes (or a list in a .json file, if the numbers belong to "
        "them)".format(path)
    )


def _counts_from_one(pairs: List[Tuple[int, str]]) -> bool:
    return len(pairs) > 1 and sorted(i for i, _ in pairs) == list(range(1, len(pairs) + 1))
