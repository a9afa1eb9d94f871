"""A report that is pushed beside results on a real Hub: it is there, and they are what they were."""

PUSH = """
from hfdistill.report.pushing import push_report
from hfdistill.report.tables import ReportedRow, ReportedSeed, ReportedTable
from hfdistill.report.writing import WrittenReport

settings = config("reported")
store = Store(settings.run)
content = manifest(RESULTS, settings, {})
place = folder("results")
rows(place, "responses", [{"question_id": "a"}])
results = store.publish(place, RESULTS, content)

def push(picture):
    seed = ReportedSeed(f"{results.repo_id}@{results.revision}", "Ours", {})
    row = ReportedRow("Ours", "", False, {2: seed})
    table = ReportedTable("main", "", "", "reported", "word_problems", (2,), True, (row,), (), {})
    names = ("report.md", "report.html", f"pictures/{picture}.svg", "main.json")
    place = folder(f"report-{picture}", **{name: b"told" for name in names})
    return push_report(WrittenReport(place, "", (table,)))

pushed = push("old") + push("new")
found = store.find(RESULTS, content["fingerprint"])
there = HfApi().list_repo_files(results.repo_id, repo_type="dataset")
out = [pushed, found.digest == results.digest, list(found.edited), sorted(there), results.repo_id]
"""


def test_a_pushed_report_lies_beside_results_that_stay_complete(hub):
    (pushed, same, edited, there, repo_id), _ = hub.python(PUSH)
    assert pushed == [repo_id, repo_id]
    assert same and edited == []
    assert {"report.md", "report.html", "pictures/new.svg", "responses/part-0.parquet"} <= set(there)
    assert not {"pictures/old.svg", "main.json"} & set(there)
