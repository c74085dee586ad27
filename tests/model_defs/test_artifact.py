import json
import pickletools
import zipfile

import pytest
import safetensors.torch
import torch
from torch import nn

from model_defs.artifact import Artifact, ArtifactError, Sample, check_replaceable, versions, write_samples, write_test_set
from model_defs.build import SpecError
from model_defs.text import BagOfWords, NgramTransform

SAMPLES = [
    (Sample("0.txt", truth="nice", answer=[{"label": "nice", "score": 0.75}]), "schön".encode()),
    (Sample("1.txt", truth="nasty", answer=[{"label": "nice", "score": 1 / 3}]), b"bad\r\n\x00"),
]


@pytest.fixture
def transform() -> NgramTransform:
    words = NgramTransform(ngrams=1)
    words.tokens = ["<unk>", "schön", "bad"]
    return words


@pytest.fixture
def network() -> BagOfWords:
    torch.manual_seed(0)
    return BagOfWords(num_classes=2, vocab_size=3, dim=4)


@pytest.fixture
def artifact(tmp_path) -> Artifact:
    return Artifact(
        name="mood",
        network={"class_path": "model_defs.text.BagOfWords", "init_args": {"num_classes": 2, "vocab_size": 3, "dim": 4}},
        transform={"class_path": "model_defs.text.NgramTransform", "init_args": {"ngrams": 1}},
        labels=["nice", "nasty ☹"],
        metrics={"accuracy": 0.875},
        data={"class_path": "train.data.text.Mood", "fingerprint": "abc", "train": 10},
        versions=versions(),
        folder=tmp_path / "artifacts" / "mood",
    )


def test_what_is_written_is_read_back(artifact, network, transform):
    artifact.write(network, transform)
    assert Artifact.read(artifact.folder) == artifact
    assert Artifact.read(str(artifact.folder)) == artifact


def test_the_network_comes_back_with_its_weights_in_evaluation_mode(artifact, network, transform):
    artifact.write(network.train(), transform)
    again = Artifact.read(artifact.folder).build_network()
    assert not again.training
    assert again.state_dict().keys() == network.state_dict().keys()
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"more": torch.zeros(1)}, "the network does not have more"),
        ({"head.1.bias": None}, r"it lacks head\.1\.bias"),
        ({"head.1.bias": torch.zeros(3)}, r"of another shape head\.1\.bias \(3,\), not \(2,\)"),
        ({f"layer{index}": torch.zeros(1) for index in range(5)}, "the network does not have layer0, layer1, layer2 and 2 more"),
    ],
)
def test_weights_of_another_network_are_refused_in_one_line(artifact, network, transform, changes, said):
    artifact.write(network, transform)
    file = artifact.folder / "weights.safetensors"
    state = safetensors.torch.load_file(file) | changes
    safetensors.torch.save_file({name: tensor for name, tensor in state.items() if tensor is not None}, file)
    with pytest.raises(
        ArtifactError, match=rf"weights\.safetensors of 'mood' does not fit model_defs\.text\.BagOfWords: {said}; train"
    ) as caught:
        artifact.build_network()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"no tensors"])
def test_weights_that_cannot_be_read_are_refused_in_one_line(artifact, network, transform, content):
    artifact.write(network, transform)
    file = artifact.folder / "weights.safetensors"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"weights\.safetensors of 'mood' cannot be read: .*; train the model again"):
        artifact.build_network()


def test_the_versions_are_of_what_the_model_uses(artifact):
    """Not of what else this process has imported."""
    import transformers  # noqa: F401

    assert "transformers" not in versions("model_defs.text.BagOfWords")
    assert {"transformers", "tokenizers"} <= versions("model_defs.transformer.TransformersClassifier").keys()


def test_the_transform_comes_back_with_what_it_learned(artifact, network, transform):
    artifact.write(network, transform)
    again = artifact.build_transform()
    assert again.ngrams == 1
    assert again("schön, schön").tolist() == [1, 1]


@pytest.mark.parametrize("build", [Artifact.build_network, Artifact.build_transform])
def test_an_artifact_of_an_older_bundle_says_what_to_do(artifact, network, transform, build):
    artifact.network["class_path"], artifact.transform["class_path"] = "model_defs.vision.Picture", "model_defs.text.Words"
    artifact.write(network, transform)
    with pytest.raises(SpecError, match=r"is now called .*: train the model again"):
        build(Artifact.read(artifact.folder))


def test_tied_and_transposed_weights_can_be_written(artifact, transform):
    tied = nn.Module()
    tied.one = nn.Linear(3, 3, bias=False)
    tied.other = nn.Linear(3, 3, bias=False)
    tied.other.weight = tied.one.weight
    tied.register_buffer("across", torch.arange(6.0).view(2, 3).t())
    artifact.write(tied, transform)
    state = safetensors.torch.load_file(artifact.folder / "weights.safetensors")
    assert torch.equal(state["one.weight"], state["other.weight"])
    assert torch.equal(state["across"], tied.across)


