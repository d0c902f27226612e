"""Grayscale: one channel of three, with the formula of Pillow or of OpenCV."""

from __future__ import annotations

import cv2
import numpy as np

from ..errors import PreprocessError

# Pillow's weights of red, green and blue in 65536ths; a half is added before the fraction is cut.
_PILLOW = (19595, 38470, 7471)
_HALF, _BITS = 1 << 15, 16


class Grayscale:
    """Callable: uint8 [H, W, 3] RGB -> uint8 [H, W, num_output_channels], all channels equal.

    `backend` pil is the formula of Pillow's convert("L"), which torchvision, paddle.vision and
    Keras' load_img use; cv2 is that of OpenCV's COLOR_RGB2GRAY. They differ by a grey level at some
    colours. Grey images stay as they are with both.
    """

    def __init__(self, num_output_channels: int = 1, backend: str = "pil") -> None:
        if isinstance(num_output_channels, bool) or num_output_channels not in (1, 3):
            raise PreprocessError(
                "Grayscale: num_output_channels is 1 or 3, not {!r}".format(num_output_channels)
            )
        library = str(backend).lower()
        if library not in ("pil", "cv2"):
            raise PreprocessError("Grayscale: backend is pil or cv2, not {!r}".format(backend))
        self.channels = num_output_channels
        self._opencv = library == "cv2"
        levels = np.arange(256, dtype=np.int32)
        self._tables = [levels * weight for weight in _PILLOW]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the grey image of `image`."""
        if self._opencv:
            grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        else:
            red, green, blue = (
                np.asarray(cv2.LUT(plane, table), np.int32)
                for plane, table in zip(cv2.split(image), self._tables)
            )
            grey = ((red + green + blue + _HALF) >> _BITS).astype(np.uint8)
        return np.repeat(grey[:, :, np.newaxis], self.channels, axis=2)
