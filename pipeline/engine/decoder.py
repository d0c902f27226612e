"""A worker's decode process: `python -m pipeline.engine.decoder --parent PID`.

    stdin   start     transform_ops: [{name: options}, ...], max_pixels, reduce_to
            image     + its bytes
    stdout  ready
            array     shape + its float32 numbers
            error     err_no, message: the image is at fault
            failed    traceback

Started by a worker for heavy images, never by hand; it loads numpy and OpenCV, and no runtime.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import sys
import traceback
from collections.abc import Callable

import cv2
import numpy as np

from protocol.errors import ServingError, wire_codes

from ..stages.decode import DecodeLimits, decode_image
from ..stages.preprocess import build_preprocess
from .child import be_ended_first, die_with, ignore_stop_signals, leave_no_core
from .frames import Header
from .pipes import Pipes


def main() -> int:
    """Serve the worker until it closes the pipe; return the exit code."""
    parser = argparse.ArgumentParser(prog="pipeline.engine.decoder", description=__doc__)
    parser.add_argument("--parent", type=int, required=True, help="the worker process")
    die_with(parser.parse_args().parent)
    ignore_stop_signals()
    leave_no_core()
    be_ended_first()
    faulthandler.enable()
    # What libraries print must not come between the frames.
    writing = os.dup(1)
    os.dup2(2, 1)
    cv2.setNumThreads(1)
    try:
        serve(Pipes(0, writing))
    except BrokenPipeError:
        return 0
    return 0


def serve(pipes: Pipes) -> None:
    """Answer images until the other side closes."""
    start = pipes.receive()
    if start is None:
        return
    prepare = preparing(start.header)
    pipes.send({"kind": "ready"})
    while (message := pipes.receive()) is not None:
        data = bytes(message.payload)
        try:
            array = prepare(data)
        except ServingError as error:
            codes = wire_codes(error)
            pipes.send({"kind": "error", "err_no": codes.err_no, "message": str(error)})
        except Exception:  # noqa: BLE001 - reported to the worker; the process goes on
            pipes.send({"kind": "failed", "traceback": traceback.format_exc()})
        else:
            pipes.send({"kind": "array", "shape": array.shape}, [array.data])
            del array


def preparing(start: Header) -> Callable[[bytes], np.ndarray]:
    """Return what decodes and preprocesses an image as `start` says."""
    limits = DecodeLimits(start["max_pixels"], start["reduce_to"])
    preprocess = build_preprocess(start["transform_ops"])
    return lambda data: preprocess(decode_image(data, limits))


if __name__ == "__main__":
    sys.exit(main())
