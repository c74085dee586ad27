import yaml

from bench import rewrite
from bench.candidates import Candidate

RECIPE = """\
minWorkers: 1
maxWorkers: 2
batchSize: 8
maxBatchDelay: 1         # ms; under load the queue fills batches without waiting
responseTimeout: 30      # s
startupTimeout: 120      # s
deviceType: gpu          # the CPU where there is none
handler:
  class_path: handlers.vision.ImageClassifier
  runtime: eager
  tolerance: 0.01
"""


def test_a_recipe_is_changed_and_the_rest_of_it_kept():
    changed = rewrite.changed(RECIPE, Candidate("openvino", "int8", False, workers=2, threads=1, batch=4))
    assert yaml.safe_load(changed) == {
        "minWorkers": 2, "maxWorkers": 2, "batchSize": 4, "maxBatchDelay": 1, "responseTimeout": 30, "startupTimeout": 120,
        "deviceType": "cpu",
        "handler": {
            "class_path": "handlers.vision.ImageClassifier", "tolerance": 0.01,
            "runtime": "openvino", "precision": "int8", "threads": 1,
        },
    }  # fmt: skip
    assert "# ms; under load the queue fills batches without waiting" in changed


def test_a_recipe_of_few_keys_gets_the_others_above_its_handler():
    text = "# about it\nminWorkers: 2   # why\nhandler:\n  class_path: handlers.text.TextClassifier\n"
    assert rewrite.changed(text, Candidate("ncnn", "fp32", False, workers=3, threads=1, batch=4)) == (
        "# about it\nminWorkers: 3   # why\nmaxWorkers: 3\nbatchSize: 4\nmaxBatchDelay: 1\ndeviceType: cpu\nhandler:\n"
        "  class_path: handlers.text.TextClassifier\n  runtime: ncnn\n  threads: 1\n"
    )


def test_what_is_the_default_again_is_left_out():
    tuned = rewrite.changed(RECIPE, Candidate("openvino", "int8", False, threads=2, decoders=2))
    assert yaml.safe_load(rewrite.changed(tuned, Candidate("eager", "fp32", False)))["handler"] == {
        "class_path": "handlers.vision.ImageClassifier", "tolerance": 0.01, "runtime": "eager",
    }  # fmt: skip


def test_the_comment_of_the_last_tuning_goes_with_it(tmp_path):
    file = tmp_path / "digits.yaml"
    file.write_text(RECIPE)
    rewrite.write(file, Candidate("eager", "fp32", False), "the first")
    rewrite.write(file, Candidate("eager", "fp32", True), "the second")
    text = file.read_text()
    assert text.startswith("# make tune, the second\n")
    assert "the first" not in text
