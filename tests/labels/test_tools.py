"""Files as other tools write them: each is read by a layout, or refused by a sentence that says what to give."""

import json
import re
import shlex
from pathlib import Path

import pytest

from hfdistill.cli import main, make_parser
from hfdistill.errors import HFDistillError
from hfdistill.labels.checked import CheckedResponses
from hfdistill.labels.columns import LAYOUTS, column_mapping, found
from hfdistill.labels.foreign import RowReader, batch_requests, foreign_rows
from hfdistill.labels.labeler import HIGH, LOW
from hfdistill.labels.matching import QuestionMatcher
from hfdistill.labels.vote import VoteLabeler
from hfdistill.tasks import load_task


OWN = Path(__file__).parents[1] / "data" / "own"
GENERIC = {"name": "generic"}


class Read:
    """A file's rows as `hfdistill label` reads them."""

    def __init__(
        self, folder: Path, file: str | Path, *columns: str, task: dict = GENERIC, requests: str | None = None
    ):
        self.rejected = []
        asked = batch_requests(str(OWN / requests)) if requests else None
        self.reader = RowReader(column_mapping(columns), 0.3, asked)
        self.matcher = QuestionMatcher(load_task(task))
        self.responses = CheckedResponses(folder / "responses.jsonl")
        self.responses.fill(foreign_rows(str(OWN / file)), self.reader, self.matcher, self.rejected.append)
        self.rows = list(self.responses)

    def column(self, name: str) -> list:
        return [row.get(name) for row in self.rows]


@pytest.mark.parametrize(
    ("file", "columns", "requests"),
    [
        ("distilabel_messages.jsonl", ["distilabel"], None),
        ("distilabel_grouped.jsonl", ["distilabel"], None),
        ("messages.jsonl", ["messages"], None),
        ("messages.jsonl", ["question=messages.-2.content", "response=messages.-1.content"], None),
        ("sharegpt.jsonl", ["sharegpt"], None),
        ("trl.jsonl", ["trl"], None),
        ("vllm.json", ["vllm"], None),
        ("vllm_report.json", ["vllm", "rows=results"], None),
        ("batch_chat.jsonl", ["openai_batch"], "batch_requests.jsonl"),
        ("batch_responses.jsonl", ["openai_batch"], "batch_requests.jsonl"),
        ("lm_eval.jsonl", ["lm_eval"], None),
    ],
)
def test_every_tool_gives_two_questions_with_three_responses_each(tmp_path, file, columns, requests):
    read = Read(tmp_path, file, *columns, requests=requests)
    assert read.rejected == [] and len(read.rows) == 6
    assert sorted(question.question[:3] for question in read.matcher.by_id.values()) == ["A c", "Mia"]
    assert all(row["response"].startswith(("We multiply. The answer is 1", "The answer is 7.")) for row in read.rows)
    for question in read.matcher.by_id:
        of_question = [row["sample"] for row in read.rows if row["question_id"] == question]
        assert of_question == [0, 1, 2], "each sample has a number of its own"


def test_what_tools_say_of_each_response(tmp_path):
    assert Read(tmp_path, "vllm.json", "vllm").column("finish_reason") == ["stop", "stop", "length"] * 2
    assert Read(tmp_path, "distilabel_messages.jsonl", "distilabel").column("model") == ["m1", "m2", "m3"] * 2
    assert Read(tmp_path, "distilabel_grouped.jsonl", "distilabel").column("completion_tokens") == [4, 5, 6] * 2
    batch = Read(tmp_path, "batch_chat.jsonl", "openai_batch", requests="batch_requests.jsonl")
    assert batch.column("temperature") == [0.2] * 6 and batch.column("confidence") == [HIGH] * 6
    assert batch.column("model") == ["m-1"] * 6 and set(batch.column("completion_tokens")) == {None}


