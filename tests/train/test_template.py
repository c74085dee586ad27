"""train/template.py: what `make new` writes can be trained and packaged; a refusal says why."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from archive import recipe
from archive.recipe_schema import handler_classes
from train.cli import build_cli
from train.template import TASKS, TemplateError, create, tasks


@pytest.fixture
def project(tmp_path):
    """A folder with the configs and recipes of this one."""
    for folder in ("train/configs", "archive/recipes"):
        shutil.copytree(folder, tmp_path / folder)
    return tmp_path


@pytest.mark.parametrize("task", tasks())
def test_each_task_gives_a_config_and_a_recipe_that_load(task, project):
    config, path = create("flowers", task, project)
    assert config == project / "train/configs/flowers.yaml" and path == project / "archive/recipes/flowers.yaml"
    cli = build_cli(config, project / "runs", ["--data.root=somewhere", "--model.transfer.weights=null"])
    data = cli.datamodule
    assert f"{type(data).__module__}.{type(data).__name__}" == tasks()[task]["data"] and str(data.root) == "somewhere"
    assert recipe.read(path).handler.class_path in handler_classes()
    assert config.read_text().startswith(f"# flowers: {task}. DATA=<folder>: ")


def test_every_handler_that_a_recipe_names_has_its_task():
    """`make new` can make a model of every kind."""
    offered = {recipe.read(Path(f"archive/recipes/{entry['like']}.yaml")).handler.class_path for entry in tasks().values()}
    recipes = [path for path in Path("archive/recipes").glob("*.yaml") if path.name != recipe.DEFAULT.name]
    named = {recipe.read(path).handler.class_path for path in recipes}
    assert offered == named


def test_a_name_that_is_taken_is_refused_and_nothing_is_written_over(project):
    create("flowers", "image-classification", project)
    before = (project / "train/configs/flowers.yaml").read_bytes()
    with pytest.raises(TemplateError, match=r"there is .*configs/flowers\.yaml and .*recipes/flowers\.yaml already"):
        create("flowers", "text-classification", project)
    (project / "train/configs/flowers.yaml").unlink()
    with pytest.raises(TemplateError, match=r"there is \S*recipes/flowers\.yaml already"):
        create("flowers", "text-classification", project)
    assert not (project / "train/configs/flowers.yaml").exists()
    assert before.startswith(b"# flowers: image-classification")


@pytest.mark.parametrize("name", ["../flowers", "tokens", "default"])
def test_a_name_that_cannot_be_one_is_refused(name, project):
    with pytest.raises(TemplateError, match=f"^NAME: '{name}': .*such as my_"):
        create(name, "image-classification", project)


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(TemplateError, match="no such task; did you mean 'image-classification'"):
        create("flowers", "image-clasification")


def test_without_a_name_or_a_task_it_says_which_there_are():
    with pytest.raises(TemplateError, match=r"NAME=flowers TASK=image-classification; tasks: .*text-classification"):
        create("", "")


def test_it_prints_what_to_do_next(project):
    shutil.copy(TASKS, project / TASKS)
    for package in ("train", "model_defs"):
        for module in Path(package).glob("*.py"):
            (project / package).mkdir(exist_ok=True)
            shutil.copy(module, project / module)
    command = [sys.executable, "-m", "train.template", "flowers", "audio-classification"]
    said = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True).stdout
    assert "make train MODEL=flowers DATA=folder" in said and "make serve MODEL=flowers" in said
    again = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert again.returncode == 1 and again.stderr.startswith("error: NAME=flowers: there is") and again.stderr.count("\n") == 1


def test_each_task_has_the_same_three_entries():
    assert all(set(entry) == {"like", "data", "looks"} for entry in yaml.safe_load(TASKS.read_text()).values())
