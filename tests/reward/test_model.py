import copy

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from hfdistill.encoding import Encoder
from hfdistill.errors import HFDistillError
from hfdistill.reward.model import Float32Head, RewardScorer, load_reward_model
from hfdistill.reward.trainer import TripletTrainer
from hfdistill.training.shares import cut_into_passes

from .conftest import EOS, PAD, VOCABULARY, draw_triples, drawn_reward_model, make_tokenizer


SEQUENCES = [[20, 21, EOS], [22] * 17, [23, 24, 25, EOS], [30], [31, 32, 33, 34, 35, 36, 37, EOS]]


@pytest.fixture
def model(student_folder):
    return drawn_reward_model(student_folder).eval()


def test_backbone_is_the_student_s(student_folder, model):
    from transformers import AutoModelForCausalLM

    student = AutoModelForCausalLM.from_pretrained(student_folder)
    for name, weight in student.model.state_dict().items():
        assert torch.equal(weight, model.model.state_dict()[name]), name


def test_saved_model_scores_the_same_in_plain_transformers(model, encoder, tmp_path):
    model.save_pretrained(tmp_path)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    scores = RewardScorer(model, encoder).score_ids(SEQUENCES)
    for ids, score in zip(SEQUENCES, scores, strict=True):
        assert plain(torch.tensor([ids])).logits[0, 0].item() == pytest.approx(score.item(), abs=1e-6)
    assert plain.config.architectures == ["LlamaForSequenceClassification"]
    assert not list(tmp_path.glob("*.bin"))
    loaded = load_reward_model(str(tmp_path))
    assert torch.equal(RewardScorer(loaded, encoder).score_ids(SEQUENCES), scores)


def test_score_is_read_at_the_last_real_token(model):
    """The rightmost token that is no padding, as plain transformers finds it in a padded batch."""
    padded = torch.full((2, 6), PAD)
    padded[0, :3], padded[1, :5] = torch.tensor([20, 21, EOS]), torch.tensor([22, 23, 24, 25, EOS])
    mask = (padded != PAD).long()
    pooled = model(padded, attention_mask=mask).logits[:, 0]
    at_positions = model(padded, score_positions=torch.tensor([[2], [4]])).logits[:, 0]
    assert torch.allclose(pooled, at_positions, atol=1e-6)


def test_scores_do_not_depend_on_batches_or_order(model, encoder):
    expected = torch.tensor([RewardScorer(model, encoder).score_ids([ids]).item() for ids in SEQUENCES])
    for budget in (1, 20, 10_000):
        assert torch.allclose(RewardScorer(model, encoder, budget).score_ids(SEQUENCES), expected, atol=1e-6)
    turned = RewardScorer(model, encoder).score_ids(SEQUENCES[::-1])
    assert torch.allclose(turned, expected.flip(0), atol=1e-6)
    assert RewardScorer(model, encoder)([], []) == []


def test_several_positions_are_read_in_one_pass(model, encoder):
    scorer = RewardScorer(model, encoder)
    positions = [[0, 2], [3, 9, 16], [1], [0], [7]]
    for ids, places, scores in zip(SEQUENCES, positions, scorer.score_at(SEQUENCES, positions), strict=True):
        beginnings = [ids[: place + 1] for place in places]
        assert scores == pytest.approx(scorer.score_ids(beginnings).tolist(), abs=1e-6)


def test_batches_keep_to_the_token_budget(model, encoder):
    lengths = [3, 17, 4, 1, 8, 9, 30]
    passes = []
    hook = model.register_forward_pre_hook(lambda module, inputs: passes.append(inputs[0].shape))
    RewardScorer(model, encoder, token_budget=30).score_ids([[20] * length for length in lengths])
    hook.remove()
    assert sum(rows for rows, _ in passes) == 7
    assert all(rows * time <= 30 for rows, time in passes)
    batches = cut_into_passes(sorted(range(7), key=lengths.__getitem__, reverse=True), lengths, 30)
    assert sorted(i for batch in batches for i in batch) == list(range(7))
    assert all(len(batch) * max(lengths[i] for i in batch) <= 30 for batch in batches)


