"""Attacks by the body of a request over HTTP: what parsing makes of few bytes."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode

from .attacker import Attack, Attacker
from .target import Mode

BOUNDARY = "attack"
MULTIPART = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
JSON = "Content-Type: application/json"
# Behind the desk a key changes nothing.
ADMITTED = (Mode.OPEN,)


def upload(*parts: tuple[str, bytes]) -> bytes:
    """Return the body of an upload: heads of parts as they are given, and contents."""
    body = b"".join(
        f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode("latin-1") + content + b"\r\n"
        for head, content in parts
    )
    return body + f"--{BOUNDARY}--\r\n".encode()


async def part_heads(attacker: Attacker) -> None:
    """Send an upload of 520 KB whose parts have heads full of semicolons."""
    head = 'Content-Disposition: form-data; name="a"' + ";" * 32_000
    body = upload(*[(head, b"")] * 16)
    await attacker.post(attacker.head(MULTIPART, size=len(body)) + body, 2)


async def crafted_uploads(attacker: Attacker) -> None:
    """Send uploads of 4 MB of the same kind, three at once; honest requests wait behind them."""
    head = 'Content-Disposition: form-data; name="a"; ' + 'a="\\";' * 600
    body = upload(*[(head, b"")] * 1000)
    await attacker.post(attacker.head(MULTIPART, size=len(body)) + body, 3)


async def long_type(attacker: Attacker) -> None:
    """Send a Content-Type of 30 KB of semicolons."""
    await attacker.post(attacker.head(MULTIPART + ";" * 30_000, size=2) + b"--", 2)


async def text_field(attacker: Attacker) -> None:
    """Send one text field of 60 MB that is not text."""
    body = upload(('Content-Disposition: form-data; name="topk"', b"\xff" * 60_000_000))
    await attacker.post(attacker.head(MULTIPART, size=len(body)) + body)


async def file_names(attacker: Attacker) -> None:
    """Send file names that are nothing but percent escapes."""
    head = "Content-Disposition: form-data; name=a; filename*=UTF-8''" + "%ff" * 5000
    body = upload(*[(head, b"x")] * 200)
    await attacker.post(attacker.head(MULTIPART, size=len(body)) + body, 2)


async def giant_key(attacker: Attacker) -> None:
    """Send JSON with one key of 60 MB of escapes."""
    body = b'{"' + rb"\u00e9" * 10_000_000 + b'": 1}'
    await attacker.post(attacker.head(JSON, size=len(body)) + body)


async def many_values(attacker: Attacker) -> None:
    """Send JSON of four million empty lists."""
    body = b'{"key": [' + b"[]," * 4_000_000 + b'1], "value": []}'
    await attacker.post(attacker.head(JSON, size=len(body)) + body)


async def deep_json(attacker: Attacker) -> None:
    """Send JSON of a million levels, and numbers of a million digits."""
    deep = b"[" * 1_000_000
    await attacker.post(attacker.head(JSON, size=len(deep)) + deep)


async def long_number(attacker: Attacker) -> None:
    """Send a number of a million digits."""
    body = b'{"key": ["topk"], "value": [' + b"9" * 1_000_000 + b"]}"
    await attacker.post(attacker.head(JSON, size=len(body)) + body, 2)


async def ordinary_large(attacker: Attacker) -> None:
    """Send right bodies of 60 MB whose value is no image."""
    value = b64encode(bytes(45_000_000)).decode()
    body = json.dumps({"key": ["image"], "value": [value]}).encode()
    await attacker.post(attacker.head(JSON, size=len(body)) + body, 2)


async def gzip_bomb(attacker: Attacker) -> None:
    """Send 60 KB of gzip that unpack to 60 MB."""
    deflate = zlib.compressobj(9, wbits=31)
    body = b"".join(deflate.compress(bytes(2**20)) for _ in range(60)) + deflate.flush()
    head = attacker.head(JSON, "Content-Encoding: gzip", size=len(body))
    await attacker.post(head + body, 8)


async def gzip_members(attacker: Attacker) -> None:
    """Send a body of thousands of tiny gzip members."""
    member = zlib.compressobj(9, wbits=31)
    body = (member.compress(b"a") + member.flush()) * 30_000
    head = attacker.head(JSON, "Content-Encoding: gzip", size=len(body))
    await attacker.post(head + body, 4)


ATTACKS = (
    Attack("part heads of semicolons", 2, "HTTP", "parsing is linear", part_heads,
           ADMITTED, holds_mib=1, like="bodies"),
    Attack("crafted uploads", 3, "HTTP", "honest requests keep their deadline", crafted_uploads,
           ADMITTED, holds_mib=12, like="bodies"),
    Attack("long Content-Type", 2, "HTTP", "parsing is linear", long_type, like="heads"),
    Attack("text field of 60 MB", 2, "HTTP", "it has a small limit", text_field,
           ADMITTED, holds_mib=58, like="bodies"),
    Attack("file names of escapes", 2, "HTTP", "parsing is linear", file_names,
           ADMITTED, holds_mib=6, like="bodies"),
    Attack("giant JSON key", 2, "HTTP", "not parsed on the loop", giant_key,
           ADMITTED, holds_mib=58, like="bodies"),
    Attack("millions of JSON values", 2, "HTTP", "counted before parsing", many_values,
           ADMITTED, holds_mib=12, like="bodies"),
    Attack("deep JSON", 2, "HTTP", "refused", deep_json, ADMITTED, holds_mib=1, like="bodies"),
    Attack("a number of 1 MB", 2, "HTTP", "refused", long_number,
           ADMITTED, holds_mib=2, like="bodies"),
    Attack("ordinary 60 MB bodies", 3, "HTTP", "honest requests keep their deadline",
           ordinary_large, ADMITTED, holds_mib=116, like="bodies"),
    Attack("gzip bomb", 7, "HTTP", "it unpacks within the ratio", gzip_bomb, holds_mib=96),
    Attack("gzip members", 7, "HTTP", "not unpacked on the loop", gzip_members, holds_mib=3,
           like="bodies"),
)  # fmt: skip
