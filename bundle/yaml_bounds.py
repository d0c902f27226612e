"""Bounds of a YAML document beyond its bytes: values, depth, and what its aliases stand for.

A few hundred bytes of aliases (`[*a, *a]`) or merge keys (`<<: [*a, *a]`) stand for more values
than any memory holds, and PyYAML expands merge keys itself. The nodes of a document are counted
while it is composed, which takes memory for what is written only. Then they are measured as if each
alias were written out, before anything is made of them.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Set, Tuple

import yaml

from .errors import BundleError

# The 21,841 names of ImageNet-22k with a threshold each take 90,000.
MAX_VALUES = 200_000
# What exporters write is less than ten levels deep.
MAX_DEPTH = 64
# Characters and values with the aliases written out: more than any document of MAX_VALUES without
# aliases needs, unless it is as large itself.
MAX_EXPANDED = 1 << 20
# PyYAML computes 1:30:00 to the base of 60, which takes quadratic time; Python converts at most
# 4,300 digits.
MAX_NUMBER = 1000
# Python's hash of an integer is its remainder by 2**61 - 1: all multiples of that collide.
MAX_KEY_DIGITS = 18

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class BoundedNodes:
    """Makes a loader of PyYAML refuse documents beyond the bounds above, with a BundleError."""

    source = "the document"
    _written = 0
    _depth = 0
    _allowed = MAX_EXPANDED

    def compose_node(
        self,
        parent: Optional[yaml.Node],
        index: Any,  # noqa: ANN401 - as PyYAML has it
    ) -> Optional[yaml.Node]:
        """As PyYAML's own, which calls this for each value within the value."""
        self._written += 1
        if self._written > MAX_VALUES:
            raise too_much(self.source, "more than {} values".format(MAX_VALUES))
        if self._depth >= MAX_DEPTH:
            raise too_deep(self.source)
        self._depth += 1
        try:
            node: Optional[yaml.Node] = super().compose_node(parent, index)  # type: ignore[misc]
        finally:
            self._depth -= 1
        return node

    def get_single_node(self) -> Optional[yaml.Node]:
        """As PyYAML's own."""
        root: Optional[yaml.Node] = super().get_single_node()  # type: ignore[misc]
        if root is not None:
            _Measure(self.source, self._allowed).of(root)
        return root

    def bound(self, source: str, text: str) -> None:
        """Set the name of the document for errors, and its own size."""
        # without aliases, each value takes a character or more, so that this is never exceeded
        self.source, self._allowed = source, max(MAX_EXPANDED, 4 * len(text))


class _Measure:
    """Sizes of nodes with their aliases written out; each node is looked at once."""

    def __init__(self, source: str, allowed: int) -> None:
        self._source, self._allowed = source, allowed
        self._known: Dict[yaml.Node, Tuple[int, int]] = {}
        self._open: Set[yaml.Node] = set()

    def of(self, node: yaml.Node, depth: int = 1) -> Tuple[int, int]:
        """Size and depth of `node`, which stands `depth` levels deep."""
        if node in self._open:
            raise too_much(self._source, "an anchor that holds itself")
        if node not in self._known:
            if depth > MAX_DEPTH:
                raise too_deep(self._source)
            self._open.add(node)
            self._known[node] = self._measured(node, depth)
            self._open.discard(node)
        size, below = self._known[node]
        if depth + below > MAX_DEPTH + 1:
            raise too_deep(self._source)
        if size > self._allowed:
            raise too_much(
                self._source,
                "aliases (*name) or merge keys (<<) that stand for more than {} values and "
                "characters".format(self._allowed),
            )
        return size, below

    def _measured(self, node: yaml.Node, depth: int) -> Tuple[int, int]:
        if isinstance(node, yaml.ScalarNode):
            self._check_number(node, MAX_NUMBER)
            return 1 + len(node.value), 1
        size, below = 1, 0
        for entry in node.value:
            if isinstance(node, yaml.MappingNode) and isinstance(entry[0], yaml.ScalarNode):
                self._check_number(entry[0], MAX_KEY_DIGITS)
            for part in entry if isinstance(node, yaml.MappingNode) else (entry,):
                part_size, part_below = self.of(part, depth + 1)
                size, below = size + part_size, max(below, part_below)
        return size, below + 1

    def _check_number(self, node: yaml.ScalarNode, most: int) -> None:
        if node.tag in _NUMBERS and len(node.value) > most:
            raise BundleError(
                "{} line {}: has a number of {} characters; write it shorter, or in quotes if it "
                "is text".format(self._source, node.start_mark.line + 1, len(node.value))
            )


def too_much(source: str, what: str) -> BundleError:
    """The error of a document that holds `what`."""
    return BundleError(
        "{} holds {}: no description of a model does; write it plainly, and look at where it comes "
        "from".format(source, what)
    )


def too_deep(source: str) -> BundleError:
    """The error of a document that is too deep."""
    return too_much(source, "values more than {} levels deep".format(MAX_DEPTH))
