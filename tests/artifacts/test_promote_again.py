"""A run promoted a second time, and versions of its artifacts that are not the newest."""

import pytest

from .promoting import promote


NEW = """
settings = config("demo", given={"epochs": EPOCHS})
parents = {"warmup": open_artifact("local/demo-warmup@WARMUP", "model")}
content = manifest(POLICY, settings, parents, {}, {})
card = cards.card(POLICY, content, repo_id="local/demo-policy")
Store(settings.run).publish(folder("policyEPOCHS", new__safetensors=b"EPOCHS"), POLICY, content, card)
out = None
"""
EDIT = """
api = HfApi()
for repo_type, name in (("dataset", "labels"), ("model", "policy")):
    card = open_artifact(f"local/demo-{name}", repo_type, patterns=["README.md"]).path / "README.md"
    words = card.read_bytes() + b"WORDS"
    api.upload_file(
        path_or_fileobj=words, path_in_repo="README.md", repo_id=f"local/demo-{name}", repo_type=repo_type
    )
out = None
"""
SHOWN = """
made = {name: open_artifact(f"local/demo-{name}", repo_type) for repo_type, name in (
    ("dataset", "labels"), ("model", "warmup"), ("model", "policy"))}
out = {name: [artifact.ref, (artifact.path / "README.md").read_text(), artifact.manifest, artifact.edited]
       for name, artifact in made.items()}
"""


def test_a_second_promotion_adds_what_is_new(start_hub):
    source, target = start_hub(), start_hub()
    source.python('publish_chain(config("demo"))\nout = None')
    promote(source, target)
    # Cards edited there stay, and hinder nothing; one edited here later follows where nobody edited it there.
    target.python(EDIT.replace("WORDS", "Edited there.").replace(', ("model", "policy")', ","))
    source.python(EDIT.replace("WORDS", "Edited here."))
    assert "1 commits are new" in promote(source, target)
    first, _ = target.python(SHOWN)
    assert first["labels"][1].endswith("Edited there.") and "Edited here." not in first["labels"][1]
    assert first["policy"][1].endswith("Edited here.")
    source.python(NEW.replace("EPOCHS", "3").replace("@WARMUP", ""))
    assert "1 commits are new" in promote(source, target)
    out, _ = target.python(SHOWN)
    assert out["policy"][2]["config"]["stage"] == {"epochs": 3}
    assert out["policy"][2]["parents"]["warmup"] == out["warmup"][0]
    assert out["labels"] == first["labels"]
    assert "0 commits are new" in promote(source, target)
    # The run goes on there; a version that would bury what was made there is refused.
    target.python(NEW.replace("EPOCHS", "4").replace("@WARMUP", ""))
    assert "0 commits are new" in promote(source, target)
    source.python(NEW.replace("EPOCHS", "5").replace("@WARMUP", ""))
    done = source.command("hub", "promote", "local/demo", "--to", target.endpoint)
    assert done.returncode == 2 and "'local/demo-policy' on" in done.stderr and "data of its own" in done.stderr


def test_data_edited_by_hand_and_versions_that_are_not_complete(start_hub):
    source, target = start_hub(), start_hub()
    source.python("""
settings = config("demo")
made = publish_chain(settings)
api = HfApi()
api.upload_file(path_or_fileobj=b"by hand", path_in_repo="weights.safetensors", repo_id="local/demo-warmup")
parents = {"warmup": open_artifact("local/demo-warmup", "model")}
content = manifest(POLICY, settings, parents, {}, {})
card = cards.card(POLICY, content, repo_id="local/demo-policy")
Store(settings.run).publish(folder("edited", new__safetensors=b"3"), POLICY, content, card)
# A commit that was cut off before its tag.
reward = open_artifact("local/demo-reward", "model")
cut = reward.manifest | {"fingerprint": "f" * 16}
api.upload_file(path_or_fileobj=json.dumps(cut).encode(), path_in_repo="hfdistill.json", repo_id="local/demo-reward")
api.create_repo("local/demo-policy-cut")
api.upload_file(path_or_fileobj=json.dumps(cut).encode(), path_in_repo="hfdistill.json",
                repo_id="local/demo-policy-cut")
out = None
""")
    # A Hub without Collections.
    code, said = source.python(f"""
import httpx
from huggingface_hub.errors import HfHubHTTPError
from hfdistill.cli import main
def none(*args, **kwargs):
    raise HfHubHTTPError("none", response=httpx.Response(404, request=httpx.Request("GET", "http://hub")))
HfApi.list_collections = none
try:
    main(["hub", "promote", "local/demo", "--to", {target.endpoint!r}])
except SystemExit as end:
    out = end.code
""")
    assert not code and "the repositories are there, but in no Collection" in said
    assert "0 commits are new" in promote(source, target)
    out, _ = target.python("""
warmup, policy = (open_artifact(f"local/demo-{name}", "model") for name in ("warmup", "policy"))
reward = open_artifact("local/demo-reward", "model")
before = open_artifact(reward.manifest["parents"]["warmup"].removeprefix("model:"), "model")
out = {"edited": warmup.edited, "before": before.edited, "pinned": policy.manifest["parents"]["warmup"] == warmup.ref,
       "same": policy.manifest["digests"]["warmup"] == warmup.digest,
       "older": reward.manifest["digests"]["warmup"] == before.digest != warmup.digest,
       "reward": reward.manifest["fingerprint"], "cut": HfApi().repo_exists("local/demo-policy-cut"),
       "tags": [tag.target_commit for tag in HfApi().list_repo_refs("local/demo-warmup").tags],
       "tagged": before.revision}
""")
    assert out["edited"] == ["weights.safetensors"] and out["before"] == []
    assert out["pinned"] and out["same"] and out["older"] and not out["cut"]
    assert out["reward"] != "f" * 16 and len(out["tags"]) == 2 and out["tagged"] in out["tags"]


