"""A tokenizer of word pieces, found in a corpus: BERT's kind, by the `tokenizers` package.

The same corpus gives the same pieces. Knows nothing of where the texts come from.
"""

from collections.abc import Iterable

from model_defs.transformer import extra

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]  # numbers 0 to 4


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> str:
    """The tokenizer as JSON, of at most `vocab_size` pieces; `[CLS]` and `[SEP]` stand around a text.

    Raises:
        SpecError: the package is not installed.
    """
    tokenizers = extra("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.decoder = tokenizers.decoders.WordPiece()
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=SPECIAL, show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    around = [(name, SPECIAL.index(name)) for name in ("[CLS]", "[SEP]")]
    made.post_processor = tokenizers.processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=around)
    return made.to_str()
