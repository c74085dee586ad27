"""What is explained: one target of one sample. A subclass per kind of input says how the sample is taken apart."""

from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from handlers.explain import parameters
from handlers.explain.method import Found, Method, Unsuitable, rounded
from handlers.explain.methods import METHODS, chosen
from handlers.explain.views import Dense, Parts
from model_defs.build import find_class
from model_defs.file_network import FileNetwork


class Subject:
    """One target of one sample.

    Args:
        handler: the model's; explanations run on its eager network.
        sample: what the network sees.
        request: with the explanation's parameters.
        score: the network's output, (N, ...) -> (N,): the number that is explained.
        head: what the answer begins with: the label and its score, or the value.
        served: the target's score by the runtime that predicts; None if it is not known.
    """

    methods: ClassVar[dict[str, Method]] = METHODS
    usual: ClassVar[tuple[str, ...]]  # the methods to try, in this order, if the request names none

    def __init__(self, handler: Any, sample: Any, request: Any, score: Any, head: dict, served: float | None = None):
        self.handler, self.sample, self.request, self.score = handler, sample, request, score
        self.head, self.served = head, served
        self.parameters = request.parameters
        self.transform = handler.transform

    # --- what a kind of input says

    def dense(self) -> Dense:
        """The sample as numbers.

        Raises:
            Unsuitable: its network has no gradients for it.
        """
        raise Unsuitable("its input has no gradients")

    def parts(self) -> Parts:
        """The sample as parts that can be left out."""
        raise NotImplementedError

    def names(self) -> list[str]:
        """What each part is called in a chart, where the parts are in a list."""
        raise NotImplementedError

    def fields(self, found: Found) -> dict:
        """The attributions, as the answer has them."""
        raise NotImplementedError

    def units(self) -> Parts:
        """The parts in which faithfulness is measured."""
        return self.parts()

    def unit_weights(self, found: Found) -> Tensor:
        """The attributions, as the units have them: of `units().shape`."""
        return found.values

    def picture(self, found: Found) -> dict:
        """With `show`: what a person looks at, as more fields of the answer."""
        raise NotImplementedError

    # --- what all kinds do

    def answer(self) -> dict:
        """The explanation. For the errors see `methods.chosen` and `parameters.options`."""
        options = parameters.options(self.parameters, self.parameters.method, self.methods)
        found = chosen(self.parameters.method, self.usual, self.view, options, self.methods)
        answer = self.head | {
            "target_score": rounded(found.score), "baseline_score": rounded(found.baseline), "method": found.name,
            "error": None if found.error is None else rounded(found.error),
        }  # fmt: skip
        if self.served is not None and abs(self.served - found.score) > self.handler.tolerance * max(1, abs(self.served)):
            answer["runtime_difference"] = rounded(self.served - found.score)
        answer |= self.fields(found)
        return answer | self.picture(found) if self.parameters.show else answer

    def view(self, name: str) -> Dense | Parts:
        """What the method works on."""
        needs = self.methods[name].needs
        if needs == "forwards":
            return self.parts()
        if self.is_in_a_file:
            raise Unsuitable("its network is in a file that torch does not run, so it has no gradients")
        dense = self.dense()
        if needs == "background" and not len(dense.backgrounds):
            raise Unsuitable("the archive has no training inputs for it as backgrounds")
        return dense

    def network(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """What `Transform.outputs` calls: the eager network, or the runtime of a network that torch does not have."""
        if self.is_in_a_file:
            return self.handler.runtime(inputs)
        return self.eager(*(tensor.to(self.handler.device) for tensor in inputs))

    @cached_property
    def is_in_a_file(self) -> bool:
        """Whether the network is one that torch cannot run: it has no gradients, but it can be asked."""
        return issubclass(find_class(self.handler.artifact.network["class_path"]), FileNetwork)

    def outputs(self, samples: list) -> list[Tensor]:
        """Each sample's output by the eager network, with an axis for its windows in front."""
        found = self.transform.outputs(self.network, samples)
        return [output if getattr(self.transform, "windows", 1) > 1 else output[None] for output in found]

    @property
    def eager(self) -> nn.Module:
        return self.handler.eager

    def background_samples(self) -> list:
        """Some training inputs as samples."""
        return [self.transform(payload) for payload in self.handler.artifact.backgrounds().values()]

    def baseline_name(self, usual: str) -> str:
        return self.parameters.baseline or usual


def probability(class_id: int) -> Any:
    """(N, num_classes) logits -> (N,): the label's probability."""
    return lambda logits: logits.softmax(-1)[..., class_id]


def stacked(samples: list[Tensor], like: Tensor) -> Tensor:
    """The samples of the same shape as `like`, as floats in one tensor; none if there are none."""
    same = [sample.float() for sample in samples if sample.shape == like.shape]
    return torch.stack(same).to(like.device) if same else like.new_zeros(0, *like.shape)
