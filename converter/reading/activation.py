"""What gives a graph's output: a softmax, a sigmoid, their logarithm, or none of them (logits).

The output is followed back over operators that keep scores scores. Each reader describes the
operator that makes a value as a `Maker`; the rules are here, the same for every format.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

NONE, SOFTMAX, SIGMOID = "none", "softmax", "sigmoid"
LOG_SOFTMAX, LOG_SIGMOID = "log_softmax", "log_sigmoid"
# Of TopK and of sorting: the best first, so that their places are no classes.
SORTED = "sorted"
# Those whose values are in 0..1.
SCORES = frozenset({SOFTMAX, SIGMOID})

Value = Hashable

_KINDS = {
    "softmax": SOFTMAX,
    "qlinearsoftmax": SOFTMAX,
    "biassoftmax": SOFTMAX,
    "logsoftmax": LOG_SOFTMAX,
    "sigmoid": SIGMOID,
    "qlinearsigmoid": SIGMOID,
    "hardsigmoid": SIGMOID,
    "logsigmoid": LOG_SIGMOID,
    "topk": SORTED,
    "topkv2": SORTED,
    "argsort": SORTED,
}
# Operators that move, copy, select or round the values of their first input.
_MOVING = frozenset(
    {
        "assign", "cast", "clip", "contiguous", "dequantizelinear", "dropout", "expand", "expandas",
        "expandv2", "fakedequantizemaxabs", "fakequantizedequantizemovingaverageabsmax",
        "fakequantizemovingaverageabsmax", "flatten", "flatten2", "flattencontiguousrange",
        "gather", "identity", "memcpyd2h", "memcpyh2d", "print", "quantizelinear", "reshape",
        "reshape2", "sharedata", "slice", "squeeze", "squeeze2", "stridedslice", "tile",
        "transpose", "transpose2", "unsqueeze", "unsqueeze2", "zipmap",
    }
)  # fmt: skip
# Operators whose results lie between their inputs; constants among these are axes or bounds.
_POOLING = frozenset(
    {
        "averagepool", "elementwisemax", "elementwisemin", "globalaveragepool", "max", "maximum",
        "mean", "min", "minimum", "pool2d", "reducemax", "reducemean", "reducemin", "stack",
    }
)  # fmt: skip
_JOINING = frozenset({"combine", "concat", "concatv2"})
_PRODUCTS = frozenset({"elementwisemul", "mul", "multiply"})
_DIFFERENCES = frozenset({"elementwisesub", "sub", "subtract"})
_QUOTIENTS = frozenset({"div", "divide", "elementwisediv"})
_SUMS = frozenset({"reducel1", "reducesum", "sum"})
_LOGS_OF_SUMS = frozenset({"logsumexp", "reducelogsumexp"})
_POSITIVE = frozenset({"abs", "exp", "relu", "square"})
# On the way from a sum to what is divided by it: broadcasting, and what keeps it from being zero.
_GUARDS = frozenset({"add", "elementwiseadd", "max", "maximum", "elementwisemax"})
_CONSTANTS = frozenset({"assignvalue", "constant", "fillconstant", "full", "fullintarray", "p"})


@dataclass(frozen=True)
class Maker:
    """The operator that makes a value.

    Attributes:
        kind: its name in the graph, without the set of operators it belongs to.
        inputs: the values that it takes, the one that it is named after first.
        over_batch: it works along the first dimension.
        scale: what it multiplies by and adds, where that is all it does.
        gives: what its result is, where its attributes say so ("softmax" ...).
    """

    kind: str
    inputs: tuple[Value, ...]
    over_batch: bool = False
    scale: tuple[float, float] | None = None
    gives: str | None = None

    @property
    def plain_kind(self) -> str:
        """The name as the tables here have it: formats differ in capitals and underscores."""
        return self.kind.replace("_", "").lower()


MakerOf = Callable[[Value], "Maker | None"]


def activation_of(output: Value, maker_of: MakerOf) -> str:
    """What gives an output: one of the names above.

    Args:
        output: the value.
        maker_of: the operator that makes a value; None for an input, a parameter, or a name that
            nothing in the graph makes.
    """
    return _Walk(maker_of).activation(output)


class _Walk:
    """One walk back; a value is looked at once, so a damaged graph that leads back ends it."""

    _DEEPEST = 150  # operators between a softmax and the output

    def __init__(self, maker_of: MakerOf) -> None:
        self._maker_of = maker_of
        self._known: dict[Value, str] = {}
        self._depth = 0

    def activation(self, value: Value) -> str:
        if value in self._known or self._depth >= self._DEEPEST:
            return self._known.get(value, NONE)
        self._known[value] = NONE
        maker = self._maker_of(value)
        if maker is not None:
            self._depth += 1
            self._known[value] = self._of(maker)
            self._depth -= 1
        return self._known[value]

    def _of(self, maker: Maker) -> str:
        kind = maker.plain_kind
        if maker.gives is not None:
            return maker.gives
        if kind in _KINDS:
            return NONE if maker.over_batch else _KINDS[kind]
        rule = _RULES.get(kind)
        return NONE if rule is None or not maker.inputs else rule(self, maker)

    def moved(self, maker: Maker) -> str:
        return self.activation(maker.inputs[0])

    def pooled(self, maker: Maker) -> str:
        values = self._varying(maker)
        for _ in range(self._DEEPEST):
            before = self._maker_of(values[0]) if len(values) == 1 else None
            if before is None or before.plain_kind not in _JOINING:
                break
            values = self._varying(before)  # joined to be mixed: the views of one image
        return self._together(values, alike=True)

    def joined(self, maker: Maker) -> str:
        return self._together(self._varying(maker), alike=False)

    def scaled(self, maker: Maker) -> str:
        before = self.activation(maker.inputs[0])
        if maker.scale == (1.0, 0.0):
            return before
        return SIGMOID if maker.scale == (-1.0, 1.0) and before in SCORES else NONE

    def multiplied(self, maker: Maker) -> str:
        """Of scores by scores, or by one through their sum."""
        if len(maker.inputs) > 1:
            for value, other in (maker.inputs[:2], maker.inputs[1::-1]):
                reciprocal = self._plain_kind(other) == "reciprocal"
                if reciprocal and self._is_sum_of(self._first(other), value):
                    return SOFTMAX
        return self._together(maker.inputs, alike=False)

    def divided(self, maker: Maker) -> str:
        """A softmax written out: exp(x) / sum(exp(x)), or shares of other numbers above zero."""
        shares = len(maker.inputs) > 1 and self._is_sum_of(maker.inputs[1], maker.inputs[0])
        return SOFTMAX if shares else NONE

    def normalized(self, maker: Maker) -> str:
        return SOFTMAX if self.activation(maker.inputs[0]) in SCORES else NONE

    def subtracted(self, maker: Maker) -> str:
        """A log-softmax written out, or 1 - p."""
        if len(maker.inputs) < 2:
            return NONE
        first, second = maker.inputs[:2]
        if self._is_log_of_sum(second, first):
            return LOG_SOFTMAX
        rest = self._is_constant(first) and self.activation(second) in SCORES
        return SIGMOID if rest else NONE

    def logarithm(self, maker: Maker) -> str:
        logs = {SOFTMAX: LOG_SOFTMAX, SIGMOID: LOG_SIGMOID}
        return logs.get(self.activation(maker.inputs[0]), NONE)

    def exponential(self, maker: Maker) -> str:
        powers = {LOG_SOFTMAX: SOFTMAX, LOG_SIGMOID: SIGMOID}
        return powers.get(self.activation(maker.inputs[0]), NONE)

    def _varying(self, maker: Maker) -> list[Value]:
        return [value for value in maker.inputs if not self._is_constant(value)]

    def _together(self, values: Sequence[Value], *, alike: bool) -> str:
        """Of several scores: "softmax" only where they are mixed and each is one."""
        found = {self.activation(value) for value in values}
        if len(values) == 1:
            return found.pop()
        if not found or not found <= SCORES:
            return NONE
        return SOFTMAX if alike and found == {SOFTMAX} else SIGMOID

    def _is_sum_of(self, total: Value, value: Value) -> bool:
        """Whether `total` sums up `value`, which has no negative numbers."""
        total = self._behind(total, _MOVING | _GUARDS)
        value = self._behind(value, _MOVING)
        if self._plain_kind(total) not in _SUMS:
            return False
        if self._behind(self._first(total), _MOVING) != value:
            return False
        return self._plain_kind(value) in _POSITIVE or self.activation(value) in SCORES

    def _is_log_of_sum(self, total: Value, value: Value) -> bool:
        """Whether `total` is the logarithm of the sum of the exponentials of `value`."""
        total = self._behind(total, _MOVING)
        value = self._behind(value, _MOVING)
        kind = self._plain_kind(total)
        if kind in _LOGS_OF_SUMS:
            return self._behind(self._first(total), _MOVING) == value
        if kind != "log" or self._plain_kind(self._first(total)) not in _SUMS:
            return False
        powers = self._behind(self._first(self._first(total)), _MOVING)
        return self._plain_kind(powers) == "exp" and (
            self._behind(self._first(powers), _MOVING) == value
        )

    def _behind(self, value: Value, passed: frozenset[str]) -> Value:
        """The value that stands before the operators of `passed`."""
        for _ in range(self._DEEPEST):
            if self._plain_kind(value) not in passed:
                break
            value = self._first(value)
        return value

    def _plain_kind(self, value: Value) -> str:
        maker = self._maker_of(value)
        return "" if maker is None else maker.plain_kind

    def _first(self, value: Value) -> Value:
        maker = self._maker_of(value)
        return maker.inputs[0] if maker is not None and maker.inputs else None

    def _is_constant(self, value: Value) -> bool:
        return self._plain_kind(value) in _CONSTANTS or self._maker_of(value) is None


_RULES: dict[str, Callable[[_Walk, Maker], str]] = {
    **dict.fromkeys(_MOVING, _Walk.moved),
    **dict.fromkeys(_POOLING, _Walk.pooled),
    **dict.fromkeys(_JOINING, _Walk.joined),
    **dict.fromkeys(_PRODUCTS, _Walk.multiplied),
    **dict.fromkeys(_QUOTIENTS, _Walk.divided),
    **dict.fromkeys(_DIFFERENCES, _Walk.subtracted),
    "normalizer": _Walk.normalized,
    "scale": _Walk.scaled,
    "log": _Walk.logarithm,
    "exp": _Walk.exponential,
}
