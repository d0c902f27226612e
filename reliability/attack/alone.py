"""`python -m reliability.attack.alone ATTACK HTTP_PORT RPC_PORT ADMIN_PORT PID SERVICE SECONDS`.

One attack on a service that runs already, from a process of its own; a soak has some of them among
its faults. It prints what it sent and saw, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence

from .attacker import Attacker
from .table import ATTACKS
from .target import Target

# Those that a soak tries: they need no key and no worker, and a few seconds show what they do.
SHORT = (
    "pipelining, read",
    "pipelining, unread",
    "one-byte chunks",
    "body after a refusal",
    "half-closed",
    "upgrade in gzip",
    "part heads of semicolons",
    "crafted uploads",
    "gzip bomb",
    "gzip'ed health checks",
    "reflection's echo",
    "Watch streams",
    "HTTP/2 resets",
    "HPACK bomb",
    "frame behind FF 00",
    "1,000 scans",
)


def main(arguments: Sequence[str]) -> int:
    """Run one attack to its end."""
    name, http_port, rpc_port, admin_port, process_id, service, seconds = arguments
    (attack,) = (attack for attack in ATTACKS if attack.name == name)
    ports = (int(http_port), int(rpc_port), int(admin_port))
    target = Target(*ports, int(process_id), service=service)
    if attack.prepare is not None:
        attack.prepare()
    attacker = Attacker(target, time.monotonic() + float(seconds))
    asyncio.run(attack.run(attacker))
    print(json.dumps({"sent": attacker.sent, "problems": attacker.problems}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
