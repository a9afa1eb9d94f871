"""A run from one Hub to another, directly and in a file: equal trees, links that work, and the run goes on there."""

import hashlib
import io
import json
import re
import tarfile
import urllib.request
from pathlib import Path

import pytest

from .promoting import promote


MAKE = """
settings = config("demo")
settings.student.model, settings.teacher.model = "local/base", "local/large"
api = HfApi()

def upload(repo_id, path, content, repo_type="model"):
    return api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=repo_id, repo_type=repo_type).oid

for model in ("local/base", "local/large"):
    api.create_repo(model)
    upload(model, "model.safetensors", os.urandom(50_000))
    pinned = upload(model, "config.json", b"{}")
# The endpoint told the commit of its weights; a card came later.
upload("local/large", "README.md", b"The large one.")
store = Store(settings.run)
base = open_artifact("local/base", "model")
# Of a kind that only the demo has.
from hfdistill.kinds import Kind
own = Kind("own", "pretrain", "model", "a model of its own", "")
place = folder("own", **{"model.safetensors": b"own"})
own = store.publish(place, own, manifest(own, settings, {}), "A model.")
made = publish_chain(settings, served={"model_id": "local/large", "model_sha": pinned})
# A second version of the warm-up, made from the pinned base: the first is the parent of the rest.
again = config("demo", given={"epochs": 2})
again.student.model, again.teacher.model = "local/base", "local/large"
parents = {"labels": made["labels"], "student": base}
content = manifest(WARMUP, again, parents, {}, {})
place = folder("second", new__safetensors=b"2" * 20)
card = cards.card(WARMUP, content, repo_id=store.name(WARMUP))
made["warmup2"] = store.publish(place, WARMUP, content, card)
content = manifest(COMPARE, settings, {"policy": made["policy"], "labels": made["labels"], "own": own}, {}, {})
pins = json.dumps({"run": "local/demo", "policy": f"local/demo-policy@{made['policy'].revision}"})
place = folder("compare", **{"app.py": b"", "space.json": pins.encode()})
store.publish(place, COMPARE, content, cards.card(COMPARE, content, repo_id=store.name(COMPARE)))
# By hand: a line on a card, a licence, a picture.
card = (made["labels"].path / "README.md").read_text() + "\\nBy hand, see [it](/local/demo-policy).\\n"
upload("local/demo-labels", "README.md", card.encode(), "dataset")
upload("local/demo-policy", "LICENSE", b"Do as you like.")
upload("local/demo-policy", "plots/extra.png", b"a picture")
other = config("demo-two")
publish_chain(other)
"""

STATE = """
import re
from hfdistill.artifacts.versions import HubVersions
from hfdistill.artifacts.lineage import lineage, text_tree
api = HfApi()
space = os.environ.get("NAMESPACE", "local")
run = HubVersions(api, f"{space}/demo", work / "versions")
collection = next((c for c in api.list_collections(owner=space) if c.title == "hfdistill: demo"), None)
items = api.get_collection(collection.slug).items if collection else []
out = {
    "repositories": {},
    "order": [version.repo_id for version in run.versions],
    "collection": [(item.item_type, item.item_id, item.note) for item in items],
    "tree": text_tree(lineage(f"{space}/demo-policy")),
    "edited": [],
}
for (repo_type, repo_id), versions in run.places.items():
    commits = api.list_repo_commits(repo_id, repo_type=repo_type)
    opened = [open_artifact(f"{repo_id}@{version.revision}", repo_type) for version in versions]
    out["edited"] += [artifact.ref for artifact in opened if artifact.edited]
    out["repositories"][f"{repo_type} {repo_id.partition('/')[2]}"] = {
        "versions": [
            {
                "id": version.revision, "message": version.message, "names": sorted(version.files),
                "commits": version.commits, "tagged": version.tagged, "fingerprint": version.identity[0],
                "digest": artifact.digest,
                "files": {k: v for k, v in version.files.items() if not k.endswith(("README.md", ".json"))},
                "card": (artifact.path / "README.md").read_text() if "README.md" in version.files else "",
                "manifest": artifact.manifest,
            }
            for version, artifact in zip(versions, opened, strict=True)
        ],
        "commits": [(commit.commit_id, commit.title) for commit in commits],
        "tags": {tag.name: tag.target_commit for tag in api.list_repo_refs(repo_id, repo_type=repo_type).tags},
        "private": versions[0].private,
    }
parents = {
    "labels": open_artifact(f"{space}/demo-labels", "dataset"),
    "student": open_artifact(f"{space}/base", "model"),
}
settings = config("demo", given={"epochs": 2}, namespace=space)
settings.student.model, settings.teacher.model = f"{space}/base", f"{space}/large"
found = Store(settings.run).find(WARMUP, fingerprint(WARMUP, settings, parents))
out["found"] = found.revision if found else None
# Every commit that a card or a manifest names is one of its repository, or of another of them.
versions = [version for repository in out["repositories"].values() for version in repository["versions"]]
texts = [version["card"] + json.dumps(version["manifest"] | {"files": {}}) for version in versions]
named = {sha for text in texts for sha in re.findall(r"\\b[0-9a-f]{40}\\b", text)}
known = {commit for r in out["repositories"].values() for commit, _ in r["commits"]}
out["dangling"] = sorted(named - known)
"""


