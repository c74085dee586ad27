"""Make a model that exists into an artifact and a recipe: what `make import` runs.

    python -m importers pets model.pth --labels classes.txt --try photos/

The source is read and never run. What was found is said before anything is written.
"""

import argparse
import math
import os
import sys
from pathlib import Path

from importers import answers, expect, inputs, kinds, write
from importers.expect import shown
from importers.found import ImportRefused, Question, check_flags
from model_defs.command import reported
from model_defs.errors import BundleError
from model_defs.exact_image import INTERPOLATIONS

MAX_SHOWN = 5
TOLERANCE = 1e-3


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m importers", description="Make a model that exists into an artifact.")
    made.add_argument("name", nargs="?", default="", help="of the new model")
    made.add_argument("source", nargs="?", default="", help="the file or folder that holds it")
    made.add_argument("--labels", default="", help="a line per label, or a JSON file; torchvision: torchvision's own")
    made.add_argument("--try", dest="inputs", default="", help="one input, or a folder of some; class folders give a test set")
    made.add_argument("--expect", default="", help="own answers: a JSON file, or predict.py:answer, which runs once")
    made.add_argument("--tolerance", type=float, default=TOLERANCE, help="how far a score may lie from your own (%(default)s)")
    made.add_argument(
        "--network", default="", help="a name of torchvision's, or a file of your own: my_net.py:MyNet(n_classes=4)"
    )
    made.add_argument("--key", default=None, help="of the checkpoint's part that is the network")
    made.add_argument("--transform-input", action="store_true", help="as torchvision's own inception_v3 and googlenet need")
    made.add_argument("--resize", type=int, help="pixels of the shorter side")
    made.add_argument("--squash", type=int, help="pixels of both sides, whatever the picture's shape")
    made.add_argument("--crop", type=int, help="pixels of the square in the middle")
    made.add_argument("--interpolation", choices=INTERPOLATIONS, help="of the resizing")
    made.add_argument("--mean", type=float, nargs="+", help="of each channel, in 0..1")
    made.add_argument("--std", type=float, nargs="+", help="of each channel, in 0..1")
    made.add_argument("--grey", action="store_true", help="pictures with one channel, for a network of your own")
    made.add_argument("--sample-rate", type=int, help="Hz: the inputs are sounds, for a network of your own")
    made.add_argument("--seconds", type=float, help="that each sound is cut or filled to")
    made.add_argument("--answer-as", choices=("torchserve",), help="the form of an old archive's answers, for old callers")
    made.add_argument("--pooling", choices=("mean", "cls", "max"), help="how a text's tokens become one vector")
    made.add_argument("--trust", help="the first 12 digits of an archive's SHA-256, whose own handler may then run")
    made.add_argument("--upright", action=argparse.BooleanOptionalAction, help="turn a picture as its EXIF says")
    made.add_argument("--backend", choices=("torchvision", "pil"), help="what resizes the pictures of a Hugging Face folder")
    return made


def main(arguments: list[str]) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is looked up elsewhere
    flags = parser().parse_args(arguments)
    if not flags.name and not flags.source:
        print(kinds.listed())
        return
    with reported("import"):
        try:
            run(flags, Path())
        except BundleError as error:
            error.args = (" ".join(str(error).split()),)  # one line, whatever a library's message has
            raise


def run(flags: argparse.Namespace, project: Path) -> list[Path]:
    """Import what the flags say into the project's folder, and return the paths written.

    Raises:
        BundleError: the model cannot be imported as asked.
    """
    if not flags.source or not flags.name:
        raise ImportRefused("say which: make import NAME=pets FROM=model.pth LABELS=classes.txt TRY=photos/")
    if not flags.inputs:
        raise ImportRefused("an archive proves itself by inputs; give one of yours, or a folder: TRY=photos/")
    if flags.tolerance != TOLERANCE and not flags.expect:
        raise ImportRefused("--tolerance is for the comparison with your own answers: give EXPECT=answers.json, too")
    if not (math.isfinite(flags.tolerance) and flags.tolerance >= 0):
        raise ImportRefused(f"--tolerance {flags.tolerance}: a number from 0 is expected")
    write.check(flags, project)
    question = Question(flags.name, Path(flags.source), flags.labels, flags)
    found = kinds.find(question)
    check_flags(flags, parser().parse_args([]), found)
    print("\n".join(found.lines), flush=True)
    tried, left_out = inputs.read(flags.inputs, found.labels, found.inputs == "texts")
    if left_out:
        print(f"left out of TRY: {', '.join(left_out[:MAX_SHOWN])}{' ...' if left_out[MAX_SHOWN:] else ''}")
    given = answers.alone(found, tried)
    for each, answer in list(zip(tried, given, strict=True))[:MAX_SHOWN]:
        print(f"{each.file}: {shown(answer)}")
    compared = "not compared"
    if found.reference:
        largest = answers.from_reference(found, tried)
        compared = f"with {found.library}'s own code: {len(tried)} inputs, outputs within {largest:.1e}"
        print(f"as {found.library} itself computes them: {len(tried)} inputs, outputs within {largest:.1e}")
    if flags.expect:
        owners, unknown = expect.expected(flags.expect, tried)
        if unknown:
            more = f", and {len(unknown) - 1:,} more" if unknown[1:] else ""
            print(f"left out of EXPECT: the answer to {unknown[0]}{more}, which TRY does not have under one name")
        largest = expect.compare(found, tried, given, owners, flags.tolerance)
        compared = f"with {Path(flags.expect).name}: {len(owners)} of {len(tried)} inputs, scores within {largest:.1e}"
        print(f"as your own code answers: {len(owners)} inputs, scores within {largest:.1e}")
    elif not found.reference:
        print("is that what your own code says? EXPECT=answers.json or EXPECT=predict.py:answer compares it")
    if moved := answers.changed_by_neighbours(found, tried, given):
        print(f"an answer depends on its neighbours in a batch ({moved}): the recipe says batchSize: 1")
    paths, is_new = write.write(question, found, tried, given, compared, project, bool(moved))
    recipe = f" and {paths[1]}" if is_new else f"; {paths[1]} was there, and stays as it is"
    print(f"made {paths[0]}/{recipe}; next: make serve MODEL={flags.name}")
    return paths


if __name__ == "__main__":
    main(sys.argv[1:])
