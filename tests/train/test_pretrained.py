"""train/pretrained.py: a network from a folder of Hugging Face's is fine-tuned; nothing of it is unpickled."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from model_defs.artifact import Artifact
from model_defs.build import SpecError
from train.__main__ import train
from train.data.bpe import train_tokenizer

tokenizers = pytest.importorskip("tokenizers", reason="make setup EXTRAS=transformers")
transformers = pytest.importorskip("transformers", reason="make setup EXTRAS=transformers")
SIZES = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16, "max_position_embeddings": 64}
SHORT = ["--trainer.max_epochs=1", "--model.transform.max_tokens=32"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A DistilBERT as people publish them: without a classification head."""
    folder = tmp_path_factory.mktemp("distilbert")
    corpus = Path("train/data/intents/train.csv").read_text(encoding="utf-8").splitlines()
    made = tokenizers.Tokenizer.from_str(train_tokenizer(corpus, 500))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    transformers.DistilBertModel(transformers.DistilBertConfig(**SIZES, vocab_size=500)).save_pretrained(folder)
    return folder


def tuned(source: Path | str, tmp_path: Path, *overrides: str) -> Artifact:
    usual = [f"--model.pretrained={source}", "--data=train.data.text.Intents", *SHORT]
    given = dict(override.split("=", 1) for override in (*usual, *overrides))
    options = [f"{key}={value}" for key, value in given.items()]
    return train("text_transfer", options, tmp_path / "artifacts", tmp_path / "runs")


def test_training_begins_with_the_folder_s_network_tokenizer_and_weights(folder, tmp_path):
    artifact = tuned(folder, tmp_path, "--model.learning_rate=1e-12", "--model.weight_decay=0")
    given = safetensors.torch.load_file(folder / "model.safetensors")
    written = safetensors.torch.load_file(artifact.folder / "weights.safetensors")
    assert len(given) > 10
    assert all(torch.allclose(written[f"network.distilbert.{name}"], value, atol=1e-6) for name, value in given.items())
    assert artifact.network["init_args"]["config"]["model_type"] == "distilbert" and len(artifact.labels) == 10
    assert artifact.build_transform().tokenizer.get_vocab_size() == 500
    assert str(folder) not in (artifact.folder / "model.json").read_text()  # it must be served without the folder
    assert {"transformers", "tokenizers"} <= {*artifact.versions}


@pytest.fixture
def emotions(folder, tmp_path) -> Path:
    """The same network after somebody fine-tuned it: its head has the labels joy, anger, fear, in this order."""
    tuned = shutil.copytree(folder, tmp_path / "emotions")
    names = {"id2label": {0: "joy", 1: "anger", 2: "fear"}, "label2id": {"joy": 0, "anger": 1, "fear": 2}}
    torch.manual_seed(2)
    config = transformers.DistilBertConfig(**SIZES, vocab_size=500, **names)
    network = transformers.DistilBertForSequenceClassification(config)
    torch.nn.init.normal_(network.classifier.bias)
    network.save_pretrained(tuned)
    return tuned


def texts(tmp_path: Path, *labels: str) -> str:
    """A CSV file with some texts of each label."""
    rows = [f"{label},some words of {label} {index}" for index in range(8) for label in labels]
    (tmp_path / "texts.csv").write_text("\n".join(["label,text", *rows]))
    return str(tmp_path / "texts.csv")


STILL = ["--model.learning_rate=1e-12", "--model.weight_decay=0"]  # so that the weights stay what they were


@pytest.mark.parametrize(
    ("labels", "rows", "said"),
    [
        (("anger", "fear", "joy"), [1, 2, 0], "those of anger, fear, joy are kept"),
        (("anger", "grief", "joy"), [1, None, 0], "those of anger, joy are kept; those of grief are new"),
        (("grief", "pride"), [None, None], "new are network.classifier.weight, network.classifier.bias"),
    ],
)
def test_a_fine_tuned_head_keeps_the_rows_of_its_labels(labels, rows, said, emotions, tmp_path, capsys):
    given = safetensors.torch.load_file(emotions / "model.safetensors")
    artifact = tuned(emotions, tmp_path, *STILL, f"--data.root={texts(tmp_path, *labels)}", "--data=train.data.text.TextCSV")
    written = safetensors.torch.load_file(artifact.folder / "weights.safetensors")
    assert artifact.labels == sorted(labels) and said in capsys.readouterr().out
    for name in ("classifier.weight", "classifier.bias"):
        for own, row in zip(written[f"network.{name}"], rows, strict=True):
            matches = [torch.allclose(own, other, atol=1e-6) for other in given[name]]
            assert matches == [row == index for index in range(3)]
    assert torch.allclose(written["network.pre_classifier.weight"], given["pre_classifier.weight"], atol=1e-6)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (2, r"16 tensors are missing, the first is distilbert\.transformer\.layer\.1\.attention\.k_lin\.bias"),
        (0, r"16 tensors are left over, the first is transformer\.layer\.0\.attention\.k_lin\.bias"),
    ],
)
def test_weights_of_another_depth_than_the_config_says_are_refused(layers, said, folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"n_layers": layers}))
    with pytest.raises(SpecError, match=rf"model\.safetensors is not of the network in config\.json: {said}"):
        tuned(other, tmp_path)


def test_a_folder_of_pickles_is_refused(folder, tmp_path):
    pickled = tmp_path / "pickled"
    shutil.copytree(folder, pickled)
    torch.save(safetensors.torch.load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    with pytest.raises(SpecError, match=r"cannot be fine-tuned: .*model\.safetensors"):
        tuned(pickled, tmp_path)


def test_a_folder_that_holds_no_model_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpecError, match="empty cannot be fine-tuned"):
        tuned(tmp_path / "empty", tmp_path)


def test_a_name_that_cannot_be_fetched_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SpecError, match="no folder nobody/nothing, and not to be had from the Hub"):
        tuned("nobody/nothing", tmp_path)


def test_a_config_in_addition_to_a_folder_is_an_error(folder, tmp_path):
    with pytest.raises(SpecError, match="leave the network's config out"):
        tuned(folder, tmp_path, '--model.network.config={"model_type": "bert"}')


def test_without_the_extra_training_says_what_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(SpecError, match="needs tokenizers, which is not installed: make setup EXTRAS=transformers"):
        train("intents_transformer", SHORT, tmp_path / "artifacts", tmp_path / "runs")


def test_more_tokens_than_the_network_has_positions_are_an_error(folder, tmp_path):
    with pytest.raises(SpecError, match="the network has not as many positions as max_tokens, 65: give fewer"):
        tuned(folder, tmp_path, "--model.transform.max_tokens=65")
    assert tuned(folder, tmp_path, "--model.transform.max_tokens=64").metrics
