import base64
import json

import msgspec
import pytest

from handlers.audio import SOUND
from handlers.classifier import ClassifierParameters
from handlers.deadline import DeadlineExceeded
from handlers.parameters import convert, form_parameters
from handlers.request import Kind, RawRequest, Request, parse_request, refuse
from handlers.several import SeveralInputs
from handlers.text import TEXT
from handlers.vision import PICTURE, DetectorParameters
from model_defs.errors import InputError, TooLarge, Unreadable, WrongKind, WrongValue

BYTES = b"\x89PNG \xff and so on"
BASE64 = base64.b64encode(BYTES).decode()
JSON = "application/json"
FORM = "multipart/form-data; boundary=x"
SERIES = Kind("a series", ("text/",), "send JSON", is_json=True)
CAPTIONED = Kind("a picture and a text", ("text/",), "send JSON, or a form", is_json=True, parts=("image", "text"))


def given(body, content_type: str = "", accepts=PICTURE) -> Request:
    return parse_request(RawRequest({"body": body}, content_type), accepts, ClassifierParameters)


def form(accepts=PICTURE, **fields) -> Request:
    return parse_request(RawRequest(fields, FORM), accepts, ClassifierParameters)


def options(parameters) -> Request:
    return given({"inputs": "a text", "parameters": parameters}, JSON, TEXT)


# --- bodies that are right


@pytest.mark.parametrize("content_type", ["", "image/png", "IMAGE/PNG", "application/octet-stream", "application/x-whatever"])
@pytest.mark.parametrize("body", [BYTES, bytearray(BYTES)], ids=["bytes", "bytearray"])
def test_a_raw_file_is_the_payload(body, content_type):
    request = given(body, content_type)
    assert request == Request(BYTES, ClassifierParameters(), explain=False)
    assert type(request.payload) is bytes


@pytest.mark.parametrize("content_type", ["audio/wav", "audio/mpeg; rate=8000", "video/ogg", ""])
def test_sounds_come_as_audio_or_video(content_type):
    assert given(BYTES, content_type, SOUND).payload == BYTES


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("a text", "text/plain"),
        ("a text", "text/plain; charset=utf-8"),
        (bytearray(b"a text"), ""),
        (bytearray(b"\xff"), "text/plain"),
    ],
)
def test_text_comes_decoded_or_as_bytes(body, content_type):
    assert given(body, content_type, TEXT).payload == (body if isinstance(body, str) else bytes(body))


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ({"inputs": "a text", "parameters": {"top_k": 3}}, JSON),
        (bytearray(b'{"inputs": "a text", "parameters": {"top_k": 3}}'), "application/json; charset=utf-8"),
        (bytearray(b'\xef\xbb\xbf{"inputs": "a text", "parameters": {"top_k": 3}}'), JSON),
        (b'{"inputs": "a text", "parameters": {"top_k": 3}}', "Application/JSON"),
    ],
    ids=["parsed", "with a charset", "with a byte order mark", "bytes"],
)
def test_a_json_body_holds_text_and_parameters(body, content_type):
    assert given(body, content_type, TEXT) == Request("a text", ClassifierParameters(top_k=3), explain=False)


@pytest.mark.parametrize("inputs", [BASE64, f"data:image/png;base64,{BASE64}", f"{BASE64[:8]}\r\n {BASE64[8:]}\n"])
def test_a_json_body_holds_a_file_in_base64(inputs):
    assert given({"inputs": inputs}, JSON).payload == BYTES


@pytest.mark.parametrize(
    "body", [{"inputs": "a text"}, {"inputs": "a text", "parameters": None}, {"inputs": "a text", "parameters": {}}]
)
def test_parameters_may_be_left_out(body):
    assert given(body, JSON, TEXT).parameters == ClassifierParameters(top_k=5, function_to_apply="softmax")


@pytest.mark.parametrize("field", ["data", "body", "inputs"])
def test_a_form_holds_the_input_under_any_of_three_names(field):
    assert form(**{field: bytearray(BYTES)}).payload == BYTES


