"""model_defs/yaml_keys.py: where the keys of a YAML file stand, and that none stands there twice."""

import pytest
import yaml

from model_defs.yaml_keys import RepeatedKey, check_keys, lines_of


def test_each_key_has_its_line(tmp_path):
    text = "a: 1\nb:\n  c: 2\n  d: [{e: 3},\n    {e: 4}]\n"
    assert lines_of(yaml.compose(text), tmp_path) == {
        **{"$": 1, "$.a": 1, "$.b": 2, "$.b.c": 3, "$.b.d": 4},
        **{"$.b.d[0]": 4, "$.b.d[0].e": 4, "$.b.d[1]": 5, "$.b.d[1].e": 5},
    }


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3", "b: {a: 1,\n c: 2,\n a: 3}", "b: [{a: 1,\n c: 2,\n a: 3}]"])
def test_a_key_that_stands_there_twice_is_refused_with_both_lines(text, tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(RepeatedKey, match=r"x\.yaml:3: 'a' stands on line 1 already"):
        check_keys(file)


@pytest.mark.parametrize("content", [b"", b"a: [", b"\xff"])
def test_what_is_no_yaml_is_left_to_its_reader(content, tmp_path):
    (tmp_path / "x.yaml").write_bytes(content)
    check_keys(tmp_path / "x.yaml")
