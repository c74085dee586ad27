"""Requests that no model takes: wrong JSON, parameters, forms, headers, addresses and tokens.

A few only look wrong and must be answered.
"""

import base64
import json
from collections.abc import Iterator

import hypothesis.strategies as st
import msgspec

from tests.faults.hypothesis_examples import examples
from tests.faults.request_case import REFUSED, Expected, RequestCase
from tests.faults.valid_requests import BYTES, JSON, TEXT, OfflineModel, multipart

ANSWERED, UNREADABLE, WRONG_KIND, WRONG_VALUE = (frozenset({code}) for code in (200, 400, 415, 422))
UNPARSED = frozenset({400, 422})  # 400 if TorchServe could not parse the JSON
# TorchServe's frontend answers 500 if its library cannot decode a form. No code of the bundle runs: docs/operations.md.
UNDECODED = frozenset({400, 415, 422, 500})
URL_ENCODED = {"Content-Type": "application/x-www-form-urlencoded"}
FORM = {"Content-Type": "multipart/form-data; boundary=b"}

SCALARS = st.none() | st.booleans() | st.integers() | st.floats()
VALUES = SCALARS | st.lists(st.text(), max_size=3)
OBJECTS = st.dictionaries(st.text(min_size=1), st.integers(), max_size=3)
BROKEN_JSON = st.binary(max_size=300).map(lambda rest: b"{" + rest)
HUGE_JSON = [
    "[" * 100_000,
    '{"inputs":' * 50_000,
    '{"inputs": ' + "[" * 900 + "]" * 900 + "}",
    '{"inputs": ' + "9" * 5_000 + "}",
    json.dumps({"inputs": list(range(300_000))}),
    json.dumps({f"key {index}": index for index in range(50_000)}),
]
NOT_BASE64 = ["!!", "YQ", "a b c", "-_-_", "é", "YQ===", "data:image/png;base64,?", "https://example.org/picture.png", "\ud800"]
BLANK = ["", " ", "\t\n", "\u00ab"]
TOP_K = ["-1", "0", '"x"', "1e9", "1001", "true", "2.5", "[]", '{"a": 1}', "NaN", "Infinity", "9" * 400, '"\\ud800"']
TOP_K_IN_FORM = ["-1", "0", "x", "1e9", "", "NaN", "9" * 400]
HEADERS = [
    {"describe": "True"}, {"Describe": "true"}, {"explain": "true"}, {"EXPLAIN": "1"}, {"content-encoding": "identity"},
    {"x-odd": "\xe9\xff"}, {"x-long": "x" * 4_000}, {"User-Agent": "\xff" * 50}, {"accept": "*/*;" * 500},
]  # fmt: skip
ADDRESSES = ["/predictions/no-such-model", "/predictions/{model}/9.9", "/predictions", "/predictions/%00", "/predictions/%zz",
             "/predictions/..%2f..%2fetc", "/models", "/nowhere"]  # fmt: skip
TOKENS = ["", "Bearer", "Bearer wrong", "Basic eDp4", "Bearer \xff\xfe", "Bearer " + "x" * 4_000]


