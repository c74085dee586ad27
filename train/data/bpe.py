"""A tokenizer of word pieces, found in a corpus: pairs of bytes that stand together often, by the `tokenizers` package.

The same corpus gives the same pieces, which BERT's kind does not (docs/decisions.md). Knows nothing of where the texts come from.
"""

from collections.abc import Iterable

from model_defs.transformer import extra

SPECIAL = ["[PAD]", "[CLS]", "[SEP]"]  # numbers 0 to 2


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> str:
    """The tokenizer as JSON, of at most `vocab_size` pieces, the 256 bytes among them, so that no text is unknown to it.

    Letters are made small; `[CLS]` and `[SEP]` stand around a text.

    Raises:
        SpecError: the package is not installed.
    """
    tokenizers = extra("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.normalizer = tokenizers.normalizers.Sequence([tokenizers.normalizers.NFC(), tokenizers.normalizers.Lowercase()])
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    around = [(name, SPECIAL.index(name)) for name in ("[CLS]", "[SEP]")]
    made.post_processor = tokenizers.processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=around)
    return made.to_str()
