"""Requests that no model takes, whatever it is for: JSON, parameters, forms, headers, addresses and tokens that are wrong; and a
few that look so and are to be answered."""

import base64
import json
from collections.abc import Iterator

import hypothesis.strategies as st
import msgspec

from tests.faults.case import REFUSED, Best, Case
from tests.faults.drawn import drawn
from tests.faults.good import BYTES, JSON, TEXT, Offline, multipart

ANSWERED, UNREADABLE, WRONG_KIND, WRONG_VALUE = (frozenset({code}) for code in (200, 400, 415, 422))
UNPARSED = frozenset({400, 422})  # which of the two depends on whether TorchServe could parse the JSON
# TorchServe's frontend answers 500 where its library cannot decode a form, and nothing of ours is asked: docs/operations.md.
UNDECODED = frozenset({400, 415, 422, 500})
URL_ENCODED = {"Content-Type": "application/x-www-form-urlencoded"}
FORM = {"Content-Type": "multipart/form-data; boundary=b"}

VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.lists(st.text(), max_size=3)
OBJECTS = st.dictionaries(st.text(min_size=1), st.integers(), max_size=3)
BROKEN_JSON = st.binary(max_size=300).map(lambda rest: b"{" + rest)
HUGE_JSON = [
    "[" * 100_000,
    '{"inputs":' * 50_000,
    '{"inputs": ' + "[" * 900 + "]" * 900 + "}",
    '{"inputs": ' + "9" * 5_000 + "}",
    json.dumps({"inputs": list(range(300_000))}),
    json.dumps({f"key {place}": place for place in range(50_000)}),
]
NO_BASE64 = ["!!", "YQ", "a b c", "-_-_", "é", "YQ===", "data:image/png;base64,?", "https://example.org/picture.png", "\ud800"]
TOP_K = ["-1", "0", '"x"', "1e9", "1001", "null", "true", "2.5", "[]", '{"a": 1}', "NaN", "Infinity", "9" * 400, '"\\ud800"']
TOP_K_OF_A_FORM = ["-1", "0", "x", "1e9", "", "NaN", "9" * 400]
HEADERS = [
    {"describe": "True"}, {"Describe": "true"}, {"explain": "true"}, {"EXPLAIN": "1"}, {"content-encoding": "br"},
    {"x-odd": "\xe9\xff"}, {"x-long": "x" * 4_000}, {"User-Agent": "\xff" * 50}, {"accept": "*/*;" * 500},
]  # fmt: skip
ADDRESSES = ["/predictions/no-such-model", "/predictions/{model}/9.9", "/predictions", "/predictions/%00", "/predictions/%zz",
             "/predictions/..%2f..%2fetc", "/models", "/nowhere"]  # fmt: skip
TOKENS = ["", "Bearer", "Bearer wrong", "Basic eDp4", "Bearer \xff\xfe", "Bearer " + "x" * 4_000]


