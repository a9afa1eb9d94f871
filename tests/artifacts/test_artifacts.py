"""Artifacts against a real Hub: one verified commit and a tag, found again, and every missing right named early."""

import json

import pytest


def test_publish_find_and_say_what_changed(hub):
    out, printed = hub.python("""
settings = config()
store = Store(settings.run)
key = fingerprint(LABELS, settings, {})
place = folder("one", big__weights_safetensors=b"x" * 100)
before = store.find(LABELS, key)
store.prepare(LABELS)
unfinished = store.find(LABELS, key)
rows(place, "responses", [{"question_id": "a", "response": "b"}])
made = store.publish(place, LABELS, manifest(LABELS, settings, {}, {}, {}), "# card\\n")
found = store.find(LABELS, key)
changed = config(given={"epochs": 2})
store.prepare(LABELS, manifest(LABELS, changed, {}))
print("the expensive step")
(place / "big" / "weights_safetensors").unlink()
second = store.publish(place, LABELS, manifest(LABELS, changed, {}, {}, {}), "# card\\n")
api = HfApi()
commits = api.list_repo_commits(made.repo_id, repo_type="dataset")
tags = {tag.name: tag.target_commit for tag in api.list_repo_refs(made.repo_id, repo_type="dataset").tags}
out = {
    "before": before, "unfinished": unfinished, "repo": made.repo_id, "made": made.revision, "found": found.revision,
    "stored": json.loads((found.path / "hfdistill.json").read_text())["fingerprint"] == key,
    "second": second.revision, "files": api.list_repo_files(made.repo_id, repo_type="dataset"),
    "first_files": sorted(api.list_repo_files(made.repo_id, repo_type="dataset", revision=made.revision)),
    "tags": tags, "key": key, "titles": [commit.title for commit in commits],
    "message": commits[0].message,
}
again = store.find(LABELS, key)
out["again"] = [again.revision, again.manifest["fingerprint"]]
out["newest"] = api.repo_info(made.repo_id, repo_type="dataset").sha
out["again_files"] = sorted(api.list_repo_files(made.repo_id, repo_type="dataset"))
""")
    assert out["before"] is None and out["unfinished"] is None
    assert out["repo"] == "local/demo-labels"
    assert out["found"] == out["made"] == out["tags"][f"complete-{out['key']}"]
    assert out["stored"]
    assert out["second"] != out["made"]
    # What an earlier configuration made is put in front again, where later stages read it.
    assert out["again"] == [out["newest"], out["key"]] and out["newest"] != out["second"]
    assert out["again_files"] == out["first_files"]
    assert "big/weights_safetensors" in out["first_files"] and "big/weights_safetensors" not in out["files"]
    assert {"README.md", "hfdistill.json", "responses/part-0.parquet"} <= set(out["files"])
    assert out["titles"][0].startswith("label ")
    assert "config.stage.epochs: 1 -> 2" in out["message"]
    told = "local/demo-labels: a new version, because of\n  config.stage.epochs: 1 -> 2\n"
    assert f"{told}the expensive step" in printed and printed.count(told) == 1


@pytest.mark.parametrize("xet", ["0", "1"])
def test_contents_that_differ_on_the_hub_are_noticed(hub, xet):
    out, _ = hub.python(
        """
from huggingface_hub import CommitOperationAdd
from hfdistill.artifacts import push
store = Store(config("verify" + os.environ["HF_HUB_DISABLE_XET"]).run)
store.prepare(WARMUP)
name = store.name(WARMUP)
place = folder(name.replace("/", "-"), small_txt=b"small", large__model_safetensors=os.urandom(40_000))
(place / "model.safetensors").write_bytes(os.urandom(30_000))
revision = push.push_files(HfApi(), name, "model", push.files_of(place), "complete-f", "first")
def check():
    added = [CommitOperationAdd(n, str(p)) for n, p in push.files_of(place).items()]
    push.verify(HfApi(), name, "model", revision, added)
entry = next(e for e in HfApi().list_repo_tree(name, revision=revision) if e.path == "model.safetensors")
out = [entry.lfs is not None, said(check)]
(place / "small_txt").write_bytes(b"SMALL")
out.append(said(check))
(place / "small_txt").write_bytes(b"small")
(place / "model.safetensors").write_bytes(os.urandom(30_000))
out.append(said(check))
(place / "model.safetensors").write_bytes(b"short")
out.append(said(check))
(place / "new").write_bytes(b"")
(place / "model.safetensors").unlink()
out.append(said(check))
""",
        HF_HUB_DISABLE_XET=xet,
    )
    large, same, small, sha, size, missing = out
    assert large and same is None
    assert "small_txt arrived as blob" in small
    assert "model.safetensors arrived with sha256" in sha
    assert "model.safetensors arrived with 30000 bytes instead of 5" in size
    assert "new did not arrive" in missing and "not marked complete" in missing