@pytest.mark.parametrize(
    "fields",
    [
        {"top_k": bytearray(b"3"), "function_to_apply": bytearray(b"none")},
        {"top_k": "3", "function_to_apply": "none"},
        {"parameters": bytearray(b'{"top_k": 3, "function_to_apply": "none"}')},
        {"parameters": '{"top_k": 3, "function_to_apply": "none"}'},
        {"parameters": {"top_k": 3, "function_to_apply": "none"}},
        {"parameters": b'{"top_k": 3}', "top_k": b"3", "function_to_apply": b"none"},
    ],
    ids=["bytes", "text", "json bytes", "json text", "parsed json", "the same value twice"],
)
@pytest.mark.parametrize("payload_first", [True, False])
def test_a_form_holds_parameters_as_fields_or_as_json(fields, payload_first):
    data = {"data": bytearray(BYTES)}
    request = form(**(data | fields if payload_first else fields | data))
    assert request == Request(BYTES, ClassifierParameters(top_k=3, function_to_apply="none"), explain=False)


def test_two_values_of_one_parameter_are_refused_wherever_they_stand():
    with pytest.raises(WrongValue, match="the request has 'top_k' more than once, with different values"):
        form(data=bytearray(BYTES), parameters=b'{"top_k": 4}', top_k=b"3")
    body = {"inputs": BASE64, "parameters": {"top_k": 4}}  # and top_k=3 in the URL
    with pytest.raises(WrongValue, match="the request has 'top_k' more than once, with different values"):
        parse_request(RawRequest({"body": body, "top_k": "3"}, JSON), PICTURE, ClassifierParameters)
    same = parse_request(RawRequest({"body": body, "top_k": "4"}, JSON), PICTURE, ClassifierParameters)
    assert same.parameters == ClassifierParameters(top_k=4)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_a_number_that_is_none_is_refused_in_every_form(number):
    with pytest.raises(WrongValue, match="threshold"):
        convert({"threshold": float(number)}, DetectorParameters, strict=True)
    with pytest.raises(WrongValue, match="threshold"):
        form_parameters({"threshold": number}, {}, DetectorParameters)


def test_a_forms_field_of_text_is_a_text():
    assert form(TEXT, data="a text").payload == "a text"
    assert form(TEXT, data=bytearray(b"a text")).payload == b"a text"


@pytest.mark.parametrize("explain", [True, False])
@pytest.mark.parametrize(("body", "content_type"), [(BYTES, ""), ({"inputs": BASE64}, JSON)])
def test_a_request_for_an_explanation_stays_one(body, content_type, explain):
    assert (
        parse_request(RawRequest({"body": body}, content_type, explain=explain), PICTURE, ClassifierParameters).explain is explain
    )


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ({"inputs": [1, 2.5], "parameters": {"top_k": 3}}, JSON),
        (bytearray(b'{"inputs": [1, 2.5], "parameters": {"top_k": 3}}'), "application/json; charset=utf-8"),
        (b'{"inputs": [1, 2.5], "parameters": {"top_k": 3}}', ""),
        (b'{"inputs": [1, 2.5], "parameters": {"top_k": 3}}', "application/octet-stream"),
        ('{"inputs": [1, 2.5], "parameters": {"top_k": 3}}', "text/plain"),
    ],
    ids=["parsed", "with a charset", "without a type", "bytes", "text"],
)
def test_a_json_model_takes_any_value_with_any_header(body, content_type):
    assert given(body, content_type, SERIES) == Request([1, 2.5], ClassifierParameters(top_k=3))


@pytest.mark.parametrize("value", [bytearray(b"[1, 2]"), "[1, 2]", [1, 2]], ids=["bytes", "text", "parsed"])
def test_a_forms_field_holds_json(value):
    request = form(SERIES, data=value, top_k=b"3")
    assert (request.payload, request.parameters.top_k) == ([1, 2], 3)


