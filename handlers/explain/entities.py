"""Explanations of entities: what each word of a text adds to the score of one of them, or of a label anywhere in the text."""

from collections.abc import Callable, Sequence

from torch import Tensor

from handlers.explain.texts import TextSubject
from handlers.explain.views import Parts, part_scores
from model_defs.build import did_you_mean
from model_defs.errors import WrongValue
from model_defs.transformers_tokens import IGNORED, TokenSample, kind

BASELINES = ("hidden", "zero")  # words behind the mask's token; for methods with gradients, embeddings of zeros in any case


class EntitySubject(TextSubject):
    """An entity, or a label. A word that is left out is hidden, so that the tokens of the entity keep their places."""

    def parts(self) -> Parts:
        covered = self.transform.covered(self.text())

        def kept(stays: list[bool]) -> TokenSample:
            hidden = [place for place, words in enumerate(covered) if words and not any(stays[word] for word in words)]
            return self.transform.hidden(self.sample, hidden)

        return Parts(part_scores(self.outputs, self.score, kept), (len(self.words()),))


def of_entity(places: list[int], class_ids: list[int]) -> Callable[[Tensor], Tensor]:
    """(N, tokens, num_classes) logits -> (N,): the mean probability of the entity's labels.

    Args:
        places: of its tokens.
        class_ids: the label of each.
    """
    return lambda logits: logits.softmax(-1)[:, places, class_ids].mean(1)


def of_label(class_ids: list[int], places: list[int]) -> Callable[[Tensor], Tensor]:
    """(N, tokens, num_classes) logits -> (N,): the probability of the labels together, at the token where it is largest.

    Args:
        class_ids: that count as one label: those of "B-PER" and "I-PER".
        places: of all tokens that are not special.
    """
    return lambda logits: logits.softmax(-1)[:, places][..., class_ids].sum(-1).amax(1)


def chosen_entity(target: int | str | None, found: list[dict], labels: Sequence[str]) -> int | str:
    """The index of the entity to explain, or the label to look for in the whole text.

    Args:
        target: an entity's index, or its label, of which the best one counts; None is the best of all.
        found: the answer to the prediction.

    Raises:
        WrongValue: there is no such entity, and no such label.
    """
    known = list(dict.fromkeys(name for label in labels if kind(label) not in IGNORED for name in (kind(label), label)))
    best = sorted(range(len(found)), key=lambda index: -found[index]["score"])
    if target is None:
        if not best:
            raise WrongValue(f"nothing was found in this text; name a label as the target: {', '.join(known[:10])}")
        return best[0]
    for index in best:
        if found[index]["entity_group"] == target:
            return index
    if isinstance(target, str) and target in known:
        return target
    index = int(target) if isinstance(target, int) or (target.isascii() and target.isdigit()) else -1
    if not 0 <= index < len(found):
        named = ", ".join(f"{entity['entity_group']} {entity['word']!r}" for entity in found[:10]) or "nothing"
        hint = did_you_mean(str(target), known)[:300]
        raise WrongValue(f"target {target!r} is not a label{hint}, or the index of an entity; found were: {named}")
    return index
