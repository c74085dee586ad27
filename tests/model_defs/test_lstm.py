import pytest
import torch

from model_defs.errors import TooLarge, WrongValue
from model_defs.lstm import WordLSTM, WordSequenceTransform
from model_defs.transform import Transform


def words(*tokens: str, **options) -> WordSequenceTransform:
    transform = WordSequenceTransform(**options)
    transform.tokens = ["<unk>", *tokens]
    return transform


@pytest.fixture
def network():
    torch.manual_seed(0)
    return WordLSTM(3, vocab_size=5, dim=8, hidden=6).eval()


def test_words_keep_their_order_and_an_unknown_one_is_unk():
    assert words("good", "not", "is")("Not what is good").tolist() == [2, 0, 3, 1]


def test_words_after_the_maximum_are_not_read():
    assert words("a", "b", max_words=3)("a b a b b").tolist() == [1, 2, 1]


def test_an_empty_and_a_long_text_are_refused():
    with pytest.raises(WrongValue, match="the text is empty"):
        words("a")(b" ")
    with pytest.raises(TooLarge, match="this model takes 4 at most"):
        words("a", max_chars=4)(b"a a a")


def test_a_batch_is_padded_and_says_how_long_each_is():
    numbers, lengths = words().collate([torch.tensor([4, 5]), torch.tensor([6])])
    assert numbers.tolist() == [[4, 5], [6, 0]] and lengths.tolist() == [2, 1]


def test_a_vocabulary_comes_back_as_it_was(tmp_path):
    words("good", "東京").save(tmp_path)
    transform = WordSequenceTransform()
    transform.load(tmp_path)
    assert transform.tokens == ["<unk>", "good", "東京"] and transform.facts() == {"vocab_size": 3}


def test_the_order_of_words_matters_to_the_network(network):
    there, back = (network(torch.tensor([numbers]), torch.tensor([3])) for numbers in ([1, 2, 3], [3, 2, 1]))
    assert not torch.allclose(there, back, atol=1e-4)


def test_a_texts_logits_do_not_depend_on_padding_or_buckets(network):
    transform = words(*"abcd")
    samples = [transform(" ".join("abcd"[index % 4] for index in range(length))) for length in (3, 200, 1, 40)]
    alone = torch.cat([network(*transform.collate([sample])) for sample in samples])
    for outputs in (Transform.outputs, WordSequenceTransform.outputs):
        together = torch.stack(outputs(transform, lambda inputs: network(*inputs), samples))
        assert torch.allclose(together, alone, atol=1e-6)


def test_both_directions_equal_torchs_bidirectional_lstm(network):
    """The reference is torch's bidirectional LSTM over a packed batch."""
    both = torch.nn.LSTM(8, 6, batch_first=True, bidirectional=True)
    both.load_state_dict(
        network.forward_lstm.state_dict()
        | {f"{name}_reverse": value for name, value in network.backward_lstm.state_dict().items()}
    )
    numbers, lengths = torch.tensor([[1, 2, 3, 4], [4, 2, 0, 0]]), torch.tensor([4, 2])
    packed = torch.nn.utils.rnn.pack_padded_sequence(network.embedding(numbers), lengths, batch_first=True)
    states, _ = torch.nn.utils.rnn.pad_packed_sequence(both(packed)[0], batch_first=True)
    pooled = [torch.cat([row[:length].mean(0), row[:length].amax(0)]) for row, length in zip(states, lengths, strict=True)]
    assert torch.allclose(network(numbers, lengths), network.head(torch.stack(pooled)), atol=1e-6)
