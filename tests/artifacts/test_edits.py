"""What somebody edits by hand, on a real Hub and in folders: cards and licences stay, edited data is noticed."""

import re

import pytest


# A stage as the recipes are: find, prepare, publish; `edit` changes a file as somebody at the Hub's page would.
STAGES = """
from hfdistill.artifacts.lineage import lineage, text_tree
push = os.environ["PUSH"] == "yes"
made = []

def settings(epochs=1, **run):
    return config("edits", given={"epochs": epochs}, push=push, **run)

def stage(kind, settings):
    store = Store(settings.run)
    parents = {"labels": open_artifact(store.parent(LABELS), "dataset", ["responses/*"])} if kind is WARMUP else {}
    key = fingerprint(kind, settings, parents)
    if found := store.find(kind, key):
        return found
    content = manifest(kind, settings, parents)
    store.prepare(kind, content)
    made.append(kind.name)
    place = folder(f"{kind.name}-{key}")
    if kind is LABELS:
        rows(place, "responses", [{"question_id": "a", "response": key}])
    else:
        (place / "weights.safetensors").write_bytes(key.encode())
    return store.publish(place, kind, content)

def run(settings):
    made.clear()
    labels, warmup = stage(LABELS, settings), stage(WARMUP, settings)
    return [list(made), labels.revision, labels.digest, warmup.digest, list(labels.edited)]

def edit(path, content, kind=LABELS):
    name = Store(settings().run).name(kind)
    if push:
        HfApi().upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=name, repo_type=kind.repo_type)
    else:
        (Path(name) / path).parent.mkdir(parents=True, exist_ok=True)
        (Path(name) / path).write_bytes(content)

def read(path, kind=LABELS):
    return (open_artifact(Store(settings().run).name(kind), kind.repo_type).path / path).read_text()

def parquet(text):
    rows(folder("edited"), "responses", [{"question_id": "a", "response": text}])
    return (folder("edited") / "responses" / "part-0.parquet").read_bytes()

def tree(kind=WARMUP):
    return text_tree(lineage(Store(settings().run).name(kind), kind.repo_type))

FILE = "responses/part-0.parquet"
out = {"first": run(settings())}
edit("README.md", b"# a card by hand\\n")
edit("README.md", b"# the model's card by hand\\n", WARMUP)
out["card"] = run(settings())
edit("LICENSE.md", b"mine\\n")
edit("figures/more.png", b"png")
out["licence"] = run(settings())
out["cards"] = [read("README.md"), read("README.md", WARMUP), read("LICENSE.md")]
out["tree"] = tree()
edit(FILE, parquet("by hand"))
out["tree_edited"] = tree()
print("-- edited")
out["edited"] = run(settings())
out["tree_after"] = tree()
out["tree_root"] = tree(LABELS)
print("-- again")
out["again"] = run(settings())
out["refused"] = said(run, settings(2))
out["refused_made"] = list(made)
out["overwritten"] = run(settings(2, overwrite_edits=True))
out["licence_after"] = [read("LICENSE.md"), read("README.md")]
edit("added.jsonl", b"{}\\n")
out["added"] = run(settings(2))
out["published"] = said(Store(settings().run).publish, folder("x"), LABELS, manifest(LABELS, settings(3), {}))
out["given_up"] = run(settings(2, overwrite_edits=True))
out["back"] = said(run, settings())
"""


@pytest.fixture(scope="module", params=["hub", "folders"])
def story(request, hub):
    """What happened, what was printed, and where."""
    more = {"PUSH": "yes"} if request.param == "hub" else {"PUSH": "no", "HF_ENDPOINT": "http://127.0.0.1:9"}
    out, printed = hub.python(STAGES, WORK=str(hub.home / "work" / request.param), **more)
    return out, printed, request.param == "hub"


def test_an_edited_card_and_an_added_licence_change_nothing(story):
    out, printed, _ = story
    assert out["first"][0] == ["labels", "warmup"]
    for after in ("card", "licence"):
        assert out[after][0] == [] and out[after][2:] == out["first"][2:]
    assert out["cards"] == ["# a card by hand\n", "# the model's card by hand\n", "mine\n"]
    assert "edited" not in printed.partition("-- edited")[0] and "edited" not in out["tree"]


def test_edited_data_is_noticed_and_what_is_made_from_it_is_made_anew(story):
    out, printed, _ = story
    noticed = "edits-labels: the data was edited by hand (responses/part-0.parquet), and is used as it is now"
    assert noticed in printed.partition("-- edited")[2].partition("-- again")[0]
    assert out["edited"][0] == ["warmup"] and out["edited"][4] == ["responses/part-0.parquet"]
    assert out["edited"][2] != out["first"][2]
    assert out["again"][0] == [] and out["again"][1:] == out["edited"][1:]


def test_lineage_names_edited_files(story):
    out, _, _ = story
    for tree, when in (("tree_edited", "edited since"), ("tree_after", "edited by hand")):
        line = rf"labels: dataset \S+  \(stage label, [^;]*; {when}: responses/part-0.parquet\)"
        assert re.search(line, out[tree])
    assert "edited by hand: responses/part-0.parquet" in out["tree_root"].splitlines()[0]


