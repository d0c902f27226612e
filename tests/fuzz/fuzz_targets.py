"""What takes bytes from outside, each as a function that must survive any bytes.

Only the errors that its documentation names may come out of it; everything else is a find.
`python tests/fuzz/run.py` runs them under atheris, test_targets.py over seeds and examples.
"""

from __future__ import annotations

import ast
import asyncio
import base64
import contextlib
import functools
import gzip
import io
import json
import math
import resource
import socket
import struct
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import image_bombs
import image_seeds
import numpy as np
from rich.console import Console

from bundle.errors import BundleError
from bundle.inference_yml import read_inference_yml
from bundle.labels import read_labels
from bundle.model_config import read_model_config, to_prototxt, to_stream
from bundle.parameter_file import check_whole
from bundle.strict_json import parse_json
from bundle.strict_yaml import parse_yaml
from client.http_client import HttpClient
from converter.describing.form import Source
from converter.describing.forms import read_description
from converter.describing.python_text import read_python_text
from converter.errors import ConversionError
from converter.reading import pir_graph, program_graph
from converter.reading.program_graph import MESSAGES
from pipeline.admin_client import AdminReply, indented, read_reply
from pipeline.admin_reply import ReloadReport, Status
from pipeline.admission.desk import Desk
from pipeline.admission.inflight import Inflight
from pipeline.admission.services import Services
from pipeline.changes import Changes
from pipeline.engine.frames import FrameBuffer, FrameError, pack
from pipeline.observation.metrics import Metrics
from pipeline.observation.observer import Observer
from pipeline.observation.request_log import RequestLog
from pipeline.observation.tracing import Tracing
from pipeline.serving_report import served_lines
from pipeline.settings.api_keys import ApiKeysError, parse_api_keys
from pipeline.settings.config import load_settings
from pipeline.settings.errors import ConfigError
from pipeline.stages.decode import DecodeLimits, admitted, decode_image
from pipeline.stages.work import estimated_megapixels
from pipeline.status_command import _show
from pipeline.web.app import build_http_app
from protocol.codec import Hints
from protocol.errors import ServingError
from protocol.key_value.base64_text import decode_base64
from protocol.key_value.codec import ProtoCodec
from protocol.key_value.python_text import read_list
from protocol.key_value.received import reply_from_json, reply_from_message
from protocol.key_value.reply import reply_to_json, reply_to_proto
from protocol.key_value.request import (
    request_from_json,
    request_from_message,
    request_to_json,
    request_to_proto,
)
from protocol.multipart import read_multipart
from protocol.reply import Category, ClassifyReply
from protocol.request import ClassifyRequest, encoded

MAX_PIXELS = 1_000_000


@dataclass(frozen=True)
class Target:
    """`run` takes any bytes; `seeds` are some that get far inside it."""

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


def _images() -> list[bytes]:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 255, (12, 17, 3), np.uint8)
    suffixes = (".jpg", ".png", ".bmp", ".webp", ".tiff")
    encoded = [cv2.imencode(suffix, image)[1].tobytes() for suffix in suffixes]
    progressive = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    grey16 = cv2.imencode(".png", image[:, :, 0].astype(np.uint16) * 257)[1].tobytes()
    alpha = cv2.imencode(".png", np.dstack([image, image[:, :, 0]]))[1].tobytes()
    jpeg, png = encoded[0], encoded[1]
    # Polyglots: an image that is something else too.
    archive = b"PK\x05\x06" + bytes(18)
    return [
        *encoded,
        progressive,
        grey16,
        alpha,
        jpeg + archive,
        png + b"<script>alert(1)</script>",
        b"GIF89a" + struct.pack("<HH", 17, 12) + bytes(40),
        jpeg[:2] + b"\xff\xe1\x00\x10Exif\0\0" + bytes(8) + jpeg[2:],
        declared_png(60000, 60000),
        *image_bombs.seeds(),
    ]


