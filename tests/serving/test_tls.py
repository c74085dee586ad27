"""serving/tls.py: a user's certificate and key on all five addresses of a real server; and those that TorchServe cannot use."""

import json
import ssl
import subprocess
import sys
from urllib.parse import urlsplit

import grpc
import pytest
import requests

from serving import config, server
from serving.client import Client
from serving.errors import ServerError
from serving.state import StateDir
from tests import rpc
from tests.bundle import settings_for
from tests.certificates import needs_openssl, openssl, self_signed

pytestmark = [pytest.mark.server, needs_openssl]


@pytest.fixture(scope="module")
def own(echo_store, tmp_path_factory):
    """A server with a self-signed certificate."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = self_signed(folder)
    home = StateDir(folder / ".torchserve")
    settings = [f"certificate_file={certificate}", f"private_key_file={key}"]
    server.start(home, overrides=[*settings_for(echo_store), *settings])
    try:
        Client.of(home).register("echo", "1.0", home.workers_log)
        yield home, certificate
    finally:
        server.stop(home, draining=0)


def test_all_three_addresses_speak_tls_and_the_client_trusts_this_certificate(own):
    home, certificate = own
    running, client = home.require(), Client.of(home)
    assert client.predict("echo", b"hello").json() == [{"label": "hello", "score": 0.5}]
    assert "ts_inference_requests_total" in client.metrics()
    for address in (running.inference, running.management, running.metrics):
        url = urlsplit(address)
        assert url.scheme == "https"
        assert ssl.get_server_certificate((url.hostname, url.port)) == certificate.read_text()
        plain = requests.get(address.replace("https:", "http:"), timeout=20)
        assert "only accepts HTTPS requests" in plain.text and "echo" not in plain.text


def test_grpc_speaks_tls(own):
    home, certificate = own
    settings = (home.folder / "config.properties").read_text().splitlines()
    port = int(next(line for line in settings if line.startswith("grpc_inference_port=")).partition("=")[2])
    token, message = home.keys()["inference"], rpc.prediction("echo", b"hello")
    answer = rpc.call(port, rpc.INFERENCE + "Predictions", message, token, certificate.read_bytes())
    assert b"hello" in answer
    with pytest.raises(grpc.RpcError):
        rpc.call(port, rpc.INFERENCE + "Predictions", message, token)


def test_the_client_does_not_send_its_token_to_another_certificate(own, tmp_path):
    home, _ = own
    running = home.require()
    running.certificate = str(self_signed(tmp_path)[0])
    with pytest.raises(ServerError, match="cannot be reached"):
        Client(running, home.keys(), retrying=0).predict("echo", b"hello")


def test_the_printed_curl_line_trusts_the_certificate(own):
    home, _ = own
    command = [sys.executable, "-m", "serving", "predict", "--home", home.folder, "echo", "what a day"]
    line, answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    assert "--cacert" in line and "https://" in line
    pasted = subprocess.run(line.removeprefix("$ ") + " -sS", shell=True, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(pasted.stdout) == json.loads(answer) == [{"label": "what a day", "score": 0.5}]


def settled(certificate: object, key: object) -> dict[str, str]:
    return config.read(config.FILE, [f"certificate_file={certificate}", f"private_key_file={key}"])


def test_what_torchserve_cannot_use_is_one_line_before_the_start(tmp_path):
    certificate, key = self_signed(tmp_path)
    curve = self_signed(tmp_path, "ec", stem="curve")
    other = self_signed(tmp_path, stem="other")
    old, locked = tmp_path / "old.key", tmp_path / "locked.key"
    openssl("rsa", "-in", key, "-traditional", "-out", old)
    openssl("pkcs8", "-topk8", "-in", key, "-passout", "pass:secret", "-out", locked)
    assert settled(certificate, key)["inference_address"].startswith("https://")
    for given, said in {
        (certificate, tmp_path / "nothing.key"): "private_key_file=.*nothing.key: No such file",
        (tmp_path / "nothing.pem", key): "certificate_file=.*nothing.pem: No such file",
        (tmp_path, key): "certificate_file=.*: Is a directory",
        (key, key): "holds no certificate",
        curve: "curve.key is not an RSA key in PKCS #8",
        (certificate, old): "openssl pkcs8 -topk8 -nocrypt -in KEY -out NEW makes one",
        (certificate, locked): "is not an RSA key in PKCS #8 without a password",
        (certificate, other[1]): "are no pair that can be used: KEY_VALUES_MISMATCH",
        (certificate, ""): "certificate_file stands alone",
        ("", key): "private_key_file stands alone",
    }.items():
        with pytest.raises(ServerError, match=said) as error:
            settled(*given)
        assert "\n" not in str(error.value)


def test_https_without_a_certificate_says_what_is_missing():
    with pytest.raises(ServerError, match="metrics_address is https; name the certificate and its key"):
        config.read(config.FILE, ["metrics_address=https://127.0.0.1:8082"])
