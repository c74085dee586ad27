"""cluster/settings.py: what cluster.yaml may hold."""

from pathlib import Path

import msgspec
import pytest

from cluster.settings import FILE, Kubernetes, Settings, read
from model_defs.yaml_keys import RepeatedKey
from serving.errors import ServerError


def test_the_file_of_the_project_has_the_defaults():
    assert read() == Settings()


@pytest.mark.parametrize("struct", [Settings, Kubernetes])
def test_every_key_is_in_the_file_and_in_the_docs(struct):
    for field in msgspec.structs.fields(struct):
        assert f"{field.name}:" in FILE.read_text()
        assert f"`{field.name}`" in Path("docs/cluster.md").read_text()


def test_a_key_is_changed_for_one_command():
    assert read(overrides=["port=8100", "gpu_share=0.25"]).port == 8100


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot: 1", "prot"),
        ("port: 70000", "port"),
        ("gpu_share: 2", "gpu_share"),
        ("port: [", "YAML"),
        ("kubernetes: {x: 1}", "x"),
        ("[1, 2]", "no keys and values"),
    ],
)
def test_a_wrong_file_is_refused_with_the_key(tmp_path, text, said):
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    with pytest.raises(ServerError, match=said):
        read(file)


def test_a_key_that_stands_there_twice_is_refused(tmp_path):
    file = tmp_path / "cluster.yaml"
    file.write_text("port: 8000\ngpu_share: 0\nport: 9000\n")
    with pytest.raises(RepeatedKey, match=r"cluster\.yaml:3: 'port' stands on line 1 already"):
        read(file)


def test_a_missing_file_says_how_to_name_another(tmp_path):
    with pytest.raises(ServerError, match="--config FILE"):
        read(tmp_path / "none.yaml")
