"""model_defs/transformer.py: the tokenizer, the networks, and the error without the extra."""

import sys

import pytest
import torch

from model_defs.artifact import Artifact
from model_defs.build import SpecError
from model_defs.errors import TooLarge, Unreadable, WrongValue
from model_defs.transform import Transform
from model_defs.transformer import SubwordTransform, TransformersClassifier, extra

CONFIG = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 64,
}


@pytest.fixture
def pieces(transformer_artifact) -> SubwordTransform:
    return Artifact.read(transformer_artifact).build_transform()


def test_a_text_becomes_token_ids_between_the_special_tokens(pieces):
    numbers = pieces("A round thing").tolist()
    assert [pieces.tokenizer.id_to_token(number) for number in numbers] == ["[CLS]", "Ġa", "Ġround", "Ġthing", "[SEP]"]
    assert pieces("a ROUND thing").tolist() == numbers


def test_a_text_that_training_never_saw_is_not_refused(pieces):
    assert len(pieces("東京")) > 2


@pytest.mark.parametrize(
    ("payload", "error", "said"),
    [
        (b"", WrongValue, "the text is empty; send at least one word"),
        (b" \n", WrongValue, "the text is empty"),
        (b"caf\xe9", Unreadable, "not UTF-8 text: byte 3"),
        ("a" * 101, TooLarge, "101 characters; this model takes 100 at most"),
    ],
)
def test_bytes_that_are_not_a_text_are_refused_with_the_reason(pieces, payload, error, said):
    pieces.max_chars = 100
    with pytest.raises(error, match=said):
        pieces(payload)


def test_only_the_beginning_of_a_long_text_is_read(pieces):
    numbers = pieces("round " * 1_000)
    assert len(numbers) == pieces.max_tokens == 64 and numbers[-1] == pieces.tokenizer.token_to_id("[SEP]")


def test_a_batch_is_padded_and_has_an_attention_mask(pieces):
    numbers, mask = pieces.collate([torch.tensor([2, 9, 3]), torch.tensor([2, 3])])
    assert numbers.tolist() == [[2, 9, 3], [2, 3, 0]] and mask.tolist() == [[1, 1, 1], [1, 1, 0]]


def test_an_explanation_may_leave_out_every_word(pieces):
    assert pieces.words("a  round\nthing") == ["a", "round", "thing"]
    assert pieces.encode_words(["a", "thing"]).tolist() == pieces("a thing").tolist()
    assert len(pieces.encode_words([])) == 2


def test_a_tokenizer_comes_back_as_it_was(pieces, tmp_path):
    pieces.save(tmp_path)
    again = SubwordTransform(max_tokens=64)
    again.load(tmp_path)
    assert again.written == pieces.written and again.facts() == {"vocab_size": pieces.tokenizer.get_vocab_size(), "pad": 0}


def test_a_texts_logits_do_not_depend_on_padding_or_buckets(pieces, transformer_artifact):
    network = Artifact.read(transformer_artifact).build_network()
    samples = [pieces(text) for text in ("round", "a thing with corners " * 20, "five", "a round thing " * 11)]
    with torch.inference_mode():
        alone = torch.cat([network(*pieces.collate([sample])) for sample in samples])
        for outputs in (Transform.outputs, SubwordTransform.outputs):
            together = torch.stack(outputs(pieces, lambda inputs: network(*inputs), samples))
            assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("model_type", ["bert", "distilbert", "roberta", "electra"])
def test_any_network_that_classifies_sequences_can_be_named(model_type):
    pytest.importorskip("transformers", reason="make setup EXTRAS=transformers")
    sizes = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16} if model_type == "distilbert" else CONFIG
    network = TransformersClassifier(7, vocab_size=50, config=sizes | {"model_type": model_type, "id2label": {"0": "x"}}).eval()
    assert network(torch.ones(2, 5, dtype=torch.int64), torch.ones(2, 5, dtype=torch.int64)).shape == (2, 7)


@pytest.mark.parametrize(
    ("config", "said"),
    [({"model_type": "bart2"}, "no transformer can be made of config"), ({"hidden_size": 16}, "for_model"),
     (CONFIG | {"num_attention_heads": 3}, "not a multiple of the number of attention")],
)  # fmt: skip
def test_a_config_without_a_valid_network_is_an_error(config, said):
    pytest.importorskip("transformers", reason="make setup EXTRAS=transformers")
    with pytest.raises(SpecError, match=said):
        TransformersClassifier(3, vocab_size=50, config=config)


@pytest.mark.parametrize("package", ["tokenizers", "transformers"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)  # Python takes it for a missing module
    with pytest.raises(SpecError, match=f"needs {package}, which is not installed: make setup EXTRAS=transformers"):
        extra(package)
