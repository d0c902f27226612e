"""The services that are measured, by name; to add one, write its module and its row here."""

from __future__ import annotations

from .bentoml import BENTOML
from .litserve import LITSERVE
from .mosec import MOSEC
from .own import OWN
from .paddle_serving import PADDLE_SERVING
from .paddlex import PADDLEX
from .peer import Peer
from .ray_serve import RAY_SERVE

PEERS: dict[str, Peer] = {
    peer.name: peer for peer in (OWN, MOSEC, LITSERVE, BENTOML, RAY_SERVE, PADDLEX, PADDLE_SERVING)
}