@pytest.fixture(scope="module")
def source(start_hub):
    hub = start_hub()
    hub.python(MAKE + "out = None")
    return hub


@pytest.fixture(scope="module")
def original(source) -> dict:
    return source.python(STATE)[0]


def check_equal(original: dict, copy: dict, endpoint: str, old_endpoint: str) -> None:
    """Equal data, the same identities and tags, links and pins that work, and a stage that finds its artifact."""
    assert copy["repositories"].keys() == original["repositories"].keys()
    assert copy["order"] == original["order"] and copy["order"][-1] == "local/demo-compare"
    ids = {}
    for name, old in original["repositories"].items():
        new = copy["repositories"][name]
        # Besides the empty first commit, which is each Hub's own, there is one a version.
        assert len(new["commits"]) == 1 + len(new["versions"])
        for key in ("files", "names", "fingerprint"):
            assert [version[key] for version in new["versions"]] == [version[key] for version in old["versions"]]
        if not name.startswith("space"):  # whose pins are data, and differ
            assert [version["digest"] for version in new["versions"]] == [
                version["digest"] for version in old["versions"]
            ]
        for before, after in zip(old["versions"], new["versions"], strict=True):
            ids |= dict.fromkeys(before["commits"], after["id"])
    assert copy["dangling"] == copy["edited"] == []
    for name, old in original["repositories"].items():
        new = copy["repositories"][name]
        # What has no fingerprint is tagged by the digest of its data.
        complete = {
            f"complete-{each['fingerprint'] if each['tagged'] else each['digest']}": ids[each["id"]]
            for each in old["versions"]
        }
        assert new["tags"] == complete
        for before, after in zip(old["versions"], new["versions"], strict=True):
            text = after["card"] + json.dumps(after["manifest"])
            assert old_endpoint not in text and not any(commit in text or commit[:12] in text for commit in ids)
            if after["manifest"]:
                assert f"complete-{after['manifest']['fingerprint']}" in new["tags"]
                for role, ref in before["manifest"]["parents"].items():
                    assert after["manifest"]["parents"][role] == ref[:-40] + ids[ref[-40:]]
                for key in ("config", "digests", "teacher", "student", "metrics", "cost", "created", "run"):
                    same = {**before["manifest"], "metrics": {**before["manifest"]["metrics"], "served": None}}
                    assert (after["manifest"] | {"metrics": same["metrics"]})[key] == same[key]
            check_links(after["card"], endpoint)
    assert [item[:2] for item in copy["collection"]] == [item[:2] for item in original["collection"]]
    assert copy["collection"][1:] == original["collection"][1:]
    assert copy["found"] == ids[original["found"]]
    assert re.sub("@[0-9a-f]{12}", "", copy["tree"]) == re.sub("@[0-9a-f]{12}", "", original["tree"])
    assert "cannot be read" not in copy["tree"]