@pytest.mark.slow
def test_what_only_an_older_version_was_made_from(start_hub):
    """An older parent goes first, and what that was made from before it."""
    source, target = start_hub(), start_hub()
    source.python("""
settings = config("demo")
made = publish_chain(settings)
other = config("demo", given={"epochs": 2})
store = Store(other.run)
def put(kind, parents, name):
    content = manifest(kind, other, parents, {}, {})
    place = folder(name)
    if kind is LABELS:
        rows(place, "responses", [{"question_id": name}])
    (place / "x.safetensors").write_bytes(name.encode())
    return store.publish(place, kind, content, cards.card(kind, content, repo_id=store.name(kind)))
labels = put(LABELS, {}, "labels2")
put(WARMUP, {"labels": labels}, "warmup2")
out = None
""")
    promote(source, target)
    assert "0 commits are new" in promote(source, target)
    out, _ = target.python("""
from hfdistill.artifacts.lineage import lineage, text_tree
def newest(name, repo_type="model"):
    return open_artifact(f"local/demo-{name}", repo_type)
old = open_artifact(newest("reward").manifest["parents"]["warmup"].removeprefix("model:"), "model")
out = {"tree": text_tree(lineage("local/demo-policy")), "warmup": newest("warmup").revision, "old": old.revision,
       "labels": newest("labels", "dataset").ref, "of_old": old.manifest["parents"]["labels"],
       "of_new": newest("warmup").manifest["parents"]["labels"],
       "tags": len(HfApi().list_repo_refs("local/demo-labels", repo_type="dataset").tags)}
""")
    assert "cannot be read" not in out["tree"] and out["warmup"] != out["old"]
    assert out["of_new"] == out["labels"] != out["of_old"] and out["tags"] == 2


@pytest.mark.slow
def test_an_older_version_that_is_needed_later_does_not_become_the_newest(start_hub):
    source, target = start_hub(), start_hub()
    make = """
def put(kind, epochs, **parents):
    settings = config("demo", given={"epochs": epochs})
    content = manifest(kind, settings, parents, {}, {})
    return Store(settings.run).publish(folder(f"{kind.name}{epochs}", x__safetensors=b"%d" % epochs), kind, content)
"""
    out, _ = source.python(make + "put(WARMUP, 2)\nout = [put(WARMUP, 1).revision, put(WARMUP, 2).revision]")
    promote(source, target)
    first, _ = target.python('out = open_artifact("local/demo-warmup", "model").manifest')
    source.python(make + f'put(POLICY, 1, warmup=open_artifact("local/demo-warmup@{out[0]}", "model"))\nout = None')
    assert "3 commits are new" in promote(source, target)
    assert "0 commits are new" in promote(source, target)
    out, _ = target.python("""
policy, newest = open_artifact("local/demo-policy", "model"), open_artifact("local/demo-warmup", "model")
older = open_artifact(policy.manifest["parents"]["warmup"].removeprefix("model:"), "model")
out = [newest.manifest, older.manifest["config"]["stage"], policy.manifest["digests"]["warmup"] == older.digest]
""")
    assert out == [first, {"epochs": 1}, True]