def test_edited_data_is_not_overwritten_unless_that_is_asked_for(story):
    out, _, _ = story
    for refused in (out["refused"], out["published"]):
        assert "edits-labels' was edited by hand" in refused and "--overwrite_edits" in refused
    assert "responses/part-0.parquet" in out["refused"] and "added.jsonl" in out["published"]
    assert out["refused_made"] == []
    assert out["overwritten"][0] == ["labels", "warmup"] and out["overwritten"][4] == []
    licence, card = out["licence_after"]
    assert licence == "mine\n" and card != "# a card by hand\n"


def test_the_version_before_an_edit_comes_back(story):
    out, _, on_hub = story
    assert out["added"][0] == ["warmup"] and out["added"][4] == ["added.jsonl"]
    # On a Hub it is there, in a folder it is made again.
    assert out["given_up"][0] == ([] if on_hub else ["labels"]) + ["warmup"] * (not on_hub)
    assert out["given_up"][2] == out["overwritten"][2] and out["given_up"][4] == []
    assert out["back"] is None


def test_an_artifact_has_one_digest_wherever_it_is(hub):
    out, _ = hub.python("""
import shutil
base = folder("base", config_json=b"{}", model__weights_safetensors=b"w" * 20)
(base / "model.safetensors").write_bytes(os.urandom(2_000_000))
for name in ("README.md", "LICENSE", "NOTICE.txt", "plots/x.png", ".gitattributes", ".cache/x", "USE_POLICY.md"):
    (base / name).parent.mkdir(exist_ok=True)
    (base / name).write_text(name)
api = HfApi()
api.create_repo("local/base")
api.upload_folder(repo_id="local/base", folder_path=base, ignore_patterns=[".cache/*"])
there, part, here = (open_artifact("local/base", "model", p) for p in (None, ["config.json"], None))
here = open_artifact(str(base), "model")
out = {"digests": [there.digest, part.digest, here.digest], "files": sorted(here.data), "revision": here.revision}
(base / "README.md").write_text("another card")
out["card"] = open_artifact(str(base), "model").digest == here.digest
(base / "model.safetensors").write_bytes(os.urandom(2_000_000))
other = open_artifact(str(base), "model")
out["weights"] = [other.digest, other.revision]
settings = config("digests", push=False)
key = fingerprint(WARMUP, settings, {"student": here})
out["keys"] = [fingerprint(WARMUP, settings, {"student": each}) == key for each in (there, part, other)]
""")
    assert len(set(out["digests"])) == 1 and out["revision"] == out["digests"][0]
    assert out["files"] == ["USE_POLICY.md", "config_json", "model.safetensors", "model/weights_safetensors"]
    assert out["card"] is True
    # Other weights at the same path are another student.
    assert out["weights"][0] == out["weights"][1] != out["revision"]
    assert out["keys"] == [True, True, False]


def test_a_large_file_is_read_once(hub):
    out, _ = hub.python("""
from hfdistill.artifacts import digests
read = []
original = digests._hash
digests._hash = lambda path, size: read.append(path.name) or original(path, size)
place = folder("large")
(place / "model.safetensors").write_bytes(bytes(3_000_000))
settings = config("once", push=False)
for _ in range(3):
    open_artifact(str(place), "model").digest
manifest(WARMUP, settings, {"student": open_artifact(str(place), "model")})
out = [read.count("model.safetensors")]
settings = config("once")
store = Store(settings.run)
published = store.publish(place, WARMUP, manifest(WARMUP, settings, {}))
read.clear()
again = open_artifact(f"{published.repo_id}@{published.revision}", "model")
out += [again.edited, again.digest == published.manifest["digest"], "model.safetensors" in read]
""")
    # The client's cache names a large file by its sha256: what was fetched is not read again.
    assert out == [1, [], True, False]


def test_offline_the_manifest_is_believed(hub):
    made, _ = hub.python("""
made = publish_chain(config("offline"))["labels"]
part = open_artifact(made.repo_id, "dataset", ["responses/*"])
out = [made.repo_id, made.digest, part.digest]
""")
    for patterns in ("None", "['responses/*']", "[]"):
        code = f"made = open_artifact('{made[0]}', 'dataset', {patterns})\nout = [made.digest, made.edited]"
        assert hub.python(code, HF_HUB_OFFLINE="1")[0] == [made[1], []]
    assert made[1] == made[2]


@pytest.mark.parametrize("push", [True, False])
def test_another_format_is_refused_in_a_sentence(hub, push):
    out, _ = hub.python(f"""
settings = config("old", push={push})
store = Store(settings.run)
content = manifest(LABELS, settings, {{}})
made = store.publish(folder("old", responses_jsonl=b"x"), LABELS, content)
old = json.dumps({{**made.manifest, "format": 1}}).encode()
if {push}:
    HfApi().upload_file(path_or_fileobj=old, path_in_repo="hfdistill.json", repo_id=made.repo_id, repo_type="dataset")
else:
    (made.path / "hfdistill.json").write_bytes(old)
out = [
    said(open_artifact, made.repo_id, "dataset"), said(store.find, LABELS, "0" * 16), said(store.prepare, LABELS),
    said(store.find, LABELS, content["fingerprint"]),
    said(store.publish, folder("new", responses_jsonl=b"y"), LABELS, content),
]
""")
    for message in out:
        assert "old-labels' has a hfdistill.json of format 1" in message and "knows format 2 alone" in message
        assert "choose another run.name" in message and "\n" not in message