def test_text_and_cut_off_responses(model, encoder):
    scorer = RewardScorer(model, encoder)
    prompts, responses = ["w1 w2", "w1 w2"], ["w3 w4", "w3 w4"]
    finished, cut = scorer(prompts, responses, [True, False])
    assert scorer(prompts[:1], responses[:1]) == [pytest.approx(finished)]
    ids = encoder.prompt_ids("w1 w2") + encoder.response_ids("w3 w4", finished=False)
    assert cut == pytest.approx(scorer.score_ids([ids]).item())
    assert finished != pytest.approx(cut)


def test_scoring_leaves_the_mode_and_makes_no_gradient(model, encoder):
    model.train()
    assert not RewardScorer(model, encoder).score_ids(SEQUENCES).requires_grad
    assert model.training


def test_head_is_fp32_in_a_bf16_model_and_under_autocast(student_folder, encoder):
    model = drawn_reward_model(student_folder, dtype=torch.bfloat16).eval()
    assert model.dtype == torch.bfloat16
    assert isinstance(model.score, Float32Head)
    assert model.score.weight.dtype == torch.float32
    hidden = torch.randn(64, 32)
    exact = hidden.bfloat16().float() @ model.score.weight.T
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = model.score(hidden.bfloat16())
    assert scores.dtype == torch.float32
    assert torch.equal(scores, exact)


def test_autocast_leaves_the_head_fp32(student_folder, encoder, make_args):
    """In training with `bf16` and in scoring: the backbone computes in bf16, the score in fp32."""
    model = drawn_reward_model(student_folder)
    types = []

    def note_type(module, inputs, output):
        types.append(output.dtype)

    model.model.layers[0].mlp.down_proj.register_forward_hook(note_type)
    model.score.register_forward_hook(note_type)
    settings = {"eval_strategy": "no", "num_train_epochs": 1}
    triples = draw_triples(8)
    trainer = TripletTrainer(model, make_args(bf16=True, **settings), triples, [], encoder.tokenizer)
    trainer.train()
    assert types == [torch.bfloat16, torch.float32]
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    types.clear()
    scorer = RewardScorer(drawn_reward_model(student_folder), encoder)
    exact = scorer.score_ids(SEQUENCES)
    scorer.model.model.layers[0].mlp.down_proj.register_forward_hook(note_type)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = scorer.score_ids(SEQUENCES)
    assert types == [torch.bfloat16]
    assert not torch.equal(scores.bfloat16().float(), scores), "the scores are finer than bf16"
    assert torch.allclose(scores, exact, atol=0.05)


def test_a_copy_is_a_model_of_its_own(model, encoder):
    scores = RewardScorer(model, encoder).score_ids(SEQUENCES)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.score.weight.zero_()
    assert RewardScorer(other, encoder).score_ids(SEQUENCES).abs().max() == 0
    assert torch.equal(RewardScorer(model, encoder).score_ids(SEQUENCES), scores)


def test_dropout_is_off(student_folder, encoder, tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=64, bos_token_id=EOS, eos_token_id=EOS
    )
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    model = drawn_reward_model(str(tmp_path)).train()
    first, second = (model(torch.tensor([[20, 21, EOS]])).logits for _ in range(2))
    assert torch.equal(first, second)


def test_pad_and_eos_must_differ_and_agree(model):
    with pytest.raises(HFDistillError, match="both to pad and to end"):
        Encoder(make_tokenizer(pad_token="</s>"))
    model.config.pad_token_id = 5
    with pytest.raises(HFDistillError, match="pads with token 5"):
        RewardScorer(model, Encoder(make_tokenizer()))


def test_a_classifier_is_no_reward_model(student_folder, tmp_path):
    AutoModelForSequenceClassification.from_pretrained(student_folder, num_labels=3).save_pretrained(tmp_path)
    with pytest.raises(HFDistillError, match="3 outputs instead of 1"):
        load_reward_model(str(tmp_path))
