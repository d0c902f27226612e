"""Images among the bytes that schemathesis makes up, so that some requests get far."""

from __future__ import annotations

import cv2
import numpy as np
import schemathesis
from hypothesis import strategies as st


def _images() -> list[bytes]:
    rng = np.random.default_rng(5)
    image = rng.integers(0, 255, (24, 31, 3), np.uint8)
    return [cv2.imencode(suffix, image)[1].tobytes() for suffix in (".jpg", ".png", ".bmp")]


_bytes = st.sampled_from(_images()) | st.binary(max_size=300)
for kind in ("image/*", "application/octet-stream"):
    schemathesis.openapi.media_type(kind, _bytes)
