"""Which names a model may have: each allowed one works at every address; those that TorchServe stumbles over are refused."""

import pytest
import requests

from model_defs.bundle_format import SHARED_RECIPE, fault_of_name
from serving.client import Client
from serving.errors import ServerError, UnsafeArchive
from serving.registry import Registry
from serving.verify import verify
from tests.serving.conftest import archive

# Words of the routes of TorchServe, of the front door and of the monitor, of files and of Python.
WORDS = """
    ping models predictions explanations invocations workflows metrics v1 v2 all predict explain ready health versions infer
    invoke set_default describe errors logs class null Token my_tokens
"""


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("name", [*WORDS.split(), "a" * 63])
def test_a_model_named_like_a_part_of_a_route_is_served(name, home, lent_store, tmp_path):
    assert fault_of_name(name) is None
    archive(tmp_path, lent_store, name)
    registry, client = Registry(home), Client.of(home)
    registry.host(name, "1.0")
    try:
        assert registry.default_version(name) == "1.0" and registry.scale(name, 1) == "1.0"
        registry.prove(name, "1.0")
        assert client.predict(name, b"x", "text/plain").status_code == 200
        assert client.predict(name, b"x", "text/plain", api="v1").status_code == 200
        explained = client.predict(name, b"x", "text/plain", api="explanations")
        assert explained.status_code == 200, explained.text
        url = f"{client.server.inference}/invocations?model_name={name}"
        assert requests.post(url, b"x", headers=client.token("inference") | {"Content-Type": "text/plain"}, timeout=30).ok
    finally:
        registry.drop(name, "1.0")
    assert name not in client.names()


@pytest.mark.server
@pytest.mark.parametrize("name", ["token", "tokens", "token_classifier"])
def test_a_name_that_torchserve_takes_for_a_request_about_its_tokens_is_refused(name, home):
    assert f"begins with 'token'; take another, such as my_{name}" in fault_of_name(name)
    with pytest.raises(ServerError, match="Token"):  # why: any other name gets a 404
        Client.of(home).describe(name)


def test_an_archive_of_such_a_name_is_not_hosted(tmp_path):
    made = archive(tmp_path, tmp_path / "store", "tokens")
    with pytest.raises(
        UnsafeArchive, match=r"tokens-1\.0\.mar: 'tokens': TorchServe cannot manage .* and build the archive again"
    ):
        verify(made)


@pytest.mark.parametrize(
    "name", ["../flowers", "flo wers", "flo-wers", "1flowers", ".flowers", "flowers\n", "x.explain", "a" * 64, ""]
)
def test_a_name_that_fits_into_no_file_url_or_variable_is_refused(name):
    assert "a letter, then letters, digits and underscores" in fault_of_name(name)


def test_the_name_of_the_shared_recipe_is_refused():
    assert "default.yaml holds what all recipes share; take another name, such as my_default" in fault_of_name(SHARED_RECIPE)
