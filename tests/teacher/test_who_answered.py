"""Answers by another model than was asked are set apart, named, and asked for again or accepted."""

import sys
from pathlib import Path

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.labels.sampled import SampledResponses
from hfdistill.teacher.journal import Journal


sys.path.insert(0, str(Path(__file__).parent))
from asking import EACH, GRID, ask
from sampling_driver import make_plan


OTHER = {"kind": "openai", "owned_by": "litellm", "other_model": "cheap/fallback"}
PROBES = 20  # answers before the run's own, about


@pytest.mark.parametrize("fallback", [False, True])
def test_a_fallback_now_and_then_leaves_no_trace(tmp_path, stand_in, capsys, fallback):
    name = "stand-in/teacher" if fallback else "cheap/fallback"
    endpoint = stand_in(**OTHER, other_after=PROBES, other_share=0.2, fallback=fallback)
    _, rows = ask(tmp_path, endpoint.url, tries=50)
    assert len(rows) == 8 * EACH and {(row.status, row.model) for row in rows} == {("done", None)}
    with Journal(tmp_path / "journal.sqlite") as journal:
        apart = journal.apart()
    assert set(apart) == {name} and apart[name] > 0
    assert f"answers by other models were set apart, and asked for again: {name} ({apart[name]})" in (
        capsys.readouterr().err
    )


def test_a_fallback_that_stays_ends_the_run_and_is_kept_when_it_is_accepted(tmp_path, stand_in):
    endpoint = stand_in(**OTHER, other_after=PROBES + 9)
    with pytest.raises(HFDistillError, match="answered by 'cheap/fallback' instead of 'stand-in/teacher'"):
        ask(tmp_path, endpoint.url, concurrency=4, patience=1.0)
    with Journal(tmp_path / "journal.sqlite") as journal:
        own = {(row.question_id, row.temperature, row.sample) for row in journal.rows() if row.status == "done"}
        apart = journal.apart()["cheap/fallback"]
    before = endpoint.control()["answered"]
    _, rows = ask(tmp_path, endpoint.url, accept_models=["cheap/fallback"], sampling={"retry_failed": True})
    assert len(rows) == 8 * EACH
    theirs = {(row.question_id, row.temperature, row.sample) for row in rows if row.model == "cheap/fallback"}
    assert own and not theirs & own and len(theirs | own) == len(rows)
    # What was set apart is not asked for again.
    assert apart > 0 and endpoint.control()["answered"] - before < len(theirs)
    with Journal(tmp_path / "journal.sqlite") as journal:
        shown = list(SampledResponses(journal, make_plan(8, GRID), "stand-in/teacher", "openai_completions"))
    assert {row["model"] for row in shown} == {"stand-in/teacher", "cheap/fallback"}


def test_a_model_swapped_at_the_end_is_noticed_at_the_end(tmp_path, stand_in):
    endpoint = stand_in()

    def swap(journal):
        endpoint.control(sha="b" * 40)

    with pytest.raises(HFDistillError, match=r"serves another model now: model_sha was 'a+' and is 'b+'.*set apart"):
        ask(tmp_path, endpoint.url, look=swap)
    name, behind = f"stand-in/teacher at {'b' * 12}", 8 * (EACH - 1) - 1  # the first look, and a probe
    with Journal(tmp_path / "journal.sqlite") as journal:
        assert journal.apart() == {name: behind}
    answered = endpoint.control()["answered"]
    _, rows = ask(tmp_path, endpoint.url, accept_models=[name])
    assert len(rows) == 8 * EACH and sum(row.model == name for row in rows) == behind
    assert endpoint.control()["answered"] == answered


def test_a_gateway_that_mixes_models_from_the_start_is_refused(tmp_path, stand_in):
    endpoint = stand_in(**OTHER, other_share=0.5)
    with pytest.raises(HFDistillError, match=r"lets several models answer: .*cheap/fallback \(\d+\)"):
        ask(tmp_path, endpoint.url)
    with pytest.raises(HFDistillError, match="answers by a fallback of its gateway, stand-in/teacher"):
        ask(tmp_path / "header", stand_in(**OTHER, fallback=True).url)


def test_a_name_of_the_gateways_own_is_no_other_model(tmp_path, stand_in):
    endpoint = stand_in(kind="openai", model="gateway-name", other_model="teacher-2026-01-01")
    made, rows = ask(tmp_path, endpoint.url, served_model="gateway-name")
    assert made["model_id"] == "gateway-name" and {row.model for row in rows} == {None}
    assert endpoint.control()["bodies"][-1]["model"] == "gateway-name"


def test_the_systems_that_answered_are_told(tmp_path, stand_in, capsys):
    endpoint = stand_in(kind="openai", fingerprint="fp_1")
    ask(tmp_path, endpoint.url, look=lambda journal: endpoint.control(fingerprint="fp_2"))
    told = f"the responses come from several systems: vllm 0.20.1 fp_2 ({8 * (EACH - 1) - 1}), vllm 0.20.1 fp_1 (9)"
    assert told in capsys.readouterr().err
