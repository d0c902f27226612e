"""Parts `serving09` and `peers`: this kit beside Paddle Serving 0.9, and beside every other."""

from __future__ import annotations

from pathlib import Path

from ..peers.catalogue import PEERS
from ..peers.models import Model
from ..peers.paddle_serving import PADDLE_SERVING
from ..peers.peer import PeerError
from ..peers.records import Cell, Records, Row, rows
from ..peers.running import start_peer
from ..peers.turns import Subject, load
from .bundles import Copies
from .contender import Contender, Images, Load, standing
from .limit import Say
from .target import Target, ratios

SERVING09, PEERS_PART = "serving09", "peers"
_TIMES_09 = 3.8
_AHEAD = 1.0
_WARM_S = 1.0
_CONNECTIONS = 16
_WORKERS = 2


def measure_serving09(
    bundle: Copies, images: Images, work: Path, rounds: int, seconds: float, say: Say
) -> list[Target]:
    """Compare the tuned bundle with the best setting of Paddle Serving 0.9, in turns."""
    what = f"{bundle.name}: tuned over Paddle Serving 0.9, {_CONNECTIONS} connections"
    subject = Subject(Model(bundle.name, bundle.untuned, work), images.files, images.scores)
    pairs: list[tuple[float, ...]] = []
    try:
        for setting in PADDLE_SERVING.settings:
            say(f"starting Paddle Serving 0.9, {setting}")
            other = start_peer(PADDLE_SERVING, subject.model, "paddle", _WORKERS, setting, work)
            try:
                load(other, subject, _WARM_S, _CONNECTIONS)
                other.pause()
                with standing([Contender("tuned", bundle.tuned)], work, images) as up:
                    ours, theirs = [], []
                    for number in range(rounds):
                        say(f"round {number + 1} of {rounds}, {setting}")
                        sent = up["tuned"].send(Load("raw", _CONNECTIONS), images, seconds)
                        ours.append(sent.requests_per_s)
                        other.resume()
                        theirs.append(load(other, subject, seconds, _CONNECTIONS).requests_per_s)
                        other.pause()
                    pairs.append(ratios(ours, theirs))
            finally:
                other.close()
    except PeerError as error:
        return [Target(SERVING09, what, _TIMES_09, reason=str(error))]
    # Of its settings the one that does best against us.
    return [Target(SERVING09, what, _TIMES_09, min(pairs, key=sum))]


def without_bundle(name: str) -> Target:
    """Return the target where the bundle is not there."""
    what = f"{name}: tuned over Paddle Serving 0.9, {_CONNECTIONS} connections"
    reason = f"`make deployments ARGS={name}` makes the bundle"
    return Target(SERVING09, what, _TIMES_09, reason=reason)


def read_peers(results: Path) -> list[Target]:
    """Return a target for each line of the last `benchmarks peers`; one without values if none."""
    what = "ahead of every peer, same runtime"
    try:
        records = Records.read(results).all
    except SystemExit as error:
        return [Target(PEERS_PART, what, _AHEAD, reason=str(error).removeprefix("error: "))]
    own = next(name for name, peer in PEERS.items() if peer.own)
    return [
        Target(PEERS_PART, _line(row, connections), _AHEAD, _value(cell), reason=row.reason)
        for row in rows(records, own)
        if row.peer != own
        for connections, cell in (row.cells or {0: Cell(0, 0, 0, 0)}).items()
    ]


def _value(cell: Cell) -> tuple[float, ...]:
    return (cell.ours,) if cell.ours else ()


def _line(row: Row, connections: int) -> str:
    name = PEERS[row.peer].title if row.peer in PEERS else row.peer
    return f"{row.model}, {row.runtime}: over {name}, {connections} connections"