def check_links(card: str, endpoint: str) -> None:
    """Links to repositories are paths, so they lead to the Hub that shows the card."""
    links = re.findall(r"\]\((/[^)]+|http[^)]+)\)", card)
    for link in set(links):
        if link.startswith("/"):
            assert urllib.request.urlopen(endpoint + link).status == 200
        else:
            assert link.startswith("https://arxiv.org")


def total(original: dict) -> int:
    return sum(len(each["versions"]) for each in original["repositories"].values())


def test_promote(source, original, start_hub):
    target = start_hub()
    assert original["found"] and len(original["repositories"]) == 10 and not original["dangling"]
    assert len(original["repositories"]["model demo-warmup"]["versions"]) == 2
    said = promote(source, target)
    assert f"{target.endpoint}/datasets/local/demo-labels\n" in said
    last = [json.loads(line) for line in said.splitlines() if line.startswith('{"progress"')][-1]
    assert last["done"] == last["total"] == total(original)
    copy, _ = target.python(STATE)
    check_equal(original, copy, target.endpoint, source.endpoint)
    message = copy["repositories"]["model demo-warmup"]["versions"][-1]["message"]
    assert f"Promoted-From: {source.endpoint} model:local/demo-warmup@" in message
    assert "config.stage.epochs: 1 -> 2" in message
    # What was added by hand came along, and the endpoint's commit is one of the large model there.
    labels = copy["repositories"]["dataset demo-labels"]["versions"][-1]
    assert labels["card"].endswith("\nBy hand, see [it](/local/demo-policy).\n")
    served = labels["manifest"]["metrics"]["served"]["model_sha"]
    assert served == copy["repositories"]["model large"]["versions"][-1]["id"]
    assert {"LICENSE", "plots/extra.png"} < set(copy["repositories"]["model demo-policy"]["versions"][-1]["names"])

    again = source.command("hub", "promote", "demo", "--to", target.endpoint + "/")
    assert again.returncode == 0 and f"0 commits are new on {target.endpoint}\n" in again.stdout
    assert target.python(STATE)[0] == copy


@pytest.mark.parametrize("moment", ["between two versions", "between commit and tag"])
def test_promote_goes_on_after_a_kill(source, original, start_hub, moment):
    target = start_hub()
    status, _ = source.python(f"""
from huggingface_hub import HfApi
from hfdistill.cli import main
commit, count = HfApi.create_commit, 0
def stop(self, *args, **kwargs):
    global count
    count += 1
    late = {moment!r} == "between commit and tag" and commit(self, *args, **kwargs) if count == 5 else None
    return os.kill(os.getpid(), 9) if count == 5 else commit(self, *args, **kwargs)
HfApi.create_commit = stop
child = os.fork()
if child == 0:
    main(["hub", "promote", "local/demo", "--to", {target.endpoint!r}])
out = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
""")
    assert status == -9
    made = 5 if moment == "between commit and tag" else 4
    assert f"{total(original) - made} commits are new on" in promote(source, target)
    copy, _ = target.python(STATE)
    check_equal(original, copy, target.endpoint, source.endpoint)