class Wire(msgspec.Struct):
    """One model's good input, and how it is put to wrong use."""

    model: Offline
    best: Best
    payload: bytes

    @property
    def own(self) -> dict[str, str]:
        return TEXT if self.model.is_text else BYTES

    @property
    def inputs(self) -> str:
        """As JSON."""
        return json.dumps(self.payload.decode() if self.model.is_text else base64.b64encode(self.payload).decode())

    def case(self, kind: str, body: bytes | str, statuses: frozenset[int], headers: dict, says: str = "", **rest) -> Case:
        sent = body.encode() if isinstance(body, str) else body
        return Case(kind=kind, model=self.model.name, body=sent, headers=headers, statuses=statuses, says=says, **rest)

    def of_json(self, each: int) -> Iterator[Case]:
        for value in drawn(VALUES | OBJECTS, each):
            yield self.case("wrong type in JSON", json.dumps({"inputs": value}), WRONG_VALUE, JSON, "'inputs' is")
        for value in drawn(VALUES, each):
            yield self.case("JSON that is no request", json.dumps(value), WRONG_VALUE, JSON, "JSON body")
        for body in drawn(BROKEN_JSON, each):
            yield self.case("JSON that does not parse", body, UNREADABLE, JSON, "not JSON")
        for body in HUGE_JSON:
            yield self.case("deep or huge JSON", body, UNPARSED, JSON)
        for second in ("3", "null", "[]"):
            yield self.case(
                "duplicate keys", f'{{"inputs": {self.inputs}, "inputs": {second}}}', WRONG_VALUE, JSON, "'inputs' is"
            )
        yield self.case("duplicate keys", f'{{"inputs": 3, "inputs": {self.inputs}}}', ANSWERED, JSON, best=self.best)
        for text in NO_BASE64 if not self.model.is_text else []:
            yield self.case("wrong base64", json.dumps({"inputs": text}), UNREADABLE, JSON, "base64")

    def of_parameters(self, each: int) -> Iterator[Case]:
        for value in TOP_K:
            body = f'{{"inputs": {self.inputs}, "parameters": {{"top_k": {value}}}}}'
            yield self.case("wrong parameter in JSON", body, UNPARSED, JSON)
        for value in TOP_K_OF_A_FORM:
            yield self.case("wrong parameter in a form", *self.form({"data": self.payload, "top_k": value}, WRONG_VALUE), "top_k")
        for name in drawn(st.text(min_size=1), each):
            body = f'{{"inputs": {self.inputs}, "parameters": {{{json.dumps(name)}: 1}}}}'
            yield self.case("unknown parameter", body, WRONG_VALUE, JSON, "no parameter")

    def form(self, fields: dict, statuses: frozenset[int]) -> tuple[bytes, frozenset[int], dict]:
        body, headers = multipart(fields)
        return body, statuses, headers

    def of_forms(self) -> Iterator[Case]:
        payload = self.payload
        for fields in ({"top_k": "3"}, {"file": payload}, {"data": payload, "inputs": payload}, {"Data": payload}):
            yield self.case("form with a part missing", *self.form(fields, WRONG_VALUE), "the form has")
        whole, headers = multipart({"data": payload})
        head = b'--b\r\nContent-Disposition: form-data; name="data"\r\n\r\n'
        for body, sent in [
            (whole, {"Content-Type": "multipart/form-data"}),
            (whole, {"Content-Type": "multipart/form-data; boundary=another"}),
            (whole[: len(whole) // 2], headers),
            (b"", FORM),
            (b"--b--\r\n", FORM),
            (head, FORM),
            (payload, FORM),
        ]:
            yield self.case("broken form", body, frozenset({400, 415, 422}), sent)
        rest = b"\r\n\r\n" + payload + b"\r\n--b--\r\n"
        for body, sent in [
            (b"\xff%zz" + payload, URL_ENCODED),
            (b"--b" + rest, FORM),
            (b"--b\r\nContent-Disposition: form-data" + rest, FORM),
            (b'--b\r\nContent-Disposition: form-data; name="data"\r\nContent-Type: text/plain; charset=none' + rest, FORM),
        ]:
            yield self.case("form that TorchServe cannot decode", body, UNDECODED, sent)
        yield self.case("form-encoded", "wake+me&top_k=3", WRONG_KIND, URL_ENCODED, "form-encoded")

    def of_headers(self) -> Iterator[Case]:
        for headers in HEADERS:
            yield self.case("odd header", self.payload, ANSWERED, self.own | headers, best=self.best)
        yield self.case("header too long", self.payload, REFUSED, self.own | {"x-long": "x" * 20_000}, is_unread=True)
        wrong = "image/png" if self.model.is_text else "text/plain"
        for kind in ("application/json", "font/woff", "model/gltf-binary", wrong):
            statuses = UNREADABLE if kind == "application/json" else WRONG_KIND
            yield self.case("wrong content type", self.payload, statuses, {"Content-Type": kind})
        for kind in (self.own["Content-Type"], "application/json", wrong, *URL_ENCODED.values()):
            yield self.case("zero length", b"", frozenset({400, 415, 422}), {"Content-Type": kind})
        for path in ADDRESSES:
            yield self.case("wrong address", self.payload, REFUSED, self.own, path=path)
        for token in TOKENS:
            yield self.case("wrong token", self.payload, REFUSED, self.own | {"Authorization": token})


def cases(models: list[Offline], each: int, limit: int) -> Iterator[Case]:
    """
    Args:
        each: how many of every kind that is drawn.
        limit: the largest body, in bytes.
    """
    for model in models:
        wire = Wire(model, *model.test_set[1])
        yield from wire.of_json(each)
        yield from wire.of_parameters(each)
        yield from wire.of_forms()
        yield from wire.of_headers()
        yield wire.case("body beyond the limit", bytes(limit + 1), frozenset({413}), wire.own, is_unread=True)
