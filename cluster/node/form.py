"""The body of an HTTP request as fields, as TorchServe's worker receives them.

The handlers parse texts, JSON and compressed bodies themselves, so each value is bytes.
"""

from collections import Counter
from collections.abc import Iterator
from email.message import Message
from typing import Any

FORM, FORM_ENCODED = "multipart/form-data", "application/x-www-form-urlencoded"


class MalformedForm(Exception):
    """The form cannot be taken apart; the message says why."""


def fields_of(body: bytes, content_type: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The fields of a form, or the body under "body"; and the names of fields that came more than once, each a list of values.

    A body that is form-encoded does not reach the model, as under TorchServe.

    Raises:
        MalformedForm: a form without its end, or a part without a name.
    """
    media = content_type.partition(";")[0].strip().lower()
    if media == FORM and (boundary := parameter(content_type, "boundary")):
        parts = list(parts_of(body, boundary.encode()))
        repeated = tuple(name for name, count in Counter(name for name, _ in parts).items() if count > 1)
        lists = {name: [value for other, value in parts if other == name] for name in repeated}
        return dict(parts) | lists, repeated
    if media == FORM_ENCODED or not body:
        return {}, ()
    return {"body": body}, ()


def parts_of(body: bytes, boundary: bytes) -> Iterator[tuple[str, bytes]]:
    """The name and the bytes of each part of a multipart body (RFC 7578).

    Raises:
        MalformedForm: see `fields_of`.
    """
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise MalformedForm("the form has no end; send curl's -F data=@file")
    for piece in pieces[1:-1]:
        head, blank, content = piece.partition(b"\r\n\r\n")
        name = parameter(disposition_of(head), "name")
        if not blank or not name:
            raise MalformedForm("a part of the form has no name; send curl's -F data=@file")
        yield name, content


def disposition_of(head: bytes) -> str:
    """The Content-Disposition among a part's headers; "" if there is none."""
    for line in head.decode("utf-8", "replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-disposition":
            return value.strip()
    return ""


def parameter(header: str, name: str) -> str:
    """A parameter of a header such as `form-data; name="data"`; "" if it has none."""
    message = Message()
    message["content-disposition"] = header
    value = message.get_param(name, header="content-disposition", unquote=True)
    return value if isinstance(value, str) else value[2] if value else ""