def test_pickles_are_refused_by_name(hub):
    out, _ = hub.python("""
settings = config("pickles", push=False)
store = Store(settings.run)
out = {}
for name in ("training_args.bin", "sub__optimizer.pt", "model.PKL", "rng_state.pth"):
    place = folder(name, **{name: b"x"})
    out[name] = said(store.publish, place, WARMUP, manifest(WARMUP, settings, {}, {}, {}), "# card")
out["left"] = Path(store.name(WARMUP)).exists()
""")
    assert out.pop("left") is False
    for name, message in out.items():
        assert f"/{name.replace('__', '/')} is a pickle" in message


def test_folders_instead_of_a_hub(tmp_path, hub):
    """`push: false` needs neither a Hub nor a network."""
    out, printed = hub.python(
        """
settings = config("folders", push=False)
made = publish_chain(settings)
store = Store(settings.run)
key = made["policy"].manifest["fingerprint"]
out = {
    "repo": made["policy"].repo_id, "revision": made["policy"].revision, "key": key,
    "parents": made["policy"].manifest["parents"],
    "found": store.find(POLICY, key).revision, "other": store.find(POLICY, "0" * 16),
}
place = Path(store.name(POLICY))
place.rename(place.with_name(place.name + ".previous"))  # cut off between the two renames
out["after"] = store.find(POLICY, key).revision
place = Path(store.name(REWARD))
content = manifest(REWARD, config(given={"epochs": 3}), {}, {}, {})
out["replaced"] = store.publish(folder("again", weights=b"1"), REWARD, content, "# card").revision
out["left"] = sorted(p.name for p in place.parent.iterdir())
""",
        HF_ENDPOINT="http://127.0.0.1:9",
        HF_HUB_OFFLINE="1",
    )
    assert out["repo"].endswith("/artifacts/folders-policy")
    assert out["revision"] == out["key"] == out["found"] == out["after"]
    assert out["parents"]["warmup"].startswith("model:/") and out["other"] is None
    assert out["replaced"] != out["key"]
    assert "config.stage.epochs: 1 -> 3" in printed
    kinds = ("labels", "policy", "results", "reward", "triples", "warmup")
    assert out["left"] == [f"folders-{kind}" for kind in kinds]


