import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hfdistill.encoding import cut
from hfdistill.generation import StopStrings


def words():
    vocabulary = {
        word: index for index, word in enumerate(["<pad>", "</s>", "Q", ":", "The", "answer", "is", "4", "."])
    }
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>")


def letters():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@pytest.mark.parametrize(
    ("make", "stop", "text", "length"),
    [
        (words, "Q :", "The answer is 4 . Q : The", 7),
        (words, "answer is", "The answer is 4", 3),
        (words, "4 ", "is 4 . Q", 3),
        (letters, "\n\n", "one\n\ntwo", 5),
        (letters, "Question:", "4. Question: why", 12),
        (letters, "\u00e9t\u00e9", "un \u00e9t\u00e9 chaud", 8),
    ],
)
def test_ends_at_the_first_token_that_completes_a_string(make, stop, text, length):
    tokenizer = make()
    ids = tokenizer.encode(text, add_special_tokens=False)
    stops = StopStrings(tokenizer, ["never", stop])
    ending = next(end for end in range(1, len(ids) + 1) if stops(ids[:end]))
    assert ending == length
    assert stops.may_end(ids[ending - 1])


def test_most_tokens_need_no_look():
    stops = StopStrings(words(), ["Q :"])
    assert [token for token in range(9) if stops.may_end(token)] == [3]


def test_a_token_beyond_the_tokenizer_is_no_text():
    for make in (words, letters):
        tokenizer = make()
        beyond = len(tokenizer) + 5
        stops = StopStrings(tokenizer, ["Q"])
        assert not stops.may_end(beyond) and not stops([beyond])
        (token,) = tokenizer.encode("Q", add_special_tokens=False)
        assert stops.may_end(token) and stops([beyond, token])
        assert StopStrings(tokenizer, [""])([beyond])


def test_cut_at_the_first_stop_string():
    assert cut("The answer is 3.\nQ: next\n\nQ:", ["\n\nQ:", "\nQ:"]) == "The answer is 3."
    assert cut("The answer is 3.", ["\nQ:"]) == "The answer is 3."
    assert cut("as it is", ()) == "as it is"
