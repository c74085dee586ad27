"""Train a byte-level BPE tokenizer on texts, with the `tokenizers` package.

The same texts give the same tokenizer, which BERT's WordPiece does not (docs/decisions.md).
"""

from collections.abc import Iterable

from model_defs.text import APOSTROPHES, QUOTES
from model_defs.transformer import extra

SPECIAL = ["[PAD]", "[CLS]", "[SEP]"]  # token ids 0 to 2


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> str:
    """The tokenizer as JSON. It has at most `vocab_size` tokens, the 256 bytes among them, so it can encode any text.

    It lowercases, reads a phone's marks and full-width letters as a keyboard's, and puts `[CLS]` and `[SEP]` around a text.

    Raises:
        SpecError: the package is not installed.
    """
    tokenizers = extra("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    normal = tokenizers.normalizers
    typed = [normal.Replace(tokenizers.Regex(f"[{marks}]"), mark) for marks, mark in ((APOSTROPHES, "'"), (QUOTES, '"'))]
    tokenizer.normalizer = normal.Sequence([*typed, normal.NFKC(), normal.Lowercase()])
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    around = [(name, SPECIAL.index(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=around)
    return tokenizer.to_str()
