"""cluster/plan.py: from a recipe to Serve's configuration."""

import pytest
import yaml

from archive.build import build
from cluster import plan
from cluster.settings import Settings
from serving.errors import ServerError

RECIPE = {
    "minWorkers": 1, "maxWorkers": 4, "batchSize": 8, "maxBatchDelay": 1, "responseTimeout": 30, "startupTimeout": 120,
    "deviceType": "cpu", "handler": {"class_path": "handlers.vision.ImageClassifier", "threads": 2},
}  # fmt: skip


@pytest.fixture
def archive(picture_artifact, tmp_path):
    recipe = tmp_path / "pictures.yaml"
    recipe.write_text(yaml.safe_dump({"handler": {"class_path": "handlers.vision.ImageClassifier"}, "jobQueueSize": 7}))
    return build(picture_artifact, recipe, tmp_path / "store")


def test_an_application_bears_the_archives_digest_and_where_the_nodes_find_it(archive):
    made = plan.application(archive, Settings(archives="s3://bucket/models/"), "a key's digest")
    assert made["name"] == "pictures" and made["route_prefix"] == "/predictions/pictures"
    assert made["args"] | {"sha256": ""} == {
        "model": "pictures", "version": "1.0", "archive": "s3://bucket/models/pictures-1.0.mar", "sha256": "",
        "key_sha256": "a key's digest", "max_bytes": 10 << 20, "previous": None,
    }  # fmt: skip
    assert f"{made['args']['sha256']}  pictures-1.0.mar\n" == (archive.parent / "SHA256SUMS").read_text()


def test_a_version_next_to_the_default_one_has_an_address_of_its_own(archive):
    made = plan.application(archive, Settings(), is_default=False)
    assert (made["name"], made["route_prefix"]) == ("pictures-1.0", "/predictions/pictures/1.0")


def test_an_archive_that_was_changed_is_not_deployed(archive):
    archive.write_bytes(archive.read_bytes() + b"x")
    with pytest.raises(ServerError, match="not the one that was built"):
        plan.application(archive, Settings())


def test_minimum_and_maximum_workers_are_the_bounds_of_autoscaling():
    section = plan.deployment(RECIPE, Settings())["autoscaling_config"]
    assert (section["min_replicas"], section["max_replicas"], section["target_ongoing_requests"]) == (1, 4, 8)
    assert plan.deployment(RECIPE | {"minWorkers": 4}, Settings())["num_replicas"] == 4


def test_serves_own_limit_lies_above_the_queue_of_the_recipe():
    """Serve refuses in plain text, the replica in JSON: so the replica's limit must come first."""
    for queue in (1, 100, 1000):
        made = plan.deployment(RECIPE | {"jobQueueSize": queue}, Settings())
        assert made["max_ongoing_requests"] > queue + RECIPE["batchSize"]


def test_an_update_starts_all_new_replicas_first():
    assert plan.deployment(RECIPE, Settings())["max_surge_percent"] == 100


@pytest.mark.parametrize(
    ("device", "share", "wanted"),
    [("cpu", 0.5, {"num_cpus": 2}), ("gpu", 0, {"num_cpus": 2}), ("gpu", 0.25, {"num_cpus": 2, "num_gpus": 0.25})],
)
def test_a_gpu_is_shared_as_the_settings_say(device, share, wanted):
    assert plan.resources(RECIPE | {"deviceType": device}, share) == wanted


@pytest.mark.parametrize("key", plan.REFUSED)
def test_a_key_that_the_cluster_cannot_follow_is_refused(key):
    with pytest.raises(ServerError, match=f"the recipe's {key} .* serve this model with TorchServe"):
        plan.deployment(RECIPE | {key: {"nproc-per-node": 2}}, Settings())


@pytest.mark.parametrize("key", plan.UNUSED)
def test_a_key_that_means_nothing_here_is_said(key):
    assert plan.notes(RECIPE | {key: 1}, Settings()) == [f"the recipe's {key} has no meaning on the cluster: {plan.UNUSED[key]}"]


def test_every_key_of_a_recipe_is_used_refused_or_said():
    from archive.recipe import Recipe

    used = {*RECIPE, "jobQueueSize"}
    assert used | {*plan.REFUSED} | {*plan.UNUSED} == {*Recipe.__struct_fields__}