def test_promote_into_an_organisation_of_a_closed_hub(source, original, start_hub, tmp_path):
    target = start_hub({"write": ("ann", "write"), "read": ("ann", "read")}, (("lab", "ann", "write"),))
    words = ("hub", "promote", "local/demo", "--to", target.endpoint, "--namespace", "lab", "--private")
    for name, trouble in ((None, "401"), ("read", "403")):
        flags = ("--to_token_env", "TARGET") if name else ()
        done = source.command(*words, *flags, TARGET=target.tokens["read"])
        assert done.returncode == 2 and trouble in done.stderr and target.endpoint in done.stderr
        assert "Traceback" not in done.stderr
    promote(source, target, *words[5:], "--to_token_env", "TARGET", TARGET=target.tokens["write"])
    copy, _ = target.python(STATE, "write", NAMESPACE="lab")
    assert all(repository["private"] for repository in copy["repositories"].values())
    policy = copy["repositories"]["model demo-policy"]["versions"][-1]
    assert "local/" not in json.dumps(policy["manifest"]["parents"]) and "local/" not in policy["card"]
    assert copy["found"] is not None and copy["dangling"] == copy["edited"] == []
    out, _ = target.python(
        """
space = open_artifact("lab/demo-compare", "space")
collection = HfApi().get_collection(next(iter(HfApi().list_collections(owner="lab"))).slug)
pins = json.loads((space.path / "space.json").read_text())
out = [pins, open_artifact("lab/demo-policy", "model").ref, collection.private]
""",
        "write",
    )
    assert out[0] == {"run": "lab/demo", "policy": out[1].removeprefix("model:")} and out[2]
    exported = target.command("hub", "export", "lab/demo", str(tmp_path / "lab.tar"), token="read")
    assert "10 repositories of lab/demo" in exported.stdout, exported.stderr
    assert "model lab/base@" in copy["tree"] or "student lab/base" in copy["tree"]

    # What is private goes on being private, and is not shown by a repository that somebody made public before.
    other = start_hub()
    again = ("--from", target.endpoint, "--from_token_env", "SOURCE")
    other.python('HfApi().create_repo("local/demo-policy"); out = None')
    done = source.command("hub", "promote", "lab/demo", "--to", other.endpoint, *again, SOURCE=target.tokens["read"])
    assert done.returncode == 2 and "'local/demo-policy' on" in done.stderr and "is public, but" in done.stderr
    out, _ = other.python("""
out = [repo.id for repo in [*HfApi().list_models(author="local"), *HfApi().list_datasets(author="local")]]
HfApi().delete_repo("local/demo-policy")
""")
    assert out == ["local/demo-policy"]
    done = source.command("hub", "promote", "lab/demo", "--to", other.endpoint, *again, SOURCE=target.tokens["read"])
    assert done.returncode == 0, done.stderr
    third, _ = other.python(STATE)
    assert all(repository["private"] for repository in third["repositories"].values())
    assert third["found"] and third["dangling"] == third["edited"] == []
    assert all(
        version["message"].count("Promoted-From") == 1
        for each in third["repositories"].values()
        for version in each["versions"]
    )


def test_data_of_its_own_are_not_buried(source, start_hub):
    target = start_hub()
    mine = """
HfApi().create_repo("local/demo-policy")
HfApi().upload_file(path_or_fileobj=b"mine", path_in_repo="a.txt", repo_id="local/demo-policy")
out = None
"""
    target.python(mine)
    refused = source.command("hub", "promote", "local/demo", "--to", target.endpoint)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "model 'local/demo-policy' on" in refused.stderr and "data of its own" in refused.stderr
    out, _ = target.python(
        'out = list(HfApi().list_datasets(author="local")); HfApi().delete_repo("local/demo-policy")'
    )
    assert out == []  # nothing was written
    promote(source, target)
    # What is there already may be gone on from; only something new would bury that.
    target.python(mine.replace('HfApi().create_repo("local/demo-policy")', ""))
    assert "0 commits are new" in promote(source, target)


def test_bad_input(source, tmp_path):
    nowhere = "http://127.0.0.1:9"
    expected = {
        ("promote", "local/nothing", "--to", nowhere): "has no artifact of run 'nothing'",
        ("promote", "local/demo", "--to", "nowhere"): "is no address of a Hub",
        ("promote", "local/demo", "--to", source.endpoint): "names the Hub that the run is on already",
        ("promote", "local/demo", "--to", nowhere): f"cannot be reached at {nowhere}",
        ("promote", "local/demo", "--to", nowhere, "--to_token_env", "NO_SUCH"): "NO_SUCH holds no token",
        ("export", "local/demo", str(tmp_path / "no" / "x.tar")): "there is no folder",
        ("import", str(tmp_path / "x.tar")): "there is no file",
    }
    out, _ = source.python(f"""
import contextlib, io
from hfdistill.cli import main
out = []
for words in {list(expected)!r}:
    with contextlib.redirect_stderr(io.StringIO()) as said_to_user:
        try:
            main(["hub", *words])
        except SystemExit as end:
            out.append([end.code, said_to_user.getvalue()])
""")
    for (code, said), (words, trouble) in zip(out, expected.items(), strict=True):
        assert code == 2 and trouble in said and said.count("\n") == 1, (words, said)


