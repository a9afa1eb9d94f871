"""Texts, messages and ids: what is written stays text, what is sampled stays ids, and no beginning stands twice."""

import pytest

from hfdistill.chat import Chat
from hfdistill.encoding import Encoder
from hfdistill.errors import HFDistillError
from hfdistill.student import settle_pad_token
from hfdistill.tasks import load_task

from .tokenizers_of_families import LAYOUTS, end_token_ids, make_tokenizer


def encoder_of(name, chat=None):
    tokenizer, ends = make_tokenizer(name), end_token_ids(name)
    settle_pad_token(tokenizer, ends)
    return Encoder(tokenizer, ends, chat)


@pytest.fixture
def task():
    return load_task({"name": "word_problems", "train": 3, "validation": 1, "test": 1})


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_text_begins_as_its_tokenizer_begins_it_and_once(name):
    encoder = encoder_of(name)
    usual = encoder.tokenizer("Q: Why?\nA:")["input_ids"]
    assert encoder.prompt_ids("Q: Why?\nA:") == usual
    if LAYOUTS[name].adds_bos:
        assert usual[0] == encoder.tokenizer.bos_token_id
        assert encoder.prompt_ids(LAYOUTS[name].bos + "Q: Why?\nA:") == usual


@pytest.mark.parametrize("name", [name for name, layout in LAYOUTS.items() if layout.template])
def test_messages_are_what_the_template_makes_of_them(name):
    encoder = encoder_of(name, Chat())
    messages = [{"role": "user", "content": "How many plums?"}]
    rendered = encoder.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
    assert encoder.prompt_ids(messages) == rendered["input_ids"]
    bos = encoder.tokenizer.bos_token_id
    if LAYOUTS[name].adds_bos:
        assert encoder.prompt_ids(messages).count(bos) == 1


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_special_token_that_somebody_writes_is_text(name, task):
    encoder = encoder_of(name, Chat() if LAYOUTS[name].template else None)
    special = {encoder.tokenizer.convert_tokens_to_ids(token) for token in LAYOUTS[name].special}
    written = LAYOUTS[name].eos
    response = encoder.response_ids(f"The answer is 5.{written} Or not.")
    assert special.isdisjoint(response[:-1]) and response[-1] == encoder.eos_token_id
    assert encoder.decode(response) == f"The answer is 5.{written} Or not."
    plain, asking = (task.question(text, "test", "q") for text in ("What is x?", f"What is {written}?"))
    usual = [token for token in encoder.question_ids(task, plain) if token in special]
    assert [token for token in encoder.question_ids(task, asking) if token in special] == usual
    # A tokenizer that puts a blank in front of each text does so around it, too.
    blank = " " if LAYOUTS[name].words == "blank first" else ""
    assert f"What is {blank}{written}{blank}?" in encoder.decode(encoder.question_ids(task, asking))
    if encoder.chat is not None:
        messages = [{"role": "user", "content": f"What is {written}?"}]
        assert [token for token in encoder.prompt_ids(messages) if token in special] == [
            token for token in encoder.prompt_ids([{"role": "user", "content": "What is x?"}]) if token in special
        ]


def test_half_a_character_stays_its_ids():
    encoder = encoder_of("qwen2.5-instruct")
    ids = encoder.response_ids("😀")[:1]
    assert encoder.decode(ids) == "\ufffd"
    assert encoder.response_ids(encoder.decode(ids), finished=False) != ids


def test_blanks_before_punctuation_are_kept():
    encoder = encoder_of("llama3-base")
    encoder.tokenizer.clean_up_tokenization_spaces = True
    text = "It 's 3 . So x = 4 , y ? do n't"
    assert encoder.decode(encoder.response_ids(text)) == text


