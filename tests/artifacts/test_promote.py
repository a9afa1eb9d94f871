"""A run from one Hub to another, directly and in a file: equal trees, links that work, and the run goes on there."""

import hashlib
import io
import json
import re
import tarfile
import urllib.request
from pathlib import Path

import pytest


MAKE = """
settings = config("demo")
settings.student.model = "local/base"
api = HfApi()
api.create_repo("local/base")
api.upload_file(path_or_fileobj=os.urandom(50_000), path_in_repo="model.safetensors", repo_id="local/base")
api.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id="local/base")
store = Store(settings.run)
base = open_artifact("local/base", "model")
made = publish_chain(settings)
# A second version of the warm-up, made from the pinned base: the history has two commits, and the files differ.
again = config("demo", given={"epochs": 2})
again.student.model = "local/base"
parents = {"labels": made["labels"], "student": base}
content = manifest(WARMUP, again, parents, {}, {})
place = folder("second", new__safetensors=b"2" * 20)
card = cards.card(WARMUP, content, repo_id=store.name(WARMUP))
made["warmup2"] = store.publish(place, WARMUP, content, card)
content = manifest(COMPARE, settings, {"policy": made["policy"], "labels": made["labels"]}, {}, {})
pins = json.dumps({"run": "local/demo", "policy": f"local/demo-policy@{made['policy'].revision}"})
place = folder("compare", **{"app.py": b"", "space.json": pins.encode()})
store.publish(place, COMPARE, content, cards.card(COMPARE, content, repo_id=store.name(COMPARE)))
other = config("demo-two")
publish_chain(other)
"""

STATE = """
from hfdistill.artifacts.history import HubHistory
from hfdistill.artifacts.references import parse_ref
from hfdistill.artifacts.lineage import lineage, text_tree
api = HfApi()
space = os.environ.get("NAMESPACE", "local")
run = HubHistory(api, work / "history").run(f"{space}/demo")
settings = config("demo", given={"epochs": 2}, namespace=space)
out = {"repositories": {}, "collection": run.items, "tree": text_tree(lineage(f"{space}/demo-policy"))}
for repository in run.repositories:
    last = repository.commits[-1]
    folder_of = lambda commit: open_artifact(f"{repository.repo_id}@{commit}", repository.repo_type)
    out["repositories"][f"{repository.repo_type} {repository.name}"] = {
        "commits": [
            {
                "id": commit.id, "title": commit.title, "message": commit.message, "names": sorted(commit.files),
                "files": {k: v for k, v in commit.files.items() if not k.endswith(("README.md", ".json"))},
            }
            for commit in repository.commits
        ],
        "tags": repository.tags, "private": repository.private,
        "card": (folder_of(last.id).path / "README.md").read_text() if "README.md" in last.files else "",
        "manifest": folder_of(last.id).manifest,
    }
parents = {
    "labels": open_artifact(f"{space}/demo-labels", "dataset"),
    "student": open_artifact(f"{space}/base", "model"),
}
settings.student.model = f"{space}/base"
found = Store(settings.run).find(WARMUP, fingerprint(WARMUP, settings, parents))
out["found"] = found.revision if found else None
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
    """Equal trees in every commit, the same tags, links and pins that work, and a stage that finds its artifact."""
    assert copy["repositories"].keys() == original["repositories"].keys()
    ids = {}
    for name, old in original["repositories"].items():
        new = copy["repositories"][name]
        # The empty first commit of a repository is each Hub's own.
        old, new = ([commit for commit in each["commits"] if commit["names"]] for each in (old, new))
        assert [commit["files"] for commit in new] == [commit["files"] for commit in old]
        assert [commit["names"] for commit in new] == [commit["names"] for commit in old]
        assert [commit["title"].split()[0] for commit in new] == [commit["title"].split()[0] for commit in old]
        ids |= {before["id"]: after["id"] for before, after in zip(old, new, strict=True)}
    for name, old in original["repositories"].items():
        new = copy["repositories"][name]
        assert sorted(new["tags"].values()) == sorted(ids[commit] for commit in old["tags"].values())
        text = new["card"] + json.dumps(new["manifest"])
        assert old_endpoint not in text and not any(commit in text or commit[:12] in text for commit in ids)
        if new["manifest"]:
            assert f"complete-{new['manifest']['fingerprint']}" in new["tags"]
            for role, ref in old["manifest"]["parents"].items():
                assert new["manifest"]["parents"][role] == ref[:-40] + ids[ref[-40:]]
        check_links(new["card"], endpoint)
    assert copy["collection"] == original["collection"]
    assert copy["found"] == ids[original["found"]]
    assert re.sub("@[0-9a-f]{12}", "", copy["tree"]) == re.sub("@[0-9a-f]{12}", "", original["tree"])


def check_links(card: str, endpoint: str) -> None:
    """Links to repositories are paths, so they lead to the Hub that shows the card."""
    links = re.findall(r"\]\((/[^)]+|http[^)]+)\)", card)
    # The teacher and the first base are names without a repository in this run.
    for link in {*links} - {"/demo/teacher", "/demo/base"}:
        if link.startswith("/"):
            assert urllib.request.urlopen(endpoint + link).status == 200
        else:
            assert link.startswith("https://arxiv.org")


def test_promote(source, original, start_hub):
    target = start_hub()
    assert original["found"] and len(original["repositories"]) == 8
    done = source.command("hub", "promote", "local/demo", "--to", target.endpoint)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{target.endpoint}/datasets/local/demo-labels\n" in done.stdout
    last = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"progress"')][-1]
    assert last["done"] == last["total"] == sum(len(each["commits"]) for each in original["repositories"].values())
    copy, _ = target.python(STATE)
    check_equal(original, copy, target.endpoint, source.endpoint)
    warmup = copy["repositories"]["model demo-warmup"]
    message = warmup["commits"][-1]["message"]
    assert f"Promoted-From: {source.endpoint} model:local/demo-warmup@" in message
    assert "config.stage.epochs: 1 -> 2" in message

    again = source.command("hub", "promote", "demo", "--to", target.endpoint + "/")
    assert again.returncode == 0 and f"0 commits are new on {target.endpoint}\n" in again.stdout
    assert target.python(STATE)[0] == copy


def test_promote_goes_on_after_a_kill(source, original, start_hub):
    target = start_hub()
    status, _ = source.python(f"""
