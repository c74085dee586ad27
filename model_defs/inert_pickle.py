"""Read a pickle as data: its opcodes are interpreted here, and no class or function that it names is imported or called.

A named class becomes an `Inert` object, which keeps what the pickle gives it. Only the calls in `rebuild` give a value, such as
a tensor of a storage. So a file from anywhere can be read: it cannot run anything. Memory stays in proportion to the file.
"""

import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from model_defs.errors import BundleError

MAX_BYTES = 16 << 20  # of a pickle; that of a network of a thousand tensors is 0.2 MiB. The interpreter reads 1 MiB in 2 s.
SCALARS = (str, int, float, bool, bytes, type(None))  # what a dict's key may be: a nested tuple can take for ever to hash
MARK = object()
BROKEN = (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, EOFError, struct.error)


class PickleError(BundleError, ValueError):
    """The bytes are not a pickle that can be read as data; the message says why."""


@dataclass(eq=False)
class Inert:
    """What stands for an object of a class that the pickle names.

    Args:
        path: of the class or function: "torchvision.models.resnet.ResNet".
        args: of the call that would make it.
        state: what its `__setstate__` would be given.
        items: what the pickle sets by key, for a subclass of dict.
    """

    path: str
    args: Any = ()
    state: Any = None
    items: dict = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Named:
    """A class or function that the pickle names."""

    path: str


def loads(
    data: bytes, rebuild: dict[str, Callable] | None = None, persistent: Callable[[Any], Any] | None = None
) -> tuple[Any, set[str]]:
    """The pickled value, and the paths of the classes and functions that became stand-ins.

    Args:
        rebuild: functions of ours that take the arguments of a call, by the path that the pickle names.
        persistent: what a persistent id becomes; without it, one is an error.

    Raises:
        PickleError: not a pickle, a damaged one, one of more than `MAX_BYTES`, or one that needs an extension registry.
    """
    if len(data) > MAX_BYTES:
        raise PickleError(f"a pickle of {len(data):,} bytes; {MAX_BYTES:,} at most are read")
    machine = Machine(rebuild or {}, persistent)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return machine.stack.pop(), machine.named
            machine.step(opcode.name, argument)
    except PickleError:
        raise
    except BROKEN as error:
        raise PickleError(f"a damaged pickle ({str(error)[:100]})") from error
    raise PickleError("a pickle without an end")


class Machine:
    """The stack and the memo of one pickle."""

    def __init__(self, rebuild: dict[str, Callable], persistent: Callable[[Any], Any] | None):
        self.rebuild, self.persistent = rebuild, persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.named: set[str] = set()

    def step(self, name: str, argument: Any) -> None:
        """Do what one opcode says."""
        if name in PUSHED:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name]())
        elif name in STEPS:
            STEPS[name](self, argument)
        else:
            raise PickleError(f"a pickle with the opcode {name}, which is not read as data")

    def since_mark(self) -> list:
        """Take what lies above the last mark, and the mark."""
        index = len(self.stack) - 1 - self.stack[::-1].index(MARK)
        taken = self.stack[index + 1 :]
        del self.stack[index:]
        return taken

    def take(self, count: int) -> list:
        if len(self.stack) < count:
            raise IndexError("the stack is empty")
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def name(self, path: str) -> None:
        self.stack.append(Named(path))
        if path not in self.rebuild:
            self.named.add(path)

    def call(self, function: Any, args: Any) -> None:
        """Push what a call gives: a value of `rebuild`, or a stand-in."""
        path = function.path if isinstance(function, Named | Inert) else ""
        if isinstance(function, Named) and path in self.rebuild:
            self.stack.append(self.rebuild[path](*args))
        else:
            self.stack.append(Inert(path, args))

    def set_items(self, pairs: list) -> None:
        target = self.stack[-1]
        target = target.items if isinstance(target, Inert) else target
        if isinstance(target, dict):
            target.update((key, value) for key, value in zip(pairs[::2], pairs[1::2], strict=True) if isinstance(key, SCALARS))

    def append(self, values: list) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)

    def build(self) -> None:
        (state,) = self.take(1)
        if isinstance(self.stack[-1], Inert):
            self.stack[-1].state = state

    def persist(self, saved: Any) -> None:
        if self.persistent is None:
            raise PickleError("a pickle that refers to data outside itself")
        self.stack.append(self.persistent(saved))

    def as_dict(self) -> None:
        pairs = self.since_mark()
        self.stack.append({})
        self.set_items(pairs)

    def instance(self, function: Any, args: list) -> None:
        self.call(function, tuple(args))


PUSHED = {  # opcodes whose argument is the value
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "BINBYTES8", "SHORT_BINBYTES", "BYTEARRAY8"),
}
CONSTANTS: dict[str, Callable] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,  # hashing what is in it could take for ever
    "MARK": lambda: MARK,
}
STEPS: dict[str, Callable[[Machine, Any], Any]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "POP": lambda machine, _: machine.take(1),
    "POP_MARK": lambda machine, _: machine.since_mark(),
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    "LIST": lambda machine, _: machine.stack.append(machine.since_mark()),
    "FROZENSET": lambda machine, _: machine.stack.append(machine.since_mark()),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.stack.append(tuple(machine.take(1))),
    "TUPLE2": lambda machine, _: machine.stack.append(tuple(machine.take(2))),
    "TUPLE3": lambda machine, _: machine.stack.append(tuple(machine.take(3))),
    "DICT": lambda machine, _: machine.as_dict(),
    "APPEND": lambda machine, _: machine.append(machine.take(1)),
    "APPENDS": lambda machine, _: machine.append(machine.since_mark()),
    "ADDITEMS": lambda machine, _: machine.append(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.set_items(machine.take(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    "MEMOIZE": lambda machine, _: machine.memo.update({len(machine.memo): machine.stack[-1]}),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda machine, index: machine.memo.update({index: machine.stack[-1]})),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, index: machine.stack.append(machine.memo[index])),
    "GLOBAL": lambda machine, both: machine.name(both.replace(" ", ".", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.name(".".join(machine.take(2))),
    "REDUCE": lambda machine, _: machine.call(*machine.take(2)),
    "NEWOBJ": lambda machine, _: machine.call(*machine.take(2)),
    "NEWOBJ_EX": lambda machine, _: machine.call(*machine.take(3)[:2]),
    "OBJ": lambda machine, _: (lambda parts: machine.instance(parts[0], parts[1:]))(machine.since_mark()),
    "INST": lambda machine, both: machine.instance(Named(both.replace(" ", ".", 1)), machine.since_mark()),
    "BUILD": lambda machine, _: machine.build(),
    "PERSID": lambda machine, saved: machine.persist(saved),
    "BINPERSID": lambda machine, _: machine.persist(*machine.take(1)),
}