def test_lm_eval_has_filters_golds_options_and_greedy_responses(tmp_path):
    read = Read(tmp_path, "lm_eval.jsonl", "lm_eval")
    assert read.reader.repeated == 2 and sorted(read.matcher.golds.values()) == ["12", "15"]
    assert read.column("temperature") == [0.0] * 6, "do_sample: false"
    choices = Read(tmp_path, "lm_eval_choices.jsonl", "lm_eval", task={"name": "generic", "answer": "choice"})
    (question,) = choices.matcher.by_id.values()
    assert question.options == ("stone", "apple", "rope") and question.category == "food"
    assert choices.matcher.golds == {question.question_id: "B"}
    refused = Read(tmp_path, "lm_eval_loglikelihoods.jsonl", "lm_eval").rejected
    assert {row.reason for row in refused} == {"response_not_text"} and "log-likelihoods" in refused[0].detail


@pytest.mark.parametrize(
    ("file", "columns", "reason", "said"),
    [
        (
            "distilabel_messages.jsonl",
            [],
            "no_question",
            "messages, generations, generation_models: give --columns distilabel",
        ),
        ("messages.jsonl", [], "no_question", "the columns are messages: give --columns messages"),
        ("sharegpt.jsonl", [], "no_question", "give --columns sharegpt"),
        ("trl.jsonl", [], "no_question", "give --columns trl"),
        ("vllm.json", [], "no_question", "give --columns vllm"),
        ("vllm_report.json", ["vllm"], "no_question", "give --columns rows=results"),
        ("lm_eval.jsonl", [], "no_question", "give --columns lm_eval"),
        ("batch_chat.jsonl", [], "no_question", "give --columns openai_batch"),
        ("batch_chat.jsonl", ["openai_batch"], "unknown_question", "--requests names the requests"),
        ("batch_failed.jsonl", ["openai_batch"], "request_failed", "It took too long."),
    ],
)
def test_a_rejected_row_says_what_to_give(tmp_path, file, columns, reason, said):
    read = Read(tmp_path, file, *columns)
    assert not read.rows and {row.reason for row in read.rejected} == {reason}
    assert said in read.rejected[0].detail


def rows_read(rows: list[dict], *columns: str) -> list:
    reader = RowReader(column_mapping(columns))
    return [made for number, row in enumerate(rows, 1) for made in reader.responses(number, row)]


def test_near_names_lists_in_texts_and_several_turns():
    (near,) = rows_read([{"question": "q", "responses": ["a", "b"]}])
    assert near.detail.endswith("the columns are question, responses: give --columns response=responses")
    (written,) = rows_read([{"question": "q", "response": '["a", "b"]'}])
    assert written.reason == "list_in_text" and written.detail == "give --columns response=response.json"
    assert [
        row["response"] for row in rows_read([{"question": "q", "response": '["a", "b"]'}], "response=response.json")
    ] == ["a", "b"]
    turns = [{"role": role, "content": role} for role in ("user", "assistant", "user", "assistant")]
    (talk,) = rows_read([{"messages": turns}], "messages")
    assert talk.reason == "several_turns"


@pytest.mark.parametrize(("given", "read"), [("0.2", 0.2), ("hot", None), ("nan", None), (True, None), (1, 1.0)])
def test_temperatures_of_tables_are_texts(given, read):
    (row,) = rows_read([{"question": "q", "response": "r", "temperature": given}])
    assert (row.reason == "bad_temperature") if read is None else (row["temperature"] == read)


def test_options_tell_questions_of_one_text_apart():
    matcher = QuestionMatcher(load_task({"name": "generic", "answer": "choice"}))
    asked = [
        matcher.find({"question": "Which is right?", "question_id": number, "options": options})
        for number, options in (("1", ["a", "b"]), ("2", ["c", "d"]), ("3", ["a", "b"]))
    ]
    assert [question.question_id for question in asked] == ["1", "2", "1"]
    assert matcher.find({"question": "Which is right?"})[0] == "several_questions"
    assert matcher.find({"question": "Another?", "question_id": "2", "options": ["x"]})[0] == "repeated_id"