def test_model_json_is_readable_and_has_no_paths_of_this_machine(artifact, network, transform):
    artifact.write(network, transform)
    text = (artifact.folder / "model.json").read_text(encoding="utf-8")
    assert '\n  "name": "mood",\n' in text
    assert "nasty ☹" in text
    assert str(artifact.folder) not in text
    assert json.loads(text)["metrics"] == {"accuracy": 0.875}


def test_no_file_is_a_pickle(artifact, network, transform):
    artifact.write(network, transform)
    write_samples(artifact.folder / "samples", SAMPLES)
    files = [file for file in artifact.folder.rglob("*") if file.is_file()]
    assert {file.name for file in files} == {
        "model.json",
        "weights.safetensors",
        "vocabulary.txt",
        "expected.json",
        "0.txt",
        "1.txt",
    }
    for file in files:
        with pytest.raises(ValueError, match=r"."):
            list(pickletools.genops(file.read_bytes()))


@pytest.mark.parametrize("folder", [".", "nothing/here"])
def test_a_folder_without_an_artifact_is_an_error(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.json"):
        Artifact.read(tmp_path / folder)


@pytest.mark.parametrize("text", ['{"name": "mood"}', '{"name": 3}', "[]"])
def test_a_model_json_of_another_form_is_refused(text, tmp_path):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"model\.json: .*; train the model again"):
        Artifact.read(tmp_path)


def test_a_metric_that_is_nan_is_refused_before_anything_is_written(artifact, network, transform):
    artifact.metrics["f1"] = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        artifact.write(network, transform)
    assert not artifact.folder.exists()


def test_a_write_that_fails_leaves_no_old_model_json(artifact, network, transform):
    artifact.write(network, transform)
    transform.save = lambda folder: 1 / 0
    with pytest.raises(ZeroDivisionError):
        artifact.write(network, transform)
    with pytest.raises(FileNotFoundError):
        Artifact.read(artifact.folder)


def test_samples_come_back_with_their_bytes(artifact):
    write_samples(artifact.folder / "samples", SAMPLES)
    assert artifact.samples() == SAMPLES


def test_the_test_set_is_a_zip_laid_out_like_the_samples(tmp_path):
    write_samples(tmp_path / "samples", SAMPLES)
    write_test_set(tmp_path / "test.zip", SAMPLES)
    with zipfile.ZipFile(tmp_path / "test.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            file.name: file.read_bytes() for file in (tmp_path / "samples").iterdir()
        }


def test_versions_name_what_can_change_an_answer():
    assert {"python", "torch", "torchvision", "torchaudio", "pillow", "soundfile", "soxr"} <= versions().keys()
    assert versions()["torch"].split("+")[0] == torch.__version__.split("+")[0]


def test_only_an_artifact_may_be_replaced_and_not_what_the_new_one_is_made_of(artifact, network, transform, tmp_path):
    check_replaceable(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="holds no artifact"):
        check_replaceable(tmp_path / "file")
    artifact.write(network, transform)
    check_replaceable(artifact.folder, [artifact.folder.parent / "model.pth"])
    (artifact.folder.parent / "link").symlink_to(artifact.folder)
    with pytest.raises(ArtifactError, match=r"link/model\.pth lies in .*, which is replaced as a whole: move it elsewhere"):
        check_replaceable(artifact.folder, [artifact.folder.parent / "link" / "model.pth"])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("vocabulary.txt", None, r"^vocabulary\.txt of the artifact 'mood' is missing; train or import the model again"),
        ("vocabulary.txt", b"\xff", "has a damaged file"),
        ("samples/expected.json", None, r"^samples/expected\.json of the artifact"),
        ("samples/expected.json", b"[", "has a damaged file"),
        ("samples/1.txt", None, r"^samples/1\.txt of the artifact"),
        ("test.zip", b"PK", "has a damaged file"),
        ("calibration.zip", b"PK", "has a damaged file"),
    ],
)
def test_a_part_that_is_missing_or_damaged_is_one_line(artifact, network, transform, name, content, said):
    artifact.write(network, transform)
    write_samples(artifact.folder / "samples", SAMPLES)
    read = {"vocabulary.txt": artifact.build_transform, "test.zip": artifact.test_set, "calibration.zip": artifact.calibration}
    (artifact.folder / name).write_bytes(content) if content else (artifact.folder / name).unlink()
    if name == "calibration.zip":
        with pytest.raises(ArtifactError, match=said):
            artifact.backgrounds()
    with pytest.raises(ArtifactError, match=said):
        read.get(name, artifact.samples)()
