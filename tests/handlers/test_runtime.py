import pytest
import torch
from torch import nn

from handlers.runtime import PRECISION, RUNTIMES, Eager
from model_defs.text import BagOfWords
from model_defs.vision import SmallCNN


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return SmallCNN(5, width=8).eval()


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_eager_is_the_network_itself(network, pictures):
    outputs = Eager(network, "cpu", "fp32", threads=1)((pictures,))
    with torch.inference_mode():
        assert torch.equal(outputs, network(pictures))


def test_bf16_is_close_and_comes_back_as_float32(network, pictures):
    outputs = Eager(network, "cpu", "bf16", threads=1)((pictures,))
    assert outputs.dtype == torch.float32
    exact = Eager(network, "cpu", "fp32", threads=1)((pictures,))
    assert not torch.equal(outputs, exact)
    assert torch.allclose(outputs.softmax(-1), exact.softmax(-1), atol=0.02)


def test_a_network_may_take_several_tensors():
    torch.manual_seed(0)
    network = BagOfWords(3, vocab_size=5, dim=4).eval()
    assert Eager(network, "cpu", "fp32", threads=1)((torch.tensor([1, 2, 3]), torch.tensor([0, 1]))).shape == (2, 3)


def test_no_gradient_is_kept(network, pictures):
    assert not Eager(network, "cpu", "fp32", threads=1)((pictures,)).requires_grad


def test_the_threads_are_those_asked_for(network):
    before = torch.get_num_threads()
    try:
        Eager(network, "cpu", "fp32", threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_every_runtime_and_precision_of_the_settings_exists():
    from handlers.settings import Settings

    assert set(Settings.__annotations__["runtime"].__origin__.__args__) == set(RUNTIMES)
    assert set(Settings.__annotations__["precision"].__origin__.__args__) == set(PRECISION)