def test_a_form_may_have_one_field_per_part_of_the_input():
    request = form(CAPTIONED, image=bytearray(BYTES), text="a cat", top_k=b"3")
    assert (request.payload, request.parameters.top_k) == ({"image": BYTES, "text": "a cat"}, 3)
    assert form(CAPTIONED, text=b"a cat").payload == {"text": b"a cat"}  # what is missing, the transform says
    assert form(CAPTIONED, data=b'{"text": "a cat"}').payload == {"text": "a cat"}
    assert (
        parse_request(RawRequest({"image": BYTES, "text": b"a cat"}), CAPTIONED, ClassifierParameters).payload["text"] == b"a cat"
    )  # gRPC


# --- what a header or a client says, or fails to say


INTENT = b'{"inputs": "a text", "parameters": {"top_k": 3}}'


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "text/plain; charset=utf-8", "application/octet-stream", "text/json", "application/x-json",
     "application/vnd.api+json", "application/x-whatever"],
)  # fmt: skip
@pytest.mark.parametrize("body", [INTENT, bytearray(INTENT), b"\xef\xbb\xbf \n" + INTENT, INTENT.decode()])
def test_json_without_its_media_type_is_json(body, content_type):
    assert given(body, content_type, TEXT) == Request("a text", ClassifierParameters(top_k=3))
    assert given(b'{"parameters": {"top_k": 3}, "inputs": "a text"}', content_type, TEXT).payload == "a text"
    picture = json.dumps({"inputs": BASE64, "parameters": {"top_k": 3}}).encode()
    if not content_type.startswith("text/plain"):
        assert given(picture, content_type) == Request(BYTES, ClassifierParameters(top_k=3))


@pytest.mark.parametrize("text", ['{"a": 1}', "{inputs}", '{"a": "inputs"', "[1]", '"inputs"', "{}", '{"a": 1, "a": 2}'])
def test_another_text_with_braces_is_a_text(text):
    assert given(text, "text/plain", TEXT).payload == text
    assert given(text.encode(), "", TEXT).payload == text.encode()


@pytest.mark.parametrize(
    ("body", "accepts", "message"),
    [
        (b'{"inputs": "a te', TEXT, "the body is not JSON"),
        (b'{"inputs": 3}', TEXT, "'inputs' is a number"),
        (b'{"image": "aGVsbG8="}', PICTURE, "no key 'image'"),
        (b"{}", SOUND, "this one is an empty object"),
    ],
)
def test_wrong_json_without_its_media_type_is_refused_as_json(body, accepts, message):
    with pytest.raises(InputError, match=message):
        given(body, "application/octet-stream", accepts)


@pytest.mark.parametrize("field", [INTENT, INTENT.decode(), json.loads(INTENT)], ids=["bytes", "text", "parsed"])
def test_json_in_a_forms_field_is_json(field):
    assert form(TEXT, data=field) == Request("a text", ClassifierParameters(top_k=3))
    assert form(TEXT, data=field, function_to_apply=b"none") == Request("a text", ClassifierParameters(3, "none"))
    assert form(TEXT, data=field, top_k=b"3").parameters.top_k == 3


def test_parameters_in_the_url_count_with_every_body():
    """TorchServe hands them over at /invocations."""
    for body, content_type in [(b"a text", ""), ("a text", "text/plain"), (b'{"inputs": "a text"}', JSON)]:
        fields = {"body": body, "top_k": b"2"}
        assert parse_request(RawRequest(fields, content_type), TEXT, ClassifierParameters).parameters.top_k == 2
        with pytest.raises(WrongValue, match="no parameter 'topk'"):
            parse_request(RawRequest({"body": body, "topk": b"2"}, content_type), TEXT, ClassifierParameters)


def test_an_empty_body_gives_way_to_an_input_in_the_url():
    fields = {"body": b"", "data": b"a text"}
    assert parse_request(RawRequest(fields), TEXT, ClassifierParameters).payload == b"a text"


@pytest.mark.parametrize(("body", "content_type"), [(b"", ""), (bytearray(), JSON), ("", "text/plain"), (b"", "image/png")])
def test_an_empty_body_is_refused_with_where_the_input_belongs(body, content_type):
    with pytest.raises(Unreadable, match=r"the body is empty; send .*; an input in the URL is not read"):
        given(body, content_type, PICTURE if "image" in content_type else TEXT)