def test_worked_examples_are_turns_of_their_own_and_a_prefill_begins_the_last(task):
    chat = Chat("Answer briefly.", prefill="Step 1:")
    question = task.questions()[0]
    messages = chat.messages(task, question, 2)
    roles = [turn["role"] for turn in messages]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user", "assistant"]
    assert messages[1]["content"].startswith("Q: Ann has 4 coins") and messages[2]["content"].endswith("answer is 9.")
    assert messages[5]["content"] == task.prompt(question, shots=0)
    encoder = encoder_of("smollm2-instruct", chat)
    text = encoder.tokenizer.decode(encoder.question_ids(task, question))
    assert text.endswith("<|im_start|>assistant\nStep 1:")


@pytest.mark.parametrize("name", ["gsm8k", "mmlu_pro", "generic"])
def test_worked_examples_as_turns_say_what_the_text_says(name, tmp_path):
    example = {"question": "1 + 1?", "response": "It is 2.\nThe answer is 2."}
    options = {"gsm8k": {}, "generic": {"examples": [example], "shots": 1}, "mmlu_pro": {"path": str(tmp_path)}}
    row = '{"question_id": 1, "question": "Who?", "options": ["me", "you"], "category": "law", "answer": "A", '
    for split in ("test", "validation"):
        (tmp_path / f"{split}.jsonl").write_text(
            row + '"answer_index": 0, "cot_content": "A: Let\'s think step by step. It is me."}\n', encoding="utf-8"
        )
    task = load_task({"name": name, **options[name]})
    question = task.questions()[0] if name == "mmlu_pro" else task.question("2 + 2?", "test", "q")
    (asked, answered), text = task.worked_examples(question, 1)[0], task.prompt(question, shots=1)
    assert answered.splitlines()[-1] in text and "".join(asked.split())[:12] in "".join(text.split())


def test_a_template_that_refuses_says_so(task):
    encoder = encoder_of("gemma2", Chat("Be brief."))
    with pytest.raises(HFDistillError, match="refuses a conversation of system, user: .*System role not supported"):
        encoder.question_ids(task, task.questions()[0])


def test_nothing_would_end_a_response():
    tokenizer = make_tokenizer("llama3-base")
    tokenizer.eos_token = None
    with pytest.raises(HFDistillError, match="nothing would end a response"):
        Encoder(tokenizer)


def test_what_looks_like_a_masked_token_is_text():
    encoder = encoder_of("smollm2-instruct", Chat())
    for text in ("\ue0001\ue001", "\ue000token 99\ue001"):
        assert encoder.decode(encoder.prompt_ids(text)) == text


def test_a_prefill_is_part_of_the_text_and_not_of_the_ids(task):
    encoder = encoder_of("qwen3", Chat(prefill="The answer is"))
    ids = encoder.response_ids("The answer is 5.")
    assert encoder.decode(ids) == "The answer is 5."
    assert encoder.tokenizer.decode(ids[:-1]) == " 5."


def test_turns_without_text_are_the_templates_to_judge():
    encoder = encoder_of("qwen3", Chat())
    assert encoder.prompt_ids([{"role": "assistant", "content": None}, {"role": "user", "content": "Why?"}])


def test_a_template_may_end_turns_where_the_tokenizer_names_no_end():
    tokenizer = make_tokenizer("qwen3")
    end, tokenizer.eos_token = tokenizer.eos_token_id, None
    assert Encoder(tokenizer, chat=Chat()).end_token_ids == [end]


def test_what_a_stop_string_ended_keeps_the_ids_in_front_of_it():
    encoder = encoder_of("qwen2.5-base")
    sampled = [*encoder.response_ids("9", finished=False), *encoder.response_ids(".", finished=False)]
    stopped = [*sampled, *encoder.response_ids("\nQ: Tom", finished=False)]
    assert encoder.finished_ids(stopped, "9.") == [*sampled, encoder.eos_token_id]
    assert encoder.finished_ids(encoder.response_ids("Tom has", finished=False), "To")[-1] == encoder.eos_token_id