@pytest.fixture(scope="module")
def exported(source, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("export") / "demo.tar"
    done = source.command("hub", "export", "local/demo", str(path))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "10 repositories of local/demo" in done.stdout
    return path


def test_export_and_import(source, original, exported, start_hub, tmp_path):
    target = start_hub()
    done = target.command("hub", "import", str(exported))
    assert done.returncode == 0, done.stderr[-3000:]
    copy, _ = target.python(STATE)
    check_equal(original, copy, target.endpoint, source.endpoint)
    again = tmp_path / "again.tar"
    source.command("hub", "export", "local/demo", str(again), PYTHONHASHSEED="7")
    assert again.read_bytes() == exported.read_bytes()


def rewrite(path: Path, target: Path, change) -> Path:
    """Copy a tar member by member; `change(name, content)` gives the new pair, or `None` to leave it out."""
    with tarfile.open(path) as old, tarfile.open(target, "w") as new:
        for member in old:
            changed = change(member.name, old.extractfile(member).read())
            if changed:
                info = tarfile.TarInfo(changed[0])
                info.size = len(changed[1])
                new.addfile(info, io.BytesIO(changed[1]))
    return target


def test_a_damaged_export_is_refused_before_anything_is_written(exported, start_hub, tmp_path):
    from hfdistill.artifacts.export import Archive
    from hfdistill.errors import HFDistillError

    whole = exported.read_bytes()
    with tarfile.open(exported) as archive:
        names = archive.getnames()
    content = next(name for name in names if name.startswith("contents/"))
    damaged = {
        "cut": (whole[: len(whole) // 2], "is not a complete export"),
        "empty": (b"", "is not a complete export"),
        "text": (b"no tar at all" * 100, "is not a complete export"),
    }
    for name, (data, trouble) in damaged.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(HFDistillError, match=trouble):
            Archive(tmp_path / name, tmp_path)
    changes = {
        "another checksum": lambda name, data: (name, data[:-1] + b"!" if name == content else data),
        "is missing": lambda name, data: None if name == content else (name, data),
        "export.json has another checksum": lambda name, data: (name, data + b" " if name == "export.json" else data),
        "a part of it is missing": lambda name, data: None if name == "export.sha256" else (name, data),
        "does not belong there": lambda name, data: ("../evil" if name == content else name, data),
    }
    for trouble, change in changes.items():
        with pytest.raises(HFDistillError, match=trouble):
            Archive(rewrite(exported, tmp_path / "changed.tar", change), tmp_path)
    with tarfile.open(exported) as archive:
        index = json.loads(archive.extractfile("export.json").read())
    path = json.loads(json.dumps(index))
    path["versions"][0]["files"]["../evil"] = content.removeprefix("contents/")
    forged = {
        "'../evil' is no path": path,
        "is not what an export holds": {**index, "versions": [{"repo_type": "model"}]},
        "has another format": {**index, "format": 1},
    }
    for trouble, changed in forged.items():
        text = json.dumps(changed).encode()
        new = {"export.json": text, "export.sha256": hashlib.sha256(text).hexdigest().encode()}
        tar = rewrite(exported, tmp_path / "forged.tar", lambda name, data, new=new: (name, new.get(name, data)))
        with pytest.raises(HFDistillError, match=trouble):
            Archive(tar, tmp_path)
    with tarfile.open(tmp_path / "link.tar", "w") as archive:
        link = tarfile.TarInfo(content)
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(HFDistillError, match="is no plain file"):
        Archive(tmp_path / "link.tar", tmp_path)
    sparse = io.BytesIO()
    with tarfile.open(fileobj=sparse, mode="w") as archive:
        hole = tarfile.TarInfo(content)
        hole.type = tarfile.GNUTYPE_SPARSE
        archive.addfile(hole)
    (tmp_path / "sparse.tar").write_bytes(sparse.getvalue())
    with pytest.raises(HFDistillError, match="is no plain file"):
        Archive(tmp_path / "sparse.tar", tmp_path)
    assert not (tmp_path.parent / "evil").exists()