def declared_png(width: int, height: int) -> bytes:
    """Return a PNG that declares a size it does not have."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(500)))
        + chunk(b"IEND", b"")
    )


def decode(data: bytes) -> None:
    """An image: pixels within the limit, or an error for the caller."""
    for limits in (DecodeLimits(MAX_PIXELS), DecodeLimits(MAX_PIXELS, reduce_to=8)):
        try:
            image = decode_image(data, limits)
        except ServingError:
            continue
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3
        assert image.shape[0] * image.shape[1] <= MAX_PIXELS


def decoder(data: bytes) -> None:
    """An image that passes the guard: the decoder finds its size, and needs what is estimated."""
    work = estimated_megapixels(data)
    try:
        image_format, size, affordable = admitted(data, MAX_PIXELS)
    except ServingError:
        return
    peak, began = _peak_megabytes(), time.thread_time()
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(affordable, np.uint8), flags)
    except cv2.error:
        pixels = None
    seconds = time.thread_time() - began
    # A megapixel takes 4 ms; here the machine may be ten times slower, or the estimate 3 times low.
    assert seconds < 0.3 + 30 * 0.004 * work, f"{seconds:.2f} s for {work} megapixels"
    grown = _peak_megabytes() - peak
    assert grown < 100 + 64e-6 * size[0] * size[1], f"{grown:.0f} MB for {size}"
    if pixels is not None:
        assert work > 0
        found = pixels.shape[1], pixels.shape[0]
        # OpenCV turns a TIFF by its orientation, whatever the flags say.
        assert found == size or (image_format.NAME == "TIFF" and found == size[::-1])


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def envelope_json(data: bytes) -> None:
    """A JSON body: a request that can be written and read again, or an error."""
    try:
        request = request_from_json(data, Hints("waste"))
    except ServingError:
        return
    assert request_from_json(request_to_json(request), Hints("waste")) == request


def envelope_proto(data: bytes) -> None:
    """A protobuf message: likewise."""
    try:
        codec = ProtoCodec()
        request = codec.read(data, Hints(codec.service_in(data, Hints())))
    except ServingError:
        return
    written = request_to_proto(request).SerializeToString()
    assert request_from_message(written, Hints(request.service)) == request


def base64_text(data: bytes) -> None:
    """A value in base64, in any of its forms: bytes that are the same in the plain form."""
    try:
        found = decode_base64(data)
    except ValueError:
        return
    assert decode_base64(base64.b64encode(found)) == found


def multipart(data: bytes) -> None:
    """An upload: parts that are cut out of the body, or an error."""
    try:
        parts = read_multipart(data, "multipart/form-data; boundary=b")
    except ServingError:
        return
    assert sum(len(part.content) for part in parts) <= len(data)


def reply(data: bytes) -> None:
    """What a client received: a reply or an error, as JSON or as a message."""
    with contextlib.suppress(ServingError):
        assert isinstance(reply_from_json(data), ClassifyReply)
    with contextlib.suppress(ServingError):
        assert isinstance(reply_from_message(data), ClassifyReply)


def reply_values(data: bytes) -> None:
    """The values of an envelope, whatever is in them: finite scores and labels, or an error."""
    first, _, second = data.decode("utf-8", errors="replace").partition("\n")
    fields = {"err_no": 0, "err_msg": ""}
    for keys in (["label", "prob"], ["topk", "errors"]):
        body = json.dumps({**fields, "key": keys, "value": [first, second]}).encode()
        try:
            results = reply_from_json(body).results
        except ServingError:
            continue
        found = [
            category for each in results if not isinstance(each, ServingError) for category in each
        ]
        assert all(isinstance(c.label, str) and math.isfinite(c.score) for c in found)


class _Sends:
    """A server on loopback that sends the bytes it is given in reply to anything, and hangs up."""

    def __init__(self) -> None:
        self.data = b""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.client = HttpClient(f"127.0.0.1:{self._listener.getsockname()[1]}", service="waste")
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(1 << 16)
                connection.sendall(self.data)
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(1)
                while connection.recv(1 << 16):
                    pass


@functools.cache
def _server() -> _Sends:
    return _Sends()


def http_reply(data: bytes) -> None:
    """What a client receives over HTTP: categories, or an error of the tree with a short text."""
    server = _server()
    server.data = data
    try:
        found = server.client.classify(b"one")
    except ServingError as error:
        _is_short(str(error))
        return
    assert all(isinstance(category.label, str) for category in found)


def _is_short(text: str) -> None:
    assert len(text) < 2000


def admin_reply(data: bytes) -> None:
    """A reply of what should be an admin address: shown, or an error."""
    answer = AdminReply(200, data)
    try:
        status = read_reply(answer, Status)
        console = Console(file=io.StringIO())
        _show(console, status, status, 1.0)
        indented(answer)
    except ValueError:
        pass
    with contextlib.suppress(ValueError):
        report = read_reply(answer, ReloadReport)
        for name, files in report.get("served", {}).items():
            served_lines(name, files, report.get("as_before", {}).get(name, ()))


def python_text(data: bytes) -> None:
    """A list as 0.9 writes it: what literal_eval makes of it, where both read it."""
    text = data.decode("utf-8", errors="replace")
    try:
        found = read_list(text, 1000)
    except ValueError:
        return
    with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        expected = ast.literal_eval(text)
        # JSON has escapes that Python reads otherwise; `[("a")]` and `'a' 'b'` are Python's alone.
        if "\\" not in text and isinstance(expected, (list, tuple)):
            assert list(expected) == found


def frames(data: bytes) -> None:
    """A stream between service and worker: the same frames however it is cut, or FrameError."""
    outcomes = []
    for step in (1 << 20, 7, 1):
        buffer, found, failed = FrameBuffer(), [], False
        try:
            for start in range(0, min(len(data), 4096), step):
                piece = data[start : min(start + step, 4096)]
                for frame in buffer.feed(piece):
                    found.append(json.dumps(frame.header))
        except FrameError:
            failed = True
        outcomes.append((found, failed))
    assert outcomes[0] == outcomes[1] == outcomes[2]


class _Engine:
    ready = True
    timeout_s = None
    on_change = staticmethod(Changes().subscribe)

    async def classify(self, images: Any, **_options: Any) -> list[Any]:
        return [(Category(0, "cat", 0.5),) for _ in images]


_services = Services({"waste": _Engine()}, max_images=8)  # type: ignore[dict-item]
_services.phase = "ready"
_app = build_http_app(
    Desk(_services, Observer(Metrics("0"), RequestLog(0), Tracing()), Inflight(1 << 20)),
    max_body_bytes=1 << 20,
)
_TYPES = (b"multipart/form-data; boundary=b", b"application/json", b"image/png", b"", b"a/b;c=d")
_ENCODINGS = (b"", b"gzip", b"deflate", b"")


def http(data: bytes) -> None:
    """A body in one of the forms it may have: an envelope, and no status of a fault of ours."""
    if not data:
        return
    kind, body = _TYPES[data[0] % len(_TYPES)], data[1:]
    packed = _ENCODINGS[data[0] >> 5 & 3]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if receive.delivered:  # type: ignore[attr-defined]
            await asyncio.sleep(3600)
        receive.delivered = True  # type: ignore[attr-defined]
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    receive.delivered = False  # type: ignore[attr-defined]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/waste/prediction",
        "raw_path": b"/waste/prediction",
        "query_string": body[:20] if data[0] & 0x80 else b"",
        "root_path": "",
        "headers": [*([(b"content-type", kind)] if kind else []), (b"content-encoding", packed)],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 1),
    }
    asyncio.run(_app(scope, receive, send))
    assert sent[0]["status"] in (200, 400, 413), sent
    answer = json.loads(b"".join(message.get("body", b"") for message in sent[1:]))
    form = b"form=" in scope["query_string"] or b'name="form"' in body
    assert form or set(answer) == {"err_no", "err_msg", "key", "value", "tensors"}


def _in_a_file(read: Callable[[Path], object], *suffixes: str) -> Callable[[bytes], None]:
    folder = tempfile.TemporaryDirectory(prefix="fuzz")

    def run(data: bytes) -> None:
        for suffix in suffixes:
            path = Path(folder.name) / f"file{suffix}"
            path.write_bytes(data)
            try:
                read(path)
            except (BundleError, ConfigError, ConversionError):
                continue

    run.folder = folder  # type: ignore[attr-defined]
    return run


def _written(name: str) -> list[bytes]:
    root = Path(__file__).resolve().parents[2]
    return [path.read_bytes() for path in sorted(root.glob(name))]


def _model_config() -> list[bytes]:
    root = Path(__file__).resolve().parents[2]
    path = root / "serving_model/waste/serving_server/serving_server_conf.prototxt"
    config = read_model_config(path)
    return [path.read_bytes(), to_prototxt(config).encode(), to_stream(config)]


def _yaml(data: bytes) -> None:
    text = data.decode("utf-8", errors="replace")
    for read, error in ((parse_yaml, BundleError), (parse_api_keys, ApiKeysError)):
        try:
            read(text, "here")
        except error:
            continue


def _json(data: bytes) -> None:
    """JSON of a model: what the standard library makes of it, or an error."""
    text = data.decode("utf-8", errors="replace")
    with contextlib.suppress(BundleError):
        found = parse_json(text, "here")
        assert repr(found) == repr(json.loads(text))


def metadata_text(data: bytes) -> None:
    """What Ultralytics writes: the value that literal_eval makes of it, where it is read."""
    text = data.decode("utf-8", errors="replace")
    found = read_python_text(text)
    if found is None:
        return
    try:
        expected = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return  # as "[1,,]" is no value of Python, or a key that is given twice
    if isinstance(expected, tuple):
        expected = list(expected)
    # repr() writes none of the other escapes, nor a number in round brackets
    if not isinstance(expected, set) and "\\" not in text:
        assert found in (expected, [expected])


def _graph_seeds() -> list[bytes]:
    graph = json.dumps(
        {
            "base_code": {"magic": "pir", "version": 1},
            "program": {"regions": [{"blocks": [{"ops": [{"#": "1.data", "A": [], "O": []}]}]}]},
        }
    ).encode()
    program = MESSAGES["ProgramDesc"]()
    block = program.blocks.add(idx=0)
    for kind, name in (("feed", "x"), ("fetch", "y")):
        block.vars.add(name=name).type.lod_tensor.tensor.data_type = 5
        op = block.ops.add(type=kind)
        op.outputs.add(parameter="Out", arguments=[name])
        op.inputs.add(parameter="X", arguments=[name])
    return [graph, bytes(program.SerializeToString())]


def _graphs(path: Path) -> None:
    """The readers themselves; commands run them in a process of their own."""
    for read in (pir_graph.read_graph, program_graph.read_graph):
        with contextlib.suppress(ConversionError):
            read(path)


def _description(path: Path) -> None:
    read_description(Source(path, need_labels=True))


def _requests() -> list[ClassifyRequest]:
    return [
        ClassifyRequest(encoded([b"one"]), "waste"),
        ClassifyRequest(encoded([b"one", b"two"], 3, 0.5), "waste", log_id=7),
    ]


def _replies() -> list[ClassifyReply]:
    best = (Category(1, "cat", 0.9), Category(0, "dog", 0.1))
    return [ClassifyReply((best,)), ClassifyReply((best, ServingError("bad"), ()))]


def _reply_seeds() -> list[bytes]:
    old = json.dumps(
        {"err_no": 0, "err_msg": "", "key": ["label", "prob"], "value": ["['a']", "[0.9]"]}
    ).encode()
    written = [w for r in _replies() for w in (reply_to_json(r), _message(r))]
    return [old, *written]


def _reply_value_seeds() -> list[bytes]:
    category = b'{"class_id": 1, "label": "cat", "score": 0.5}'
    return [
        b"['cat', 'dog']\n[0.9, 0.1]",
        b'["cat", null]\n[0.9, null]',
        b"[[" + category + b"], null]\n" + b'[null, {"err_no": 5001, "err_msg": "cut off"}]',
        b"[[" + category + b", " + category + b"], []]\nnull",
    ]


def _http_reply_seeds() -> list[bytes]:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n"
    body = reply_to_json(_replies()[0])
    packed = gzip.compress(body, mtime=0)
    chunked = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    return [
        head % (len(body), b"") + body,
        head % (len(packed), b"Content-Encoding: gzip\r\n") + packed,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + chunked,
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    ]


def _admin_reply_seeds() -> list[bytes]:
    worker = {"name": "a", "pid": 1, "state": "idle", "restarts": 0, "batches": 2, "images": 3}
    counters = dict.fromkeys(("answered", "failed", "expired", "abandoned", "rejected"), 1)
    service = {"name": "a", "ready": True, "waiting": 0, "queue_size": 1, "facts": {}}
    service |= {"workers": [{**worker, "cause": None}], "counters": counters}
    status = {"version": "1", "phase": "ready", "pid": 1, "uptime_s": 1.5, "source": "a.yml"}
    status |= {"services": [service], "last_reload": {"at": 1.0, "outcome": "ok", "error": None}}
    served = {"a": {"bundle": "b", "model": {"file": "c", "sha256": None}}}
    report = {"status": "reloaded", "seconds": 1.0, "served": served, "as_before": {"a": []}}
    return [json.dumps(each).encode() for each in (status, report)]


def _message(reply: ClassifyReply) -> bytes:
    return reply_to_proto(reply).SerializeToString()


def _base64_seeds() -> list[bytes]:
    text = base64.b64encode(bytes(range(256)))
    return [
        text,
        b"data:image/png;base64," + text.replace(b"+", b"%2B"),
        str(base64.encodebytes(bytes(range(256)))).encode(),
        base64.urlsafe_b64encode(bytes(range(256))).rstrip(b"="),
        text.replace(b"+", b" "),
        b"/data/a.jpg",
    ]


def _http_seeds() -> list[bytes]:
    part = (
        b'--b\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\n\r\nxx\r\n--b--\r\n'
    )
    image = base64.b64encode(b"one").decode()
    body = json.dumps({"key": ["image", "topk"], "value": [image, "2"], "logid": 1}).encode()
    field = b'--b\r\nContent-Disposition: form-data; name="topk"\r\n\r\n2\r\n' + part
    return [
        b"\x00" + part,
        b"\x00" + field,
        b"\x01" + body,
        b"\x02\x89PNG",
        b"\x82topk=3&form=result",
        b"\x03image=" + image.encode() * 30 + b"&topk=3",
        b"\x03image=" + image.replace("=", "%3D").encode() * 30,
        b"\x03" + image.encode() * 30,
        b"\x23" + gzip.compress(body, mtime=0),
        b"\x43" + zlib.compress(body),
    ]


def _frame_seeds() -> list[bytes]:
    start = pack({"kind": "start", "settings": "{}"})
    batch = pack({"kind": "batch", "number": 1, "images": [[3, None, None]]}, 3) + b"one"
    return [start, start + batch, batch * 3, batch[:-1]]


_TAGGED = (
    b"http_port: !!int 18080\nop: !!map {a: !!binary aGk=}\n",
    b"rpc_port: !!timestamp 2001-02-03\nworker_num: !!float 1e3\n",
    b"&a [*a, !!set {b}, !!omap [c: d]]",
)

TARGETS: dict[str, Target] = {
    "decode": Target(decode, _images),
    "decoder": Target(decoder, lambda: [*image_seeds.kinds(), *image_bombs.seeds()]),
    "envelope_json": Target(envelope_json, lambda: [request_to_json(r) for r in _requests()]),
    "envelope_proto": Target(
        envelope_proto, lambda: [request_to_proto(r).SerializeToString() for r in _requests()]
    ),
    "base64_text": Target(base64_text, _base64_seeds),
    "multipart": Target(multipart, lambda: [seed[1:] for seed in _http_seeds()]),
    "reply": Target(reply, _reply_seeds),
    "reply_values": Target(reply_values, _reply_value_seeds),
    "python_text": Target(
        python_text,
        lambda: [
            b"['daisy', \"it's\"]",
            b"[0.5, 1e-3, -7]",
            b"('a',)",
            b"['\\u53ef\\x41\\n']",
            b"[]",
        ],
    ),
    "http_reply": Target(http_reply, _http_reply_seeds),
    "admin_reply": Target(admin_reply, _admin_reply_seeds),
    "frames": Target(frames, _frame_seeds),
    "http": Target(http, _http_seeds),
    "labels": Target(
        _in_a_file(read_labels, ".txt", ".json", ".yml"),
        lambda: [*_written("labels/*4.txt"), b'{"0": "a", "1": "b"}', b"- a\n- b\n", b"0 a\n1 b"],
    ),
    "model_config": Target(_in_a_file(read_model_config, ".prototxt", ".stream"), _model_config),
    "inference_yml": Target(
        _in_a_file(read_inference_yml, ".yml"), lambda: _written("serving_model/*/*/inference.yml")
    ),
    "config": Target(_in_a_file(load_settings, ".yml"), lambda: _written("configs/*.yml")),
    "json": Target(_json, lambda: [b'{"0": "a", "1": [1, -0, 1.5, null]}', b'["a\\"[{"]']),
    "metadata_text": Target(
        metadata_text, lambda: [b"{0: 'a', 1: \"b's\"}", b"[224, 224]", b"(3,)", b"'\\u732b'"]
    ),
    "parameters": Target(
        _in_a_file(check_whole, ".pdiparams"),
        lambda: [struct.pack("<IQIi", 0, 0, 0, 4) + b"\x08\x05\x10\x02" + bytes(8)],
    ),
    "graphs": Target(_in_a_file(_graphs, ""), _graph_seeds),
    "descriptions": Target(
        _in_a_file(_description, ".yml", ".json"),
        lambda: [
            *_written("serving_model/*/serving_server/inference.yml"),
            b"Transforms: [{Resize: {target_size: 4}}]\n_Attributes: {labels: [a]}",
            b'{"image_mean": [0.5], "do_resize": true, "size": {"height": 4, "width": 4}}',
            b"PreProcess: {transform_ops: []}\nPostProcess: {Topk: {class_id_map_file: /x}}",
        ],
    ),
    "yaml": Target(
        _yaml, lambda: [b"a: [1, 2]", b"app: 0123456789abcdef0123\n", b"&a [*a]", b"[" * 600]
    ),
}
