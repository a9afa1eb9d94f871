from types import SimpleNamespace

import pytest

from hfdistill.config import TeacherConfig
from hfdistill.errors import HFDistillError
from hfdistill.labels.config import LabelConfig
from hfdistill.tasks import load_task
from hfdistill.teacher.plan import LARGEST_SEED, Grid, Plan, teacher_prompts


def paper_grid():
    settings = LabelConfig()
    return Grid(settings.high_temperatures, settings.high_samples, settings.low_temperatures, settings.low_samples)


def make_plan(count=3, seed=0):
    questions = [SimpleNamespace(question_id=f"q{index}", question=f"What is {index}?") for index in range(count)]
    return Plan(questions, lambda question: f"Q: {question.question}", paper_grid(), seed)


def test_the_papers_grid_is_51_requests_that_count_as_55():
    grid = paper_grid()
    assert grid.requests == 51
    assert grid.responses == 55
    high = [cell.temperature for cell in grid.cells if cell.confidence == "high"]
    low = [cell.temperature for cell in grid.cells if cell.confidence == "low"]
    assert high == [0.0, 0.1, 0.2, 0.3]
    assert low == [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def test_temperature_zero_is_asked_once_and_counts_as_often_as_asked_for():
    cell = Grid([0, 0.5], 7).cells[0]
    assert (cell.temperature, cell.samples, cell.copies) == (0.0, 1, 7)


def test_a_question_is_asked_from_the_lowest_temperature_up():
    requests = make_plan().of(make_plan().questions[0])
    assert [request.temperature for request in requests] == sorted(request.temperature for request in requests)
    assert len({(request.temperature, request.sample) for request in requests}) == 51
    assert {request.prompt for request in requests} == {"Q: What is 0?"}


def seeds_of(plan):
    return [request.seed for question in plan.questions for request in plan.of(question) if request.temperature]


def test_seeds_are_different_in_range_and_the_same_every_time():
    seeds = seeds_of(make_plan(40))
    assert len(set(seeds)) == len(seeds) == 40 * 50
    assert all(1 <= seed <= LARGEST_SEED for seed in seeds)
    assert seeds == seeds_of(make_plan(40))
    assert make_plan(seed=1).seed_of("q0", 0.7, 3) != make_plan(seed=0).seed_of("q0", 0.7, 3)


def test_a_seed_does_not_depend_on_the_other_questions():
    assert make_plan(2).seed_of("q1", 0.7, 0) == make_plan(9).seed_of("q1", 0.7, 0)


def test_greedy_requests_have_no_seed():
    assert make_plan().of(make_plan().questions[0])[0].seed is None


def test_totals_by_temperature():
    plan = make_plan(4)
    assert len(plan) == 204
    assert plan.by_temperature()[0.0] == 4
    assert plan.by_temperature()[0.9] == 20


def test_the_first_look_asks_once_for_a_few_questions():
    look = make_plan(30).first_look(20)
    assert len(look) == 20
    requests = look.of(look.questions[0])
    assert [(request.temperature, request.sample) for request in requests] == [(0.0, 0)]


def test_the_first_look_of_a_grid_without_zero_is_part_of_the_grid():
    questions = [SimpleNamespace(question_id="a", question="?")]
    plan = Plan(questions, lambda question: question.question, Grid([0.3, 0.2], 2))
    assert plan.first_look(5).of(questions[0])[0] in plan.of(questions[0])


def test_the_digest_sees_prompts_and_ids():
    digests = {make_plan(3).prompts_digest(), make_plan(4).prompts_digest()}
    changed = make_plan(3)
    changed.render = lambda question: f"Q: {question.question}\nA:"
    assert len({*digests, changed.prompts_digest()}) == 3
    assert make_plan(3).prompts_digest() in digests


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([-0.1], 1), "between 0 and 2"),
        (([0.1], 0), "at least one"),
        (([0.1, 0.2], 1, [0.2], 1), "twice"),
        (([0.1], 1, [0.5], 0), "at least one"),
    ],
)
def test_an_impossible_grid_is_refused(arguments, message):
    with pytest.raises(HFDistillError, match=message):
        Grid(*arguments)


def test_two_questions_with_one_id_are_refused():
    questions = [SimpleNamespace(question_id="a", question="1"), SimpleNamespace(question_id="a", question="2")]
    with pytest.raises(HFDistillError, match="same question_id"):
        Plan(questions, lambda question: question.question, Grid([0.0], 1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"high_temperatures": []}, "high_temperatures"),
        ({"threshold": 1.5}, "threshold"),
        ({"top_p": 1.0}, "top_p"),
        ({"max_missing": 1.0}, "max_missing"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(HFDistillError, match=message):
        LabelConfig(**settings)


@pytest.mark.parametrize(("settings", "message"), [({"max_cost": 5.0}, "no price"), ({"tries": 0}, "teacher.tries")])
def test_impossible_limits_are_refused(settings, message):
    with pytest.raises(HFDistillError, match=message):
        TeacherConfig("model", **settings)


@pytest.mark.parametrize(("teacher", "examples"), [({}, 2), ({"shots": 1}, 1), ({"chat": True}, 0)])
def test_a_teacher_sees_worked_examples_in_text_and_none_in_a_conversation(teacher, examples):
    task = load_task({"name": "word_problems", "train": 1, "validation": 1, "test": 1, "shots": 2})
    render, stop = teacher_prompts(TeacherConfig("t", **teacher), task)
    prompt = render(task.questions()[0])
    text = prompt if isinstance(prompt, str) else prompt[-1]["content"]
    assert text.count("The answer is") == examples
    assert stop == (() if "chat" in teacher else task.stop)


def test_worked_examples_and_a_system_prompt_are_turns():
    task = load_task({"name": "word_problems", "train": 1, "validation": 1, "test": 1})
    render, _ = teacher_prompts(TeacherConfig("t", chat=True, shots=1, system_prompt="Be brief."), task)
    plan = Plan(task.questions()[:1], render, Grid([0.0], 1))
    assert [turn["role"] for turn in render(plan.questions[0])] == ["system", "user", "assistant", "user"]
    assert plan.prompts_digest() != Plan(plan.questions, task.prompt, Grid([0.0], 1)).prompts_digest()
    with pytest.raises(HFDistillError, match="add teacher.chat: true"):
        TeacherConfig("t", system_prompt="Be brief.")
