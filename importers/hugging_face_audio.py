"""A Hugging Face folder that classifies sounds."""

import io

import soundfile
from torch import Tensor, nn

from importers.found import Found, Question
from importers.hugging_face_folder import Folder, quiet, with_labels
from model_defs.build import build


def read(question: Question, folder: Folder, network: nn.Module, lines: list[str], names: list[str]) -> Found:
    path = "model_defs.transformers_audio.ProcessedAudioTransform"
    with quiet(folder.path) as transformers:
        extractor = transformers.AutoFeatureExtractor.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
        rate = int(extractor.sampling_rate)
    transform = {"class_path": path, "init_args": {"sample_rate": rate}}
    reads = build(transform)
    reads.extractor = extractor
    lines.append(f"sounds: {type(extractor).__name__} of the folder; mono, {rate:,} Hz, whole, {reads.max_seconds:g} s at most")
    spec = {
        "class_path": "model_defs.transformers_audio.TransformersAudioClassifier",
        "init_args": {"num_classes": len(names), "config": folder.config},
    }

    def reference(payload: bytes) -> Tensor:
        frames, own_rate = soundfile.read(io.BytesIO(payload), dtype="float32", always_2d=True)
        mono = frames.mean(axis=1) if own_rate == rate else reads(payload).numpy()  # owners resample in many ways
        return network(**extractor(mono, sampling_rate=rate, return_tensors="pt")).logits[0]

    return Found(
        lines=lines, network=spec, built=build(spec).eval(), transform=transform, reads=reads, labels=names,
        handler="handlers.audio.AudioClassifier", answer=with_labels(names), inputs="sounds", reference=reference,
    )  # fmt: skip