class MalformedRequests(msgspec.Struct):
    """Wrong requests around one valid input of a model."""

    model: OfflineModel
    expected: Expected
    payload: bytes

    @property
    def own_headers(self) -> dict[str, str]:
        return TEXT if self.model.is_text else BYTES

    @property
    def inputs(self) -> str:
        """The valid input as a JSON value."""
        return json.dumps(self.payload.decode() if self.model.is_text else base64.b64encode(self.payload).decode())

    def case(
        self, kind: str, body: bytes | str, statuses: frozenset[int], headers: dict, message: str = "", **rest
    ) -> RequestCase:
        sent = body.encode() if isinstance(body, str) else body
        return RequestCase(
            kind=kind, model=self.model.name, body=sent, headers=headers, statuses=statuses, message=message, **rest
        )

    def json_cases(self, each: int) -> Iterator[RequestCase]:
        # A list with a string in it is several inputs.
        for value in examples(SCALARS | OBJECTS | st.lists(SCALARS, max_size=3), each):
            yield self.case("wrong type in JSON", json.dumps({"inputs": value}), WRONG_VALUE, JSON, "'inputs' is")
        several, statuses = (BLANK, WRONG_VALUE) if self.model.is_text else (NOT_BASE64, UNREADABLE)
        for values in examples(st.lists(st.sampled_from(several), min_size=1), each):
            yield self.case("several inputs, all wrong", json.dumps({"inputs": values}), statuses, JSON)
        for value in examples(VALUES, each):
            yield self.case("JSON that is no request", json.dumps(value), WRONG_VALUE, JSON, "JSON body")
        for body in examples(BROKEN_JSON, each):
            yield self.case("JSON that does not parse", body, UNREADABLE, JSON, "not JSON")
        for body in HUGE_JSON:
            yield self.case("deep or huge JSON", body, UNPARSED, JSON)
        for second in ("3", "null", "[]"):
            for body in (f'{{"inputs": {self.inputs}, "inputs": {second}}}', f'{{"inputs": {second}, "inputs": {self.inputs}}}'):
                yield self.case("duplicate keys", body, WRONG_VALUE, JSON, "'inputs' twice")
        for text in NOT_BASE64 if not self.model.is_text else []:
            yield self.case("wrong base64", json.dumps({"inputs": text}), UNREADABLE, JSON, "base64")

    def parameter_cases(self, each: int) -> Iterator[RequestCase]:
        for value in TOP_K:
            body = f'{{"inputs": {self.inputs}, "parameters": {{"top_k": {value}}}}}'
            yield self.case("wrong parameter in JSON", body, UNPARSED, JSON)
        for value in TOP_K_IN_FORM:
            yield self.case("wrong parameter in a form", *self.form({"data": self.payload, "top_k": value}, WRONG_VALUE), "top_k")
        for name in examples(st.text(min_size=1), each):
            body = f'{{"inputs": {self.inputs}, "parameters": {{{json.dumps(name)}: 1}}}}'
            yield self.case("unknown parameter", body, WRONG_VALUE, JSON, "no parameter")

    def form(self, fields: dict, statuses: frozenset[int]) -> tuple[bytes, frozenset[int], dict]:
        body, headers = multipart(fields)
        return body, statuses, headers

    def form_cases(self) -> Iterator[RequestCase]:
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

    def header_cases(self) -> Iterator[RequestCase]:
        for headers in HEADERS:
            yield self.case("odd header", self.payload, ANSWERED, self.own_headers | headers, expected=self.expected)
        yield self.case("header too long", self.payload, REFUSED, self.own_headers | {"x-long": "x" * 20_000}, is_unread=True)
        wrong = "image/png" if self.model.is_text else "text/plain"
        for kind in ("application/json", "font/woff", "model/gltf-binary", wrong):
            statuses = UNREADABLE if kind == "application/json" else WRONG_KIND
            yield self.case("wrong content type", self.payload, statuses, {"Content-Type": kind})
        for kind in (self.own_headers["Content-Type"], "application/json", wrong, *URL_ENCODED.values()):
            yield self.case("zero length", b"", frozenset({400, 415, 422}), {"Content-Type": kind})
        for path in ADDRESSES:
            yield self.case("wrong address", self.payload, REFUSED, self.own_headers, path=path)
        for token in TOKENS:
            yield self.case("wrong token", self.payload, REFUSED, self.own_headers | {"Authorization": token})


def malformed_requests(models: list[OfflineModel], each: int, limit: int) -> Iterator[RequestCase]:
    """
    Args:
        each: the number of examples of each random kind.
        limit: the largest body, in bytes.
    """
    for model in models:
        requests = MalformedRequests(model, *model.test_set[1])
        yield from requests.json_cases(each)
        yield from requests.parameter_cases(each)
        yield from requests.form_cases()
        yield from requests.header_cases()
        too_large = bytes(limit + 1)
        yield requests.case("body beyond the limit", too_large, frozenset({413}), requests.own_headers, is_unread=True)
