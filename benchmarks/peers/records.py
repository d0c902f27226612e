"""What was measured, kept line by line, so that an interrupted run can go on or be shown."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path


@dataclass(frozen=True)
class Record:
    """One measurement of one service; rates in requests a second, latencies in ms, memory in MiB.

    `reason` says why there are no figures; then the numbers are 0.
    """

    model: str
    runtime: str
    peer: str
    connections: int
    round: int
    requests_per_s: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    wrong: int = 0
    failed: int = 0
    difference: float = 0.0
    memory_mib: float = 0.0
    version: str = ""
    setting: str = ""
    reason: str = ""

    @property
    def turn(self) -> tuple[str, str, int, int]:
        """What the services took turns in: model, runtime, round, connections."""
        return (self.model, self.runtime, self.round, self.connections)


@dataclass
class Records:
    """All measurements of a plan, in a file: the plan in its first line, then a record each."""

    path: Path
    plan: dict[str, object]
    all: list[Record] = field(default_factory=list)

    @classmethod
    def begin(cls, path: Path, plan: dict[str, object], *, resume: bool) -> Records:
        """Open the file; with `resume` keep what an equal plan has measured, else begin anew.

        A turn that was interrupted is dropped by `keep_whole`.
        """
        records = cls(path, plan)
        if resume and path.is_file():
            earlier = cls.read(path)
            if json.loads(json.dumps(plan)) == earlier.plan:
                records.all = earlier.all
        records._write()
        return records

    @classmethod
    def read(cls, path: Path) -> Records:
        """Read a file that `begin` made.

        Raises:
            SystemExit: there is none, or it is no such file.
        """
        try:
            first, *lines = path.read_text(encoding="utf-8").splitlines()
            plan = json.loads(first)["plan"]
            known = {item.name for item in fields(Record)}
            rows = [json.loads(line) for line in lines if line.endswith("}")]
            return cls(path, plan, [Record(**row) for row in rows if set(row) <= known])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SystemExit(
                f"error: {path} holds no measurements ({error}); run `make bench-peers` first"
            ) from error

    def keep_whole(self, peers: Sequence[str], runtime: str) -> None:
        """Drop turns of `runtime` that lack one of `peers`: all must be of one minute."""
        turns: dict[tuple[str, str, int, int], set[str]] = {}
        for record in self.all:
            turns.setdefault(record.turn, set()).add(record.peer)
        self.all = [r for r in self.all if r.runtime != runtime or turns[r.turn] >= set(peers)]
        self._write()

    def has(self, turn: tuple[str, str, int, int]) -> bool:
        """Whether the turn was measured."""
        return any(record.turn == turn for record in self.all)

    def add(self, record: Record) -> None:
        """Keep one more, in the file at once."""
        self.all.append(record)
        with self.path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(asdict(record)) + "\n")

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({"plan": self.plan}), *(json.dumps(asdict(r)) for r in self.all)]
        part = self.path.with_name(f"{self.path.name}.part")
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
        part.replace(self.path)


@dataclass(frozen=True)
class Cell:
    """A service on one number of connections: medians over the rounds.

    `ours` is the median of this kit's rate over the service's, each pair of one turn; 0 if one of
    them has no figure.
    """

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    ours: float


@dataclass(frozen=True)
class Row:
    """A service with one model in one runtime."""

    model: str
    runtime: str
    peer: str
    cells: dict[int, Cell]
    setting: str
    version: str
    memory_mib: float
    difference: float
    wrong: int
    failed: int
    reason: str


def rows(records: Iterable[Record], own: str) -> list[Row]:
    """Return a row for each service, model and runtime, in the order of the records."""
    every = list(records)
    keys = dict.fromkeys((r.model, r.runtime, r.peer) for r in every)
    rates = {r.turn: r.requests_per_s for r in every if r.peer == own and r.requests_per_s}
    return [
        _row(key, [r for r in every if (r.model, r.runtime, r.peer) == key], rates) for key in keys
    ]


def _row(
    key: tuple[str, str, str],
    records: Sequence[Record],
    ours: dict[tuple[str, str, int, int], float],
) -> Row:
    cells = {}
    for connections in dict.fromkeys(r.connections for r in records):
        some = [r for r in records if r.connections == connections and r.requests_per_s]
        if some:
            ratios = [ours[r.turn] / r.requests_per_s for r in some if r.turn in ours]
            cells[connections] = Cell(
                statistics.median(r.requests_per_s for r in some),
                statistics.median(r.p50_ms for r in some),
                statistics.median(r.p99_ms for r in some),
                statistics.median(ratios) if ratios else 0.0,
            )
    last = records[-1]
    return Row(
        *key,
        cells,
        next((r.setting for r in records if r.setting), ""),
        next((r.version for r in records if r.version), ""),
        max(r.memory_mib for r in records),
        max(r.difference for r in records),
        sum(r.wrong for r in records),
        sum(r.failed for r in records),
        last.reason,
    )