def test_what_the_student_is_asked_names_the_question(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"question": "2 + 2?", "answer": "#### 4"}\n')
    (tmp_path / "test.jsonl").write_text('{"question": "3 + 3?", "answer": "#### 6"}\n')
    matcher = QuestionMatcher(load_task({"name": "gsm8k", "path": str(tmp_path)}))
    (first, _) = matcher.by_id.values()
    assert matcher.find({"question": matcher.task.prompt(first, shots=0)}) is first


def test_a_gold_that_is_none_or_two_leaves_the_question_without():
    matcher = QuestionMatcher(load_task(GENERIC))
    for question, gold in (("a", "4"), ("a", "4.0"), ("b", "many"), ("c", "1"), ("c", "2"), ("c", "1")):
        matcher.find({"question": question, "gold": gold})
    assert [matcher.by_id[key].question for key in matcher.golds] == ["a"]
    assert [matcher.by_id[key].question for key in matcher.bad_golds] == ["b", "c"]


def test_nobody_votes(tmp_path):
    responses = CheckedResponses(tmp_path / "responses.jsonl")
    rows = enumerate([{"question": "q", "response": "r", "temperature": t} for t in (1.0, 0.8)], 1)
    matcher = QuestionMatcher(load_task(GENERIC))
    responses.fill(iter(rows), RowReader(column_mapping([])), matcher, lambda row: None)
    assert {row["confidence"] for row in responses} == {LOW}
    with pytest.raises(HFDistillError, match="none of 2 responses votes.* raise it to 0.8"):
        responses.check_voters(0.3, VoteLabeler())


def test_requests_that_are_none(tmp_path):
    file = tmp_path / "requests.jsonl"
    for content, said in (
        ('{"custom_id": "a"}', "is no request"),
        ('{"custom_id": "a", "body": {"prompt": "q"}}\n' * 2, "two requests"),
    ):
        file.write_text(content)
        with pytest.raises(HFDistillError, match=said):
            batch_requests(str(file))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_places_of_layouts_lead_nowhere_in_other_rows(layout):
    for place in column_mapping([layout]).values():
        assert found({}, place) == [] and found({"response": {"body": []}}, place) in ([], [{"body": []}])


def test_extract_reads_the_same_rows(tmp_path, capsys):
    def extract(file: str, *flags: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(
                [
                    "extract",
                    "--task",
                    "generic",
                    "--input",
                    str(OWN / file),
                    "--output",
                    str(tmp_path / "o.jsonl"),
                    *flags,
                ]
            )
        return ended.value.code

    assert extract("vllm.json", "--columns", "vllm") == 0
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [row["answer"] for row in rows] == [["12", "12", "7"], ["15", "15", "7"]]
    assert extract("messages.jsonl", "--field", "messages.-1.content") == 0
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [row["answer"] for row in rows] == ["12", "12", "7", "15", "15", "7"]
    capsys.readouterr()
    assert extract("messages.jsonl") == 1
    assert "the columns are messages: give --columns messages" in capsys.readouterr().err
    assert extract("messages.jsonl", "--output", str(OWN / "messages.jsonl")) == 2
    assert "is the file that is read" in capsys.readouterr().err


def test_the_page_names_every_tool_and_its_commands_are_understood():
    text = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \| .* \| .* \| .* \|$", text, re.MULTILINE)) == LAYOUTS.keys() - {"hfdistill"}
    commands = [line.partition("#")[0] for line in text.splitlines() if line.startswith("hfdistill ")]
    asked = [make_parser().parse_args(shlex.split(line)[1:]) for line in commands]
    named = [column_mapping(args.columns) for args in asked if "columns" in args and args.columns]
    assert len(named) == 3 and named[0]["rows"] == "results"