def test_a_field_that_came_twice_is_refused_by_name():
    with pytest.raises(WrongValue, match="'data' more than once; send one input a request, each parameter once"):
        parse_request(RawRequest({"data": BYTES}, FORM, repeated=("data",)), PICTURE, ClassifierParameters)


@pytest.mark.parametrize("parameters", [{"top_k": None}, {"top_k": None, "function_to_apply": None}])
def test_null_is_no_limit_and_the_usual_function(parameters):
    found = options(parameters).parameters
    assert found.top_k is None and found.function_to_apply in (None, "softmax")


# --- bodies that are wrong: what is wrong, and what to do


@pytest.mark.parametrize(
    ("fields", "content_type", "accepts", "error", "message"),
    [
        (
            {},
            "application/x-www-form-urlencoded",
            TEXT,
            WrongKind,
            "curl's default for -d, does not reach the model; send UTF-8: curl",
        ),
        ({}, "application/x-www-form-urlencoded", PICTURE, WrongKind, "send the bytes of a JPEG, PNG or WebP file: curl -T"),
        ({}, "", PICTURE, Unreadable, "the body is empty; send the bytes of a JPEG"),
        ({}, JSON, TEXT, Unreadable, "the body is empty; send UTF-8"),
        ({"body": b"--x\r\n"}, "multipart/form-data", TEXT, WrongKind, "multipart/form-data without a boundary"),
        ({"body": b"--x\r\n"}, "multipart/mixed; boundary=x", TEXT, WrongKind, "or not multipart/form-data, is not taken apart"),
        ({"file": BYTES}, FORM, PICTURE, WrongValue, "the form has the fields 'file'; put the input into 'data'"),
        ({"data": BYTES, "inputs": BYTES}, FORM, PICTURE, WrongValue, "both 'data' and 'inputs'; send one input a request"),
        ({"data": "text"}, FORM, PICTURE, WrongKind, "text was sent; this model takes a picture: send the bytes of a JPEG"),
        ({"data": {"a": 1}}, FORM, TEXT, WrongKind, "an object with the keys 'a' was sent; this model takes a text"),
        ({"body": "text"}, "text/plain", PICTURE, WrongKind, "text/plain was sent; this model takes a picture"),
        ({"body": BYTES}, "text/plain; charset=x", SOUND, WrongKind, "text/plain was sent; this model takes a sound"),
        ({"body": BYTES}, "image/png", TEXT, WrongKind, "image/png was sent; this model takes a text: send UTF-8"),
        ({"body": BYTES}, "audio/wav", PICTURE, WrongKind, "audio/wav was sent; this model takes a picture"),
        ({"body": BYTES}, "Image/PNG", SOUND, WrongKind, "image/png was sent; this model takes a sound"),
        ({"body": BYTES}, "image/png", SERIES, WrongKind, "image/png was sent; this model takes a series: send JSON"),
        ({"body": BYTES}, "", SERIES, Unreadable, "the body is not JSON ("),
        ({"body": "nonsense"}, "text/plain", SERIES, Unreadable, "the body is not JSON ("),
        ({"body": b'"inputs"'}, "", SERIES, WrongValue, "this one is text"),
        (
            {"body": b"[1, 2]"},
            JSON,
            SERIES,
            WrongValue,
            'a JSON body is {"inputs": ..., "parameters": {...}}; this one is a list',
        ),
        ({"data": b"[1, "}, FORM, SERIES, Unreadable, "the body is not JSON ("),
        ({"image": BYTES, "data": b"{}"}, FORM, CAPTIONED, WrongValue, "both 'data' and 'image'; send one input a request"),
        ({"picture": BYTES}, FORM, CAPTIONED, WrongValue, "has the fields 'picture'; put the input into 'image' and 'text'"),
    ],
)
def test_a_wrong_body_is_refused_with_what_to_do(fields, content_type, accepts, error, message):
    with pytest.raises(InputError) as caught:
        parse_request(RawRequest(fields, content_type), accepts, ClassifierParameters)
    assert type(caught.value) is error
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (
            bytearray(b'{"inputs": '),
            Unreadable,
            'the body is not JSON (Expecting value: line 1 column 12 (char 11)); send {"inputs"',
        ),
        (bytearray(b""), Unreadable, "the body is empty"),
        (bytearray(b'{"inputs": "a", "inputs": "b"}'), WrongValue, "the JSON has the key 'inputs' twice"),
        (bytearray(b'{"inputs": "\xff"}'), Unreadable, "the body is not JSON"),
        (bytearray(b"[" * 200_000), Unreadable, "the body is not JSON"),
        (bytearray(b'{"inputs": ' + b"9" * 5_000 + b"}"), Unreadable, "the body is not JSON"),
        (None, WrongValue, "this one is null"),
        ("a text", WrongValue, 'a JSON body is {"inputs": ..., "parameters": {...}}; this one is text'),
        ([{"inputs": "a"}], WrongValue, "this one is a list"),
        (3, WrongValue, "this one is a number"),
        (True, WrongValue, "this one is a boolean"),
        ({}, WrongValue, "this one is an empty object"),
        ({"parameters": {}}, WrongValue, "this one is an object with the keys 'parameters'"),
        ({"input": "a text"}, WrongValue, "a JSON body has no key 'input'; did you mean 'inputs'?"),
        ({"inputs": "a text", "parameter": {}}, WrongValue, "a JSON body has no key 'parameter'; did you mean 'parameters'?"),
        ({"instances": ["a"]}, WrongValue, "a JSON body has no key 'instances'; "),
        ({"inputs": "a text", "\ud800": 1}, WrongValue, "a JSON body has no key '\\ud800'"),
        ({"inputs": ["a", "b"]}, SeveralInputs, "'inputs' is a list; this model takes a text, as text, one a request"),
        ({"inputs": None}, WrongValue, "'inputs' is null"),
        ({"inputs": {"text": "a"}}, WrongValue, "'inputs' is an object with the keys 'text'"),
    ],
)
def test_a_wrong_json_body_is_refused_with_what_to_do(body, error, message):
    with pytest.raises(InputError) as caught:
        given(body, JSON, TEXT)
    assert type(caught.value) is error
    assert message in str(caught.value)


