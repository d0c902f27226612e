"""YAML as configuration needs it: safe, in UTF-8, bounded, and a key given twice is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Collection, Dict, Hashable, Iterator, NamedTuple, Optional, Set

import yaml

from .errors import BundleError
from .yaml_bounds import BoundedNodes

# The names of ImageNet-22k in full take one; a larger file is none that a person wrote.
MAX_BYTES = 16 << 20
# What PyYAML lets through where a value does not fit its tag (!!timestamp x), or is too large.
_TAG_ERRORS = (ValueError, TypeError, AttributeError, LookupError, RecursionError)

# Keys that hold labels in the descriptions of PaddleClas, PaddleX and their kin.
LABEL_KEYS = frozenset({"label_list", "labels", "label_0", "label_1"})
_TAGS = "tag:yaml.org,2002:"
_TEXT, _INTEGER = _TAGS + "str", _TAGS + "int"
_KINDS = {
    "bool": "a truth value",
    "int": "a number",
    "float": "a number",
    "null": "nothing",
    "timestamp": "a date",
    "seq": "a list",
    "map": "a mapping",
}


class NotText(NamedTuple):
    """What stands in place of a label's text: a value whose text would be lost in a YAML document.

    `yes` would become True, `1.0` 1.0 and `0777` 511, so the value is kept as it is written, with
    its line (from 1) and YAML's tag of it.
    """

    written: str
    line: int
    tag: str

    @property
    def kind(self) -> str:
        """What YAML reads it as, for errors."""
        return _KINDS.get(self.tag[len(_TAGS) :], "something else than text")


def read_yaml(path: Path, *, label_keys: Collection[str] = (), all_labels: bool = False) -> object:
    """Return what a YAML file holds; the options are those of `parse_yaml`.

    Raises:
        BundleError: missing, not UTF-8, not YAML, too large, or a key is given twice.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise BundleError(
                "{} is larger than {} MiB; give the right file, or a shorter one".format(
                    path, MAX_BYTES >> 20
                )
            )
        text = content.decode("utf-8-sig")
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
    return parse_yaml(text, str(path), label_keys=label_keys, all_labels=all_labels)


def parse_yaml(
    text: str,
    source: str,
    *,
    texts: bool = False,
    label_keys: Collection[str] = (),
    all_labels: bool = False,
) -> object:
    """Return what `text` holds.

    Args:
        text: the document.
        source: its name in errors.
        texts: leave every scalar as it is written.
        label_keys: keys under which labels stand. Among these, what YAML reads as something else
            than text is a `NotText`; only integers stay what they are, if they are written as
            Python writes them, for then their digits are the label.
        all_labels: the document itself is labels.

    Raises:
        BundleError: not YAML, beyond the bounds of `yaml_bounds`, or a key is given twice; its
            cause has PyYAML's `problem_mark`.
    """
    try:
        # Neither loader makes objects.
        loader = _TextLoader(text) if texts else _PlainLoader(text, label_keys, all_labels)
        loader.bound(source, text)
        try:
            document: object = loader.get_single_data()
        finally:
            loader.dispose()
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


class _PlainLoader(_UniqueKeys, BoundedNodes, yaml.SafeLoader):
    """Plain data, whatever the tags say; labels that are no text become `NotText`."""

    def __init__(self, text: str, label_keys: Collection[str], all_labels: bool) -> None:
        super().__init__(text)
        self._text = text
        self._label_keys, self._all_labels = label_keys, all_labels
        self._lost: Set[yaml.Node] = set()

    def get_single_node(self) -> Optional[yaml.Node]:
        root: Optional[yaml.Node] = super().get_single_node()
        for node in _labels_in(root, self._label_keys, self._all_labels):
            if not isinstance(node, yaml.ScalarNode) or self._loses_text(node):
                self._lost.add(node)
        return root

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401 - YAML
        if node not in self._lost:
            return super().construct_object(node, deep=deep)
        written = self._text[node.start_mark.index : node.end_mark.index]
        return NotText(written.strip(), node.start_mark.line + 1, node.tag)

    def _loses_text(self, node: yaml.ScalarNode) -> bool:
        plain = node.style is None and node.tag != _TEXT
        resolved = self.resolve(  # type: ignore[no-untyped-call]
            yaml.ScalarNode, node.value, (True, False)
        )
        if not plain or node.tag != resolved:
            return False  # quoted, or with a tag of its own
        return node.tag != _INTEGER or not is_canonical(node.value)


def is_canonical(number: str) -> bool:
    """Whether an integer is written as Python writes it: not 0777, 1_000, 0x1F, +5 or 1:30."""
    try:
        return str(int(number)) == number
    except ValueError:  # more digits than Python converts, too
        return False


def _labels_in(
    root: Optional[yaml.Node], label_keys: Collection[str], all_labels: bool
) -> Iterator[yaml.Node]:
    """The nodes of a document where labels stand, or the numbers of labels."""
    seen, ahead = set(), [] if root is None else [root]
    if root is not None and all_labels:
        yield from _entries(root)
    while ahead and label_keys:
        node = ahead.pop()
        if node in seen or isinstance(node, yaml.ScalarNode):
            continue  # an anchor may lead back
        seen.add(node)
        if isinstance(node, yaml.SequenceNode):
            ahead += node.value
            continue
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in label_keys:
                yield from [value] if isinstance(value, yaml.ScalarNode) else _entries(value)
            ahead += [key, value]


def _entries(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair


class _TextLoader(_UniqueKeys, BoundedNodes, yaml.BaseLoader):
    """Every scalar as it is written: a key of digits is no number, `no` is not False."""


class DocumentDumper(yaml.SafeDumper):
    """Writes plain data, and each `NotText` as it was written."""


def _represent_as_written(dumper: yaml.SafeDumper, value: NotText) -> yaml.Node:
    return dumper.represent_scalar(value.tag, value.written)


DocumentDumper.add_representer(NotText, _represent_as_written)
