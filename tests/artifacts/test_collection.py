"""The Collection of a run on a real Hub."""


def test_every_artifact_of_a_run_stands_in_one_collection(hub):
    out, printed = hub.python("""
settings = config("alpha")
publish_chain(settings)
publish_chain(config("beta"))
ablation = config("alpha", suffix="-minus")
store = Store(ablation.run)
content = manifest(POLICY, ablation, {}, {}, {})
store.publish(folder("ablation", weights=b"1"), POLICY, content, "# card")
(work / "runs" / "alpha" / "collection.json").rename(work / "kept.json")
content = manifest(POLICY, config("alpha", given={"epochs": 2}), {}, {}, {})
Store(settings.run).publish(folder("again", weights=b"2"), POLICY, content, "# card")
api = HfApi()
found = {}
for each in api.list_collections(owner="local"):
    found.setdefault(each.title, []).append(each.slug)
items = api.get_collection(found["hfdistill: alpha"][0]).items
out = {
    "found": found, "items": [(item.item_type, item.item_id, item.note) for item in items],
    "kept": json.loads((work / "kept.json").read_text()),
    "again": json.loads((work / "runs" / "alpha" / "collection.json").read_text()),
}
""")
    assert "stands in no Collection" not in printed
    assert {title: len(slugs) for title, slugs in out["found"].items()} == {
        "hfdistill: alpha": 1,
        "hfdistill: beta": 1,
    }
    kinds = {"labels": "dataset", "warmup": "model", "triples": "dataset", "reward": "model", "policy": "model"}
    kinds |= {"results": "dataset", "policy-minus": "model"}
    assert [tuple(item[:2]) for item in out["items"]] == [
        (repo_type, f"local/alpha-{kind}") for kind, repo_type in kinds.items()
    ]
    notes = [item[2] for item in out["items"]]
    assert all(notes) and notes[-1].endswith("(variant minus)")
    assert out["kept"] == out["again"] and list(out["kept"].values()) == out["found"]["hfdistill: alpha"]


def test_a_collection_that_was_deleted_is_made_anew(hub):
    out, printed = hub.python("""
settings = config("gone")
publish_chain(settings)
api = HfApi()
first = next(each.slug for each in api.list_collections(owner="local") if each.title == "hfdistill: gone")
api.delete_collection(first)
content = manifest(POLICY, config("gone", given={"epochs": 2}), {}, {}, {})
made = Store(settings.run).publish(folder("gone-again", weights=b"2"), POLICY, content, "# card")
slugs = [each.slug for each in api.list_collections(owner="local") if each.title == "hfdistill: gone"]
out = [first, slugs]
""")
    first, slugs = out
    assert len(slugs) == 1 and slugs[0] != first
    assert "stands in no Collection" not in printed


REFUSED = """
from hfdistill.artifacts import collection
out = collection.add_to_collection(config("plain").run, "bob", LABELS, "ann/plain-labels")
"""


def test_a_refused_collection_is_no_failure(start_hub):
    hub = start_hub({"write": ("ann", "write")})
    out, printed = hub.python(REFUSED, "write")
    assert out is None
    assert "ann/plain-labels is published, but stands in no Collection" in printed and "403" in printed


def test_a_hub_without_collections_is_no_failure(hub):
    # Below this path the server has no route at all, as an older Hub has none for Collections.
    out, printed = hub.python(REFUSED, HF_ENDPOINT=f"{hub.endpoint}/old")
    assert out is None
    assert "ann/plain-labels is published, but stands in no Collection" in printed and "404" in printed