@pytest.mark.parametrize("inputs", ["a text", "YQ", "YQ===", "Y Q=ä", "\ud800", "https://example.org/picture.png", "-_-_"])
def test_what_is_not_base64_is_unreadable_for_a_picture_model(inputs):
    with pytest.raises(Unreadable, match=r"'inputs' is not base64 .*; send the file's bytes in base64"):
        given({"inputs": inputs}, JSON)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"top_k": -1}, "Expected `int` >= 1 - at `$.top_k`"),
        ({"top_k": 0}, "Expected `int` >= 1 - at `$.top_k`"),
        ({"top_k": 1001}, "Expected `int` <= 1000 - at `$.top_k`"),
        ({"top_k": 10**30}, "`$.top_k`"),
        ({"top_k": 1e9}, "Expected `int | null`, got `float` - at `$.top_k`"),
        ({"top_k": float("nan")}, "Expected `int | null`, got `float` - at `$.top_k`"),
        ({"top_k": "x"}, "Expected `int | null`, got `str` - at `$.top_k`"),
        ({"top_k": "3"}, "Expected `int | null`, got `str` - at `$.top_k`"),
        ({"top_k": True}, "Expected `int | null`, got `bool` - at `$.top_k`"),
        ({"top_k": [[[]]]}, "Expected `int | null`, got `array` - at `$.top_k`"),
        ({"function_to_apply": "sofmax"}, "at `$.function_to_apply`; it is one of 'none', 'sigmoid', 'softmax'"),
        ({"function_to_apply": "\ud800"}, "half of a surrogate pair"),
        ({"topk": 3}, "no parameter 'topk'; did you mean 'top_k'?"),
        ({"temperature": 3}, "no parameter 'temperature'; "),
        ({"return_all_scores": True}, "no parameter 'return_all_scores'; send top_k: null, which gives all labels"),
        ({"\ud800": 3}, "no parameter '\\ud800'"),
        ([], "'parameters' is a list; send an object with top_k, function_to_apply"),
        ("", "'parameters' is text"),
        (0, "'parameters' is a number"),
        (False, "'parameters' is a boolean"),
    ],
)
def test_wrong_parameters_are_refused_by_name(parameters, message):
    with pytest.raises(WrongValue) as caught:
        options(parameters)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"top_k": b"0"}, WrongValue, ">= 1 - at `$.top_k`"),
        ({"top_k": b"x"}, WrongValue, "`$.top_k`"),
        ({"top_k": b"1e9"}, WrongValue, "`$.top_k`"),
        ({"top_k": b"true"}, WrongValue, "`$.top_k`"),
        ({"top_k": b"NaN"}, WrongValue, "`$.top_k`"),
        ({"topk": b"3"}, WrongValue, "did you mean 'top_k'?"),
        ({"top_k": b"\xff"}, Unreadable, "the form's parameters cannot be read"),
        ({"parameters": b"{"}, Unreadable, "the form's parameters cannot be read"),
        ({"parameters": b"[" * 200_000}, Unreadable, "the form's parameters cannot be read"),
        ({"parameters": b"[3]"}, WrongValue, "'parameters' is a list; send an object with top_k"),
        ({"parameters": b"3", "top_k": b"3"}, WrongValue, "'parameters' is a number"),
        ({"parameters": None}, WrongValue, "'parameters' is null"),
    ],
)
def test_wrong_parameters_of_a_form_are_refused(fields, error, message):
    with pytest.raises(InputError) as caught:
        form(data=BYTES, **fields)
    assert type(caught.value) is error
    assert message in str(caught.value)


