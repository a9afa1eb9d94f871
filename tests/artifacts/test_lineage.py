"""Lineage of a run made on a real Hub: it ends in teacher, student and questions."""

import pytest

from hfdistill.artifacts import drawing
from hfdistill.artifacts.drawing import draw
from hfdistill.artifacts.lineage import Node, text_tree


@pytest.fixture(scope="module")
def chain(hub) -> dict[str, str]:
    """A whole run; its artifacts' revisions by kind."""
    return hub.python("out = {kind: made.revision for kind, made in publish_chain(config()).items()}")[0]


def test_the_tree_ends_in_teacher_student_and_questions(hub, chain):
    done = hub.command("lineage", "local/demo-policy")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    short = {kind: revision[:12] for kind, revision in chain.items()}
    assert lines[0].startswith(f"model local/demo-policy@{short['policy']}  (stage ppo, ")
    assert lines[1].startswith(f"├── reward: model local/demo-reward@{short['reward']}")
    assert any(f"labels: dataset local/demo-labels@{short['labels']}" in line for line in lines)
    ends = [line.lstrip("│├└─ ") for line in lines]
    assert "teacher demo/teacher  (licence apache-2.0)" in ends
    assert "questions task word_problems  (test 2, train 6, validation 2)" in ends
    assert "student demo/base  (licence mit)" in ends
    assert ends.count("teacher demo/teacher  (licence apache-2.0)") == 1
    assert sum("see above" in line for line in lines) == 4


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_drawing(hub, chain, tmp_path, suffix):
    path = tmp_path / "new" / f"lineage.{suffix}"
    words = ("lineage", f"dataset:local/demo-results@{chain['results']}", "--output", str(path))
    done = hub.command(*words)
    assert done.returncode == 0, done.stderr
    assert str(path) in done.stdout
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert path.read_bytes().startswith(starts[suffix]) and path.stat().st_size > 3000


def test_an_older_revision_has_its_own_tree(hub, chain):
    out, _ = hub.python(f"""
from hfdistill.artifacts.lineage import lineage, text_tree
settings = config(given={{"epochs": 9}})
store = Store(settings.run)
parents = {{"labels": open_artifact("local/demo-labels", "dataset")}}
content = manifest(WARMUP, settings, parents, {{}}, {{}})
new = store.publish(folder("newer", weights=b"2"), WARMUP, content, "# card")
older = text_tree(lineage("local/demo-warmup@{chain["warmup"]}"))
out = [text_tree(lineage("local/demo-warmup")), older, new.revision]
""")
    newest, older, revision = out
    assert f"demo-warmup@{revision[:12]}" in newest
    assert f"demo-warmup@{chain['warmup'][:12]}" in older


def test_what_cannot_be_read_is_said(hub, tmp_path):
    hub.python('publish_chain(config("broken"))\nout = None')
    out, _ = hub.python(
        """
from hfdistill.artifacts.lineage import lineage, text_tree
api = HfApi()
api.delete_repo("local/broken-triples", repo_type="dataset")
out = [text_tree(lineage("local/broken-policy"))]
api.create_repo("local/plain")
api.upload_file(path_or_fileobj=b"x", path_in_repo="a.txt", repo_id="local/plain")
out.append(said(lineage, "local/plain"))
out.append(said(lineage, "local/none"))
api.create_repo("local/broken-warmup", repo_type="dataset")
out.append(said(lineage, "local/broken-warmup"))
out.append(text_tree(lineage("local/broken-warmup", "model")))
""",
        HF_HOME=str(tmp_path),  # what was downloaded before the deletion would still be found
    )
    tree, plain, missing, both, chosen = out
    assert "local/broken-triples" in tree and "cannot be read: dataset 'local/broken-triples" in tree
    assert "teacher demo/teacher" in tree
    assert "model 'local/plain' has no hfdistill.json" in plain
    assert "local/none" in missing and "does not exist" in missing
    assert "is the name of a model and of a dataset" in both and "--type model" in both
    assert chosen.startswith("model local/broken-warmup@")


def test_folders_have_a_lineage_too(hub):
    out, _ = hub.python(
        """
from hfdistill.artifacts.lineage import lineage, text_tree
settings = config("local", push=False)
made = publish_chain(settings)
out = [text_tree(lineage(made["policy"].repo_id))]
content = manifest(REWARD, config(given={"epochs": 5}), {}, {}, {})
Store(settings.run).publish(folder("x", weights=b"1"), REWARD, content, "# card")
out.append(text_tree(lineage(made["policy"].repo_id)))
""",
        HF_ENDPOINT="http://127.0.0.1:9",
    )
    assert "artifacts/local-labels@" in out[0] and "questions task word_problems" in out[0]
    assert "the folder holds another version now" not in out[0]
    assert "the folder holds another version now" in out[1]


def test_bad_output_names(tmp_path):
    from hfdistill.errors import HFDistillError

    with pytest.raises(HFDistillError, match=r"lineage\.txt.*\.png, \.svg, \.pdf"):
        draw(Node("", "model", "a"), tmp_path / "lineage.txt")


def test_shared_ancestors_are_drawn_once():
    source = Node("teacher", "teacher", "T")
    shared = Node("data", "dataset", "d", "f" * 40, "stage label", [source])
    again = Node("other", "dataset", "d", "f" * 40, "stage label", [source])
    root = Node("", "model", "m", "local", "", [shared, again])
    assert text_tree(root).splitlines() == [
        "model m@local",
        "├── data: dataset d@ffffffffffff  (stage label)",
        "│   └── teacher T",
        "└── other: dataset d@ffffffffffff  (see above)",
    ]


def test_no_arrow_runs_behind_a_box():
    questions = Node("questions", "questions", "task")
    labels = Node("labels", "dataset", "me/labels", "1", parents=[questions])
    base = Node("student", "model", "me/base", "2")
    warmup = Node("warmup", "model", "me/warmup", "3", parents=[labels, base])
    triples = Node("triples", "dataset", "me/triples", "4", parents=[labels, warmup])
    policy = Node("Ours", "model", "me/policy", "5", parents=[labels, triples, warmup])
    root = Node("", "dataset", "me/results", "6", parents=[policy, warmup, base])
    nodes, levels, edges = drawing._collect(root)
    place = drawing.lay_out(nodes, levels, edges)
    passing = [slot for slot in place if slot not in nodes]
    assert len(passing) == 7
    for slot in passing:
        x, y = place[slot]
        boxes = [place[key] for key in nodes if place[key][0] == x]
        assert all(abs(y - box) > drawing.HEIGHT / 2 + 0.1 for _, box in boxes)
    # Between two columns there are no boxes.
    assert drawing.COLUMN > drawing.WIDTH
