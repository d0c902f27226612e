"""The bodies that `POST /<service>/prediction` takes, each as a codec, and which one a body is.

    RawCodec      the bytes of one image           UploadCodec   multipart, files and fields
    TextCodec     the base64 of one image          FormCodec     a form, images in base64
    JsonCodec     the key/value envelope

The first bytes decide wherever they can, because programs send a wrong Content-Type, or none: curl
names a form, `requests` nothing, S3 `binary/octet-stream`. All but the envelope may be answered in
a short form (`protocol.forms`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from .codec import Codec, Hints, NotQuick
from .errors import InvalidRequest, UndecodableImage
from .first_bytes import is_binary, is_json
from .forms import check_form, reply_in_form
from .key_value.base64_text import decode_base64
from .key_value.codec import JsonCodec
from .key_value.json_body import QUICK_BYTES
from .key_value.reply import error_to_json, reply_to_json
from .key_value.request import QUICK_REPAIR_BYTES, SEND
from .multipart import is_multipart, read_multipart
from .option_names import check_query, field_error, is_option
from .options import read_log_id, read_threshold, read_topk, shown
from .reply import ClassifyReply
from .request import ClassifyRequest, check_images, encoded
from .urlencoded import Field, begins_a_form, read_form

# The base64 of an image has more characters. A shorter field is a flag, `true` for one, which may
# be base64 by chance.
_LEAST_BASE64 = 32
_BASE64_HEAD = re.compile(rb"\s*(b?['\"])?(data:[^,\s]{0,100},)?[a-z0-9+/_-]*\Z", re.IGNORECASE)
_GZIP = b"\x1f\x8b"
# Fewer bytes are no image, and need no line end.
_LEAST_IMAGE = 32
_FIRST_BYTES = 64 * 1024
_QUICK_FIELDS = 50
_LONGEST_OPTION = 200  # bytes


class BodyCodec(Codec):
    """The codec of one request: its Content-Type is known, its body comes later."""

    def __init__(self, content_type: str) -> None:
        """Take the header's value, "" where there is none."""
        self._kind = content_type.partition(";")[0].strip().lower()

    def extra_bytes(self, body: bytes) -> int:
        """Return what the codec of this body does."""
        return self.codec_of(body).extra_bytes(body)

    def read(self, body: bytes, hints: Hints) -> ClassifyRequest:
        """Read the body as what it is."""
        return self.codec_of(body).read(body, hints)

    def write(self, reply: ClassifyReply, request: ClassifyRequest) -> bytes:
        """Write the reply in the form that the request names."""
        return reply_in_form(reply, request.form) if request.form else reply_to_json(reply)

    def error(self, error: BaseException) -> bytes:
        """Write the key/value envelope of an error."""
        return error_to_json(error)

    def codec_of(self, body: bytes) -> Codec:
        """Return the codec that reads this body: the first one whose condition holds."""
        multipart = self._kind.startswith("multipart/")
        image = self._kind == "application/octet-stream" or self._kind.startswith("image/")
        conditions: tuple[tuple[bool, Codec], ...] = (
            (is_multipart(body), _UPLOAD),
            (is_binary(body), _RAW),
            (is_json(body), _ENVELOPE),
            (multipart, _UPLOAD),
            (_is_base64(body), _TEXT),
            (image, _RAW),
            (begins_a_form(body), _FORM),
            (True, _ENVELOPE),
        )
        return next(codec for holds, codec in conditions if holds)


class _OtherCodec(Codec):
    """The replies that all but the envelope share."""

    def write(self, reply: ClassifyReply, request: ClassifyRequest) -> bytes:
        """Write the reply in the form that the request names."""
        return reply_in_form(reply, request.form) if request.form else reply_to_json(reply)

    def error(self, error: BaseException) -> bytes:
        """Write the key/value envelope of an error."""
        return error_to_json(error)


class RawCodec(_OtherCodec):
    """The body is the content of one image file; options stand in the address."""

    def read(self, body: bytes, hints: Hints) -> ClassifyRequest:
        """Take the body as one image."""
        if not body:
            raise InvalidRequest("the body is empty; send the bytes of one image")
        if body.startswith(_GZIP):
            raise InvalidRequest(
                "the body is packed with gzip; add the header Content-Encoding: gzip, or unpack it"
            )
        if lost_its_line_ends(body):
            raise UndecodableImage(
                "the image has lost its line ends, as curl does with -d and --data; send it with "
                "--data-binary @FILE"
            )
        return _request([body], {}, hints)


class TextCodec(_OtherCodec):
    """The body is the base64 of one image and nothing else; options stand in the address."""

    def read(self, body: bytes, hints: Hints) -> ClassifyRequest:
        """Decode the body."""
        if hints.quick and len(body) > QUICK_BYTES:
            raise NotQuick
        plain = hints.quick and len(body) > QUICK_REPAIR_BYTES
        try:
            image = decode_base64(memoryview(body), plain=plain)
        except ValueError as error:
            raise InvalidRequest(f"the body is not base64: {error}; {SEND}") from error
        return _request([image], {}, hints)


