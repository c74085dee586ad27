"""Tests that need a GPU: out of memory, and a lost GPU. Each runs in a process of its own."""

import subprocess
import sys

import pytest
import torch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

START = """
import sys, torch
from torch import nn
from handlers.base import load
from handlers.request import RawRequest

class Brittle(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, pixels):
        fail() if len(pixels) > LIMIT else None
        return self.network(pixels)

handler = load(sys.argv[1], {"class_path": "handlers.vision.ImageClassifier", "threads": 1}, "cuda:0")
handler.runtime.network = Brittle(handler.runtime.network)
rows = [RawRequest({"body": payload}, id="r") for _, payload in handler.artifact.samples()]
"""
OUT_OF_MEMORY = (
    "LIMIT = 1\ndef fail(): torch.empty(1 << 30, device='cuda'), torch.empty(1 << 45, device='cuda')\n"
    + START
    + """
answered = handler.answer(rows)
assert [answer.code for answer in answered.answers] == [200] * 4 and not answered.is_lost
assert torch.cuda.memory_reserved() < 1 << 30, torch.cuda.memory_reserved()
"""
)
LOST = (
    "LIMIT = 0\ndef fail(): torch.zeros(1, device='cuda')[torch.tensor([7], device='cuda')]\n"
    + START
    + """
answered = handler.answer([*rows[:2], RawRequest({"body": b""}, id="r")])
assert [answer.code for answer in answered.answers] == [503, 503, 400] and answered.is_lost
"""
)


@pytest.mark.parametrize("program", [OUT_OF_MEMORY, LOST], ids=["out of memory", "lost"])
def test_each_caller_gets_the_right_status_when_the_gpu_fails(program, picture_artifact):
    done = subprocess.run([sys.executable, "-c", program, picture_artifact], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