def test_missing_rights_are_named_before_anything_expensive(start_hub):
    hub = start_hub(
        {"write": ("ann", "write"), "read": ("ann", "read"), "other": ("bob", "write")},
        (("lab", "ann", "write"), ("club", "ann", "read")),
    )
    out, _ = hub.python(
        """
store = Store(config("mine").run)
store.prepare(LABELS)
out = {"mine": store.name(LABELS)}
for org in ("lab", "club", "nobody", "bob"):
    out[org] = said(Store(config(namespace=org).run).prepare, LABELS)
secret = config("hidden", private=True).run
Store(secret).prepare(LABELS)
out["hidden"] = HfApi().repo_info("ann/hidden-labels", repo_type="dataset").private
out["was_public"] = said(Store(config("mine", private=True).run).prepare, LABELS)
""",
        "write",
    )
    assert out["mine"] == "ann/mine-labels"
    assert out["lab"] is None and out["hidden"] is True
    for org in ("club", "nobody", "bob"):
        assert f"{org}/demo-labels" in out[org] and "403" in out[org] and "write access" in out[org]
    assert "is public, but run.private is true" in out["was_public"]

    code = """
out = [
    said(lambda: Store(config("mine").run).prepare(LABELS)),
    said(lambda: Store(config("new", namespace="ann").run).prepare(LABELS)),
    said(open_artifact, "ann/hidden-labels", "dataset"),
]
"""
    read, _ = hub.python(code, "read")
    assert "ann/mine-labels" in read[0] and "403" in read[0] and "write access" in read[0]
    assert "403" in read[1] and "holds nothing to read yet" in read[2]
    nobody, _ = hub.python(code)
    assert "HF_TOKEN" in nobody[0]
    assert "401" in nobody[1] and "HF_TOKEN" in nobody[1]
    assert "ann/hidden-labels" in nobody[2] and "does not exist" in nobody[2] and "log in" in nobody[2]
    stranger, _ = hub.python("""out = said(open_artifact, "ann/hidden-labels", "dataset")""", "other")
    assert "ann/hidden-labels" in stranger
    wrong, _ = hub.python("out = said(lambda: Store(config().run))", HF_TOKEN="hf_wrongwrongwrongwrong")
    assert "401" in wrong and "not valid" in wrong


def test_gated_parents(start_hub):
    hub = start_hub({"write": ("ann", "write"), "other": ("bob", "write")})
    hub.python(
        """
api = HfApi()
api.create_repo("ann/base")
api.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id="ann/base")
api.update_repo_settings("ann/base", gated="manual")
out = None
""",
        "write",
    )
    out, _ = hub.python('out = said(open_artifact, "ann/base", "model")', "other")
    assert "model 'ann/base' is gated: ask for access on http://127.0.0.1" in out


def test_offline_and_unreachable(hub):
    code = """
out = [
    said(lambda: Store(config().run)),
    said(lambda: Store(config(namespace="me").run).prepare(LABELS)),
    said(lambda: Store(config(namespace="me").run).find(LABELS, "0" * 16)),
    said(open_artifact, "me/nothing", "model"),
]
"""
    offline, _ = hub.python(code, HF_HUB_OFFLINE="1")
    for message in offline[:3]:
        assert "HF_HUB_OFFLINE is set" in message and "run.push" in message
    assert "me/nothing" in offline[3]
    pinned, _ = hub.python("""
Store(config("kept").run).prepare(LABELS)
HfApi().upload_file(path_or_fileobj=b"x", path_in_repo="a", repo_id="local/kept-labels", repo_type="dataset")
out = open_artifact("local/kept-labels", "dataset").revision
""")
    code_pinned = f"out = open_artifact('local/kept-labels@{pinned}', 'dataset').revision"
    assert hub.python(code_pinned, HF_HUB_OFFLINE="1")[0] == pinned
    gone, _ = hub.python(code, HF_ENDPOINT="http://127.0.0.1:9")
    for message in gone:
        assert "http://127.0.0.1:9" in message and "HF_ENDPOINT" in message


