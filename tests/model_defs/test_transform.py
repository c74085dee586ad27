import torch

from model_defs.transform import Transform


def test_a_transform_that_learns_nothing_needs_only_call(tmp_path):
    class Length(Transform):
        def __call__(self, payload: bytes) -> torch.Tensor:
            return torch.tensor([len(payload)])

    transform = Length()
    transform.save(tmp_path)
    transform.load(tmp_path)
    assert transform.collate([transform(b"ab"), transform(b"")])[0].tolist() == [[2], [0]]
    assert transform.facts() == {}
    assert transform.draw(transform(b"ab")) is None
    assert not list(tmp_path.iterdir())