import hfdistill.artifacts.promote as promote
from hfdistill.cli import main
commit = promote.Replay._commit
def stop(self, *args):
    if self.written == 4:
        os.kill(os.getpid(), 9)
    return commit(self, *args)
promote.Replay._commit = stop
child = os.fork()
if child == 0:
    main(["hub", "promote", "local/demo", "--to", {target.endpoint!r}])
out = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
""")
    assert status == -9
    done = source.command("hub", "promote", "local/demo", "--to", target.endpoint)
    assert done.returncode == 0, done.stderr[-3000:]
    total = sum(bool(commit["names"]) for each in original["repositories"].values() for commit in each["commits"])
    assert f"{total - 4} commits are new on" in done.stdout
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
    done = source.command(*words, "--to_token_env", "TARGET", TARGET=target.tokens["write"])
    assert done.returncode == 0, done.stderr[-3000:]
    copy, _ = target.python(STATE, "write", NAMESPACE="lab")
    assert all(repository["private"] for repository in copy["repositories"].values())
    policy = copy["repositories"]["model demo-policy"]
    assert "local/" not in json.dumps(policy["manifest"]["parents"]) and "local/" not in policy["card"]
    assert copy["found"] is not None
    out, _ = target.python(
        """
space = open_artifact("lab/demo-compare", "space")
out = [json.loads((space.path / "space.json").read_text()), open_artifact("lab/demo-policy", "model").ref]
""",
        "write",
    )
    assert out[0] == {"run": "lab/demo", "policy": out[1].removeprefix("model:")}
    exported = target.command("hub", "export", "lab/demo", str(tmp_path / "lab.tar"), token="read")
    assert "8 repositories of lab/demo" in exported.stdout, exported.stderr
    assert "model lab/base@" in copy["tree"] or "student lab/base" in copy["tree"]


def test_a_foreign_history_is_not_buried(source, start_hub):
    target = start_hub()
    target.python("""
HfApi().create_repo("local/demo-policy")
HfApi().upload_file(path_or_fileobj=b"mine", path_in_repo="a.txt", repo_id="local/demo-policy")
out = None
""")
    done = source.command("hub", "promote", "local/demo", "--to", target.endpoint)
    assert done.returncode == 2
    assert "model 'local/demo-policy' on" in done.stderr and "history of its own" in done.stderr


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
    assert "8 repositories of local/demo" in done.stdout
    return path


def test_export_and_import(source, original, exported, start_hub, tmp_path):
    target = start_hub()
    done = target.command("hub", "import", str(exported))
    assert done.returncode == 0, done.stderr[-3000:]
    copy, _ = target.python(STATE)
    check_equal(original, copy, target.endpoint, source.endpoint)
    again = tmp_path / "again.tar"
    source.command("hub", "export", "local/demo", str(again))
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
        "its end is missing": lambda name, data: None if name == "export.sha256" else (name, data),
        "does not belong there": lambda name, data: ("../evil" if name == content else name, data),
    }
    for trouble, change in changes.items():
        with pytest.raises(HFDistillError, match=trouble):
            Archive(rewrite(exported, tmp_path / "changed.tar", change), tmp_path)
    with tarfile.open(exported) as archive:
        index = json.loads(archive.extractfile("export.json").read())
    path = json.loads(json.dumps(index))
    path["repositories"][0]["commits"][-1]["files"]["../evil"] = content.removeprefix("contents/")
    forged = {
        "'../evil' is no path": path,
        "is not what an export holds": {**index, "repositories": [{"repo_type": "model"}]},
        "has another format": {**index, "format": 2},
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
    assert not (tmp_path.parent / "evil").exists()


def test_a_second_promotion_adds_what_is_new(source, start_hub):
    target = start_hub()
    words = ("hub", "promote", "local/demo", "--to", target.endpoint)
    assert source.command(*words).returncode == 0
    source.python("""
settings = config("demo", given={"epochs": 3})
parents = {"warmup": open_artifact("local/demo-warmup", "model")}
content = manifest(POLICY, settings, parents, {}, {})
card = cards.card(POLICY, content, repo_id="local/demo-policy")
Store(settings.run).publish(folder("third", new__safetensors=b"3"), POLICY, content, card)
out = None
""")
    done = source.command(*words)
    assert done.returncode == 0 and "1 commits are new" in done.stdout, done.stderr
    out, _ = target.python("""
made = open_artifact("local/demo-policy", "model")
out = [made.manifest, open_artifact("local/demo-warmup", "model").ref]
""")
    assert out[0]["config"]["stage"] == {"epochs": 3} and out[0]["parents"]["warmup"] == out[1]