def test_deep_json_that_the_engine_parsed_is_refused():
    deep = []
    for _ in range(50_000):
        deep = [deep]
    with pytest.raises(WrongValue, match="'inputs' is a list"):
        given({"inputs": deep}, JSON, TEXT)
    with pytest.raises(WrongValue, match=r"Expected `int \| null`, got `array`"):
        options({"top_k": deep})


def test_a_model_without_parameters_takes_none():
    class Nothing(msgspec.Struct, forbid_unknown_fields=True):
        pass

    assert parse_request(RawRequest({"body": BYTES}), PICTURE, Nothing).parameters == Nothing()
    with pytest.raises(WrongValue, match="no parameter 'top_k'"):
        parse_request(RawRequest({"body": {"inputs": BASE64, "parameters": {"top_k": 3}}}, JSON), PICTURE, Nothing)


def test_the_body_of_huggingface_hub_is_parsed():
    """The body of huggingface_hub's `InferenceClient.image_classification(picture, top_k=3)`."""
    sent = json.dumps({"inputs": BASE64, "parameters": {"top_k": 3, "function_to_apply": "sigmoid"}}).encode()
    assert given(bytearray(sent), JSON) == Request(BYTES, ClassifierParameters(3, "sigmoid"), explain=False)


# --- the table


class TorchOutOfMemory(RuntimeError):
    pass


TorchOutOfMemory.__name__ = "OutOfMemoryError"  # torch.cuda.OutOfMemoryError, where there is no GPU


@pytest.mark.parametrize(
    ("error", "code"),
    [(Unreadable("x"), 400), (TooLarge("x"), 413), (WrongKind("x"), 415), (WrongValue("x"), 422), (InputError("x"), 400),
     (MemoryError(), 507), (TorchOutOfMemory(), 507), (DeadlineExceeded("x"), 504),
     (ValueError("x"), 500), (RuntimeError("x"), 500), (KeyError("x"), 500)],
)  # fmt: skip
def test_each_failure_has_its_status(error, code):
    assert refuse(error).code == code


def test_a_client_errors_reason_is_shown_and_a_server_errors_is_not():
    assert refuse(Unreadable("not a picture")).message == "not a picture"
    assert refuse(Unreadable("not a picture")).cause is None
    fault = RuntimeError("mat1 and mat2 shapes cannot be multiplied in /srv/secret.py")
    assert refuse(fault).message == "the model failed on this request"
    assert refuse(fault).cause is fault
