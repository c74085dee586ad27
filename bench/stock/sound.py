"""A sound classifier as TorchServe's documentation has people write one: on BaseHandler, with torchaudio, the batch stacked.

Runs in a stock archive; every sound is one second of 16 kHz here, so nothing is cut or filled up.
"""

import io

import torch
import torchaudio
from ts.torch_handler.base_handler import BaseHandler


class SoundClassifier(BaseHandler):
    def preprocess(self, data):
        sounds = []
        for row in data:
            waveform, rate = torchaudio.load(io.BytesIO(row.get("data") or row.get("body")))
            sounds.append(torchaudio.functional.resample(waveform, rate, 16000).mean(0))
        return torch.stack(sounds).to(self.device)

    def postprocess(self, data):
        scores, places = data.softmax(-1).topk(5)
        return [
            [{"label": self.mapping[str(place)], "score": score} for place, score in zip(row, values, strict=True)]
            for row, values in zip(places.tolist(), scores.tolist(), strict=True)
        ]
