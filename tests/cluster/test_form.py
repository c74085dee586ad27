"""cluster/node/form.py: HTTP bodies as fields."""

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from cluster.node.form import MalformedForm, fields_of


def form(**sent) -> tuple[bytes, str]:
    """A multipart body, and its Content-Type, as `requests` writes them."""
    prepared = requests.Request("POST", "http://localhost/", **sent).prepare()
    return prepared.body, prepared.headers["Content-Type"]


@pytest.mark.parametrize("content_type", ["", "application/json", "image/png", "text/plain; charset=utf-8", "multipart/mixed"])
def test_a_body_that_is_no_form_is_one_field(content_type):
    assert fields_of(b"some bytes", content_type) == ({"body": b"some bytes"}, ())


@pytest.mark.parametrize(("body", "content_type"), [(b"", "image/png"), (b"a=b", "application/x-www-form-urlencoded")])
def test_an_empty_body_and_one_that_is_form_encoded_have_no_field(body, content_type):
    assert fields_of(body, content_type) == ({}, ())


@given(content=st.binary(max_size=200))
def test_the_bytes_of_a_file_arrive_as_they_were_sent(content):
    body, content_type = form(files={"data": ("a file.png", content)}, data={"top_k": "2"})
    assert fields_of(body, content_type) == ({"top_k": b"2", "data": content}, ())


@pytest.mark.parametrize("content", [b"\r\n", b"\r\n\r\n", b"--x", b"\r\n--", b"a\n\rb\x00"])
def test_line_breaks_at_the_edges_of_a_file_are_a_part_of_it(content):
    body, content_type = form(files={"data": ("x", content)})
    assert fields_of(body, content_type)[0] == {"data": content}


def test_a_name_that_comes_twice_is_reported():
    body, content_type = form(files=[("data", ("a", b"1")), ("data", ("b", b"2")), ("top_k", (None, b"3"))])
    fields, repeated = fields_of(body, content_type)
    assert repeated == ("data",) and fields == {"data": [b"1", b"2"], "top_k": b"3"}


def test_a_boundary_in_quotes_is_read():
    body = b'--a b\r\nContent-Disposition: form-data; name="data"\r\n\r\nx\r\n--a b--\r\n'
    assert fields_of(body, 'multipart/form-data; boundary="a b"') == ({"data": b"x"}, ())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary at all",
        b'--x\r\nContent-Disposition: form-data; name="data"\r\n\r\ncut off',
        b"--x\r\nContent-Disposition: form-data\r\n\r\nno name\r\n--x--",
        b"--x\r\n\r\nno headers\r\n--x--",
    ],
)
def test_a_form_that_cannot_be_taken_apart_is_refused_with_a_reason(body):
    with pytest.raises(MalformedForm, match="form"):
        fields_of(body, "multipart/form-data; boundary=x")