class UploadCodec(_OtherCodec):
    """The body is multipart: every file is an image; other fields are options, or base64."""

    def read(self, body: bytes, hints: Hints) -> ClassifyRequest:
        """Take the images in their order."""
        images: list[bytes] = []
        options: dict[str, str] = {}
        for part in read_multipart(body, hints.content_type, quick=hints.quick):
            if part.is_file:
                images.append(part.content)
            elif is_option(part.name):
                options[part.name] = _option_in_field(part.name, part.content)
            else:
                images.append(_image_in_field(part.name, memoryview(part.content), hints))
            check_images(len(images), hints.max_images)
        return _request(images, options, hints)


class FormCodec(_OtherCodec):
    """The body is a form: options, and images in base64."""

    def read(self, body: bytes, hints: Hints) -> ClassifyRequest:
        """Take the images in their order."""
        if hints.quick and (len(body) > QUICK_REPAIR_BYTES or body.count(b"&") > _QUICK_FIELDS):
            raise NotQuick
        images: list[bytes] = []
        options: dict[str, str] = {}
        for field in _of_an_envelope(list(read_form(body))):
            if is_option(field.name):
                options[field.name] = field.text()
            else:
                images.append(_image_in_field(field.name, field.value, hints, form=True))
            check_images(len(images), hints.max_images)
        return _request(images, options, hints)


_RAW, _TEXT, _UPLOAD, _FORM, _ENVELOPE = (
    RawCodec(),
    TextCodec(),
    UploadCodec(),
    FormCodec(),
    JsonCodec(),
)


def _is_base64(body: bytes) -> bool:
    """Return whether the body begins as base64 does, or as the data URL of an image."""
    return len(body) >= _LEAST_BASE64 and bool(_BASE64_HEAD.match(body[:_LEAST_BASE64]))


def lost_its_line_ends(body: bytes) -> bool:
    """Return whether the bytes of an image went through a reader of lines.

    curl leaves out CR and LF, and what is between a NUL and the end of its line. Every image has
    one of the three, in its first bytes.
    """
    if len(body) < _LEAST_IMAGE or not is_binary(body):
        return False
    return all(body.find(end, 0, _FIRST_BYTES) < 0 for end in (b"\0", b"\n", b"\r"))


def _of_an_envelope(fields: Sequence[Field]) -> Sequence[Field]:
    """Return what fields `key` and `value` mean: `requests` sends an envelope so with `data=`."""
    keys = [field.text() for field in fields if field.name == "key"]
    values = [field.value for field in fields if field.name == "value"]
    if not (keys and len(keys) == len(values)):
        return fields
    rest = [field for field in fields if field.name not in ("key", "value")]
    return [*map(Field, keys, values), *rest]


def _option_in_field(name: str, value: bytes) -> str:
    """Return the text of an option in an upload.

    Raises:
        InvalidRequest: no option is so long.
    """
    if len(value) > _LONGEST_OPTION:
        start = shown(value[:40].decode(errors="replace"))
        raise InvalidRequest(
            f"the field {name!r} has {len(value)} bytes, beginning with {start}; an option has "
            f"{_LONGEST_OPTION} at most"
        )
    return value.decode(errors="replace")


def _image_in_field(name: str, value: memoryview, hints: Hints, *, form: bool = False) -> bytes:
    """Return the image whose base64 a field has.

    Raises:
        InvalidRequest: the field is none, or it is an option in another spelling.
        NotQuick: the hints say that it must be quick, and it cannot be.
    """
    reason = ""
    if hints.quick and len(value) > QUICK_REPAIR_BYTES:
        raise NotQuick
    if len(value) >= _LEAST_BASE64:
        try:
            image = decode_base64(value, form=form)
            if is_binary(image):
                return image
            reason = "it is the base64 of a text"
        except ValueError as error:
            reason = str(error)
    raise field_error(name, shown(str(value[:40], "utf-8", "replace")), reason)


def _request(images: Sequence[bytes], fields: Mapping[str, str], hints: Hints) -> ClassifyRequest:
    check_query(hints.options)
    if not images:
        raise InvalidRequest("no image in the form; upload at least one file")
    options = {**_one_name(hints.options), **_one_name(fields)}
    form = options.get("form")
    topk, threshold = read_topk(options.get("topk")), read_threshold(options.get("threshold"))
    return ClassifyRequest(
        images=encoded(images, topk, threshold),
        service=hints.service,
        log_id=read_log_id(options.get("logid")),
        form="" if form is None else check_form(form),
    )


def _one_name(options: Mapping[str, str]) -> dict[str, str]:
    """Return `options` with `logid` for `log_id`: a field takes precedence under both names."""
    return {"logid" if name == "log_id" else name: value for name, value in options.items()}
