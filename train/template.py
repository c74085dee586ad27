"""Make `train/configs/<name>.yaml` and `archive/recipes/<name>.yaml` for a new model on the user's own data.

    python -m train.template flowers image-classification

Both are copies of existing files; `train/tasks.yaml` lists them per task.
"""

import re
import sys
from pathlib import Path

import yaml

from model_defs.build import did_you_mean
from model_defs.bundle_format import fault_of_name
from model_defs.command import reported
from model_defs.errors import BundleError

TASKS, CONFIGS, RECIPES = Path("train/tasks.yaml"), Path("train/configs"), Path("archive/recipes")
DATA = re.compile(r"^(data: \{class_path: )[\w.]+", re.M)


class TemplateError(BundleError):
    """No model can be made from this name and task; the message says why."""


def main(arguments: list[str]) -> None:
    name, task = [*arguments, "", ""][:2]
    with reported("new"):
        made = create(name, task)
    print(f"made {' and '.join(map(str, made))}; change in them what you like, then:")
    print(f"  make train MODEL={name} DATA=folder    # {tasks()[task]['looks']}")
    print(f"  make serve MODEL={name}")


def create(name: str, task: str, project: Path = Path()) -> tuple[Path, Path]:
    """Write the config and the recipe of a new model.

    Raises:
        TemplateError: no such task, or the name is not allowed or already taken.
    """
    if not name or not task:
        raise TemplateError(f"say which: make new NAME=flowers TASK=image-classification; tasks: {', '.join(tasks())}")
    if fault := fault_of_name(name):
        raise TemplateError(f"NAME: {fault}")
    if task not in tasks():
        raise TemplateError(f"TASK={task}: no such task{did_you_mean(task, tasks())}")
    configs, recipes = project / CONFIGS, project / RECIPES
    config, recipe = made = configs / f"{name}.yaml", recipes / f"{name}.yaml"
    if taken := [str(path) for path in made if path.exists()]:
        raise TemplateError(f"NAME={name}: there is {' and '.join(taken)} already; take another name, or remove what is there")
    begin = tasks()[task]
    text = (configs / f"{begin['like']}.yaml").read_text(encoding="utf-8")
    text = re.sub(r"\A(#.*\n)*", f"# {name}: {task}. DATA=<folder>: {begin['looks']}.\n", text)
    config.write_text(DATA.sub(rf"\g<1>{begin['data']}", text), encoding="utf-8")
    recipe.write_text((recipes / f"{begin['like']}.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return made


def tasks() -> dict[str, dict[str, str]]:
    return yaml.safe_load(TASKS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(sys.argv[1:])
