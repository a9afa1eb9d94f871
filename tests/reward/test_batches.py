from hfdistill.reward.batches import EncodedTriple, TripleCollator, encode_triples

from .conftest import EOS, MIXED, PAD


def test_prompt_stands_once_in_a_row():
    triple = EncodedTriple([20, 21, 22], ([30, EOS], [31, 32, EOS], [33, EOS], None))
    batch = TripleCollator(PAD, share_prefix=True)([triple])
    assert batch["input_ids"].tolist() == [[20, 21, 22, 30, EOS, 31, 32, EOS, 33, EOS]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 4, 3, 4, 5, 3, 4]]
    assert batch["score_positions"].tolist() == [[4, 7, 9, 2]]
    assert batch["present"].tolist() == [[1, 1, 1, 0]]
    seen_by_first_of_second = batch["attention_mask"][0, 0, 5].tolist()
    assert seen_by_first_of_second == [True, True, True, False, False, True, False, False, False, False]


def test_rows_apart_have_no_padding_inside():
    batch = TripleCollator(PAD, share_prefix=False)(MIXED)
    assert batch["input_ids"].shape[0] == int(batch["present"].sum())
    lengths = (batch["score_positions"][:, 0] + 1).tolist()
    for row, length in zip(batch["input_ids"].tolist(), lengths, strict=True):
        assert PAD not in row[:length]
        assert set(row[length:]) <= {PAD}


def test_encoding_ends_finished_responses_only_and_keeps_sampled_ids(encoder):
    triple = {
        "question_id": "q",
        "student_positive": "w5 w6",
        "student_positive_finished": True,
        "student_negative": "w7",
        "student_negative_finished": False,
        "student_negative_token_ids": None,
        "teacher_positive": None,
        "teacher_positive_finished": None,
    }
    prompts = {"q": encoder.prompt_ids("w1 w2")}
    (encoded,) = encode_triples([triple], prompts, encoder)
    w = encoder.tokenizer.convert_tokens_to_ids
    assert encoded.prompt == [w("w1"), w("w2")]
    assert encoded.responses == ([w("w5"), w("w6"), EOS], [w("w7")], None, None)
    sampled = {**triple, "student_positive_token_ids": [w("w5"), w("w9"), EOS]}
    assert encode_triples([sampled], prompts, encoder)[0].responses[0] == [w("w5"), w("w9"), EOS]
