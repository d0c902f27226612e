"""The table of operators. To add one, write it in this package and its row here."""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional

from .crop import crop_image, crop_image_at_ratio
from .fitting import resize, resize_by_long, resize_to_height
from .grayscale import Grayscale
from .layout import decode_image, to_chw_image, to_float32
from .letterbox import classify_letter_box, letter_box, letter_box_resize
from .normalize import normalize_image
from .padding import pad, pad_image, pad_stride, padv2
from .resize import resize_image
from .step import Step
from .text_line import cls_resize_img

Options = Mapping[str, Any]

PIXELS, PLANES, EITHER, TO_PLANES = "pixels", "planes", "either", "to planes"


def _never(_options: Options) -> bool:
    return False


def _always(_options: Options) -> bool:
    return True


def _with_pillow(options: Options) -> bool:
    return str(options.get("backend", "cv2")).lower() == "pil"


class Row(NamedTuple):
    """One operator.

    Attributes:
        build: its options -> the step; a TypeError means an option that it does not have.
        layout: takes PIXELS [H, W, C], PLANES [C, H, W], EITHER, or makes planes of pixels.
        floats: whether it makes floats of 8-bit pixels, by its options.
        needs_bytes: whether it takes 8-bit pixels only.
        longest: the longest side that it gives whatever the size of the image, by its options, for
            decoding at a fraction of the size; 0 where it counts in pixels of the whole image,
            None for an operator that leaves the size as it is.
    """

    build: Callable[..., Step]
    layout: str = PIXELS
    floats: Callable[[Options], bool] = _never
    needs_bytes: Callable[[Options], bool] = _never
    longest: Optional[Callable[[Options], int]] = None


def _counts_pixels(_options: Options) -> int:
    return 0


def _side_of(name: str, usual: int = 0) -> Callable[[Options], int]:
    def longest(options: Options) -> int:
        size = options.get(name, usual)
        return max(size) if isinstance(size, (list, tuple)) else int(size)

    return longest


def _resize_image_side(options: Options) -> int:
    short = options.get("resize_short") or 0
    return math.ceil(short) if short > 0 else _side_of("size")(options)


def _pad_makes_floats(options: Options) -> bool:
    return options.get("size") is not None


OPERATORS: Dict[str, Row] = {
    "DecodeImage": Row(decode_image),
    "ToFloat32": Row(to_float32, floats=_always),
    "Grayscale": Row(Grayscale, needs_bytes=_always),
    "ResizeImage": Row(resize_image, needs_bytes=_with_pillow, longest=_resize_image_side),
    "ResizeByLong": Row(
        resize_by_long, needs_bytes=_with_pillow, longest=_side_of("long_size", 256)
    ),
    "ResizeToHeight": Row(
        resize_to_height, needs_bytes=_with_pillow, longest=_side_of("max_width")
    ),
    "Resize": Row(resize, longest=_side_of("target_size")),
    "CropImage": Row(crop_image, longest=_counts_pixels),
    "CropImageAtRatio": Row(crop_image_at_ratio, longest=lambda o: o["size"] + o["pad"]),
    "PadImage": Row(pad_image, longest=_counts_pixels),
    "Padv2": Row(padv2, floats=_always, longest=_counts_pixels),
    "Pad": Row(pad, floats=_pad_makes_floats, longest=_counts_pixels),
    "PadStride": Row(pad_stride, PLANES, floats=_always),
    "LetterBox": Row(letter_box, longest=_side_of("new_shape", 640)),
    "ClassifyLetterBox": Row(classify_letter_box, longest=_side_of("size", 640)),
    "LetterBoxResize": Row(letter_box_resize, longest=_side_of("target_size")),
    "ClsResizeImg": Row(
        cls_resize_img, TO_PLANES, needs_bytes=_always, longest=lambda o: max(o["image_shape"])
    ),
    "NormalizeImage": Row(normalize_image, EITHER, floats=_always),
    "ToCHWImage": Row(to_chw_image, TO_PLANES),
    "Permute": Row(to_chw_image, TO_PLANES),
}