def test_the_manifest_holds_no_secret(hub):
    out, _ = hub.python(
        """
sys.argv = [str(Path.cwd() / "recipes" / "label_teacher.py"), "--config", str(Path.cwd() / "x y.yaml"),
            "--hub_token", "abc", "--api_key=abc", "--max_new_tokens", "7", "--teacher.api_key_env", "SECRET_OF_MINE",
            "--teacher.endpoints", "https://me:pass@host/x", "--note", os.environ["SECRET_OF_MINE"],
            "--run.output_dir", "/home/somebody/runs", "--label.responses=/home/somebody/mine.jsonl"]
settings = config(given={"epochs": 1, "token": os.environ["HF_TOKEN"]})
settings.teacher.api_key_env = "SECRET_OF_MINE"
parents = {"base": open_artifact(str(folder("base")), "model")}
content = manifest(LABELS, settings, parents, {"note": "hf_ABCDEFGHIJKLMNOPQRSTUV"}, {})
out = {"text": json.dumps(content), "command": content["command"], "teacher": content["teacher"]}
out["same"] = content["fingerprint"] == fingerprint(LABELS, settings, parents)
""",
        HF_TOKEN="hf_0123456789abcdefghij",
        SECRET_OF_MINE="a-very-secret-value",
        ACCELERATE_MIXED_PRECISION="no",
    )
    for secret in ("0123456789abcdefghij", "ABCDEFGHIJ", "a-very-secret-value", "pass", "abc", "user:", "127.0.0.1"):
        assert secret not in out["text"]
    assert out["command"].startswith("accelerate launch recipes/label_teacher.py --config 'x y.yaml' --hub_token '***")
    assert "--max_new_tokens 7" in out["command"] and "--teacher.api_key_env SECRET_OF_MINE" in out["command"]
    assert "https://***@host/x" in out["command"]
    assert out["command"].endswith("--run.output_dir runs --label.responses=mine.jsonl")
    told = {"model": "demo/teacher", "kind": "auto", "chat": False, "license": "apache-2.0"}
    assert out["teacher"] == {**told, "shots": None, "system_prompt": None}
    assert out["same"]


def test_changes_are_told_a_line_each():
    from hfdistill.artifacts.manifest import describe_changes

    old = {"config": {"seed": 0, "stage": {"lr": 1, "old": 1}}, "parents": {"a": "model:x@1"}, "metrics": {"x": 1}}
    new = json.loads(json.dumps(old)) | {"parents": {"a": "model:x@2"}, "metrics": {"x": 2}, "teacher": {"model": "t"}}
    new["config"]["stage"] = {"lr": 2, "new": [1, 2]}
    assert describe_changes(old, new) == [
        "config.stage.lr: 1 -> 2",
        "config.stage.new: not set -> [1, 2]",
        "config.stage.old: 1 -> not set",
        "parents.a: model:x@1 -> model:x@2",
        "teacher.model: not set -> t",
    ]
    assert describe_changes(old, old) == [] and describe_changes({}, new) == []


def test_a_parent_with_equal_data_is_no_change():
    from hfdistill.artifacts.manifest import describe_changes

    old = {"config": {}, "parents": {"a": "model:x@1"}, "digests": {"a": "d1"}}
    assert describe_changes(old, old | {"parents": {"a": "model:x@2"}}) == []
    other = old | {"parents": {"a": "model:x@2"}, "digests": {"a": "d2"}}
    assert describe_changes(old, other) == ["parents.a: model:x@1 -> model:x@2"]
    # In a folder the reference may be what it was, although somebody edited the data.
    assert describe_changes(old, old | {"digests": {"a": "d2"}}) == ["digests.a: d1 -> d2"]


def test_parents_are_opened_by_the_table(hub):
    out, _ = hub.python("""
from types import SimpleNamespace
settings = config("parents")
publish_chain(settings)
HfApi().create_repo("local/student")
HfApi().upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id="local/student")
settings.student.model = "local/student"
settings.stage = SimpleNamespace(labels=None, warmup=None, reward=None, triples="local/parents-triples", other=1)
store = Store(config("parents", suffix="-variant").run)
def opened(kind, files=None):
    return {role: [a.repo_id, a.repo_type, a.in_part] for role, a in store.open_parents(kind, settings, files).items()}
out = [opened(WARMUP, {"labels": ["responses/*"]}), opened(POLICY)]
settings.stage.warmup = "local/student"
out.append(opened(TRIPLES)["warmup"][0])
""")
    warmup, policy, named = out
    assert warmup == {
        "labels": ["local/parents-labels", "dataset", True],
        "student": ["local/student", "model", False],
    }
    assert list(policy) == ["warmup", "reward", "triples", "labels"]
    assert policy["triples"] == ["local/parents-triples", "dataset", False]
    assert named == "local/student"
