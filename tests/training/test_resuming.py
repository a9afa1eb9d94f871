"""Checkpoints of the warm-up and the reward model, whose batches depend on how many processes there are."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import Gemma3Config, Gemma3ForConditionalGeneration, TrainerCallback

from hfdistill.errors import HFDistillError, exit_on_user_error
from hfdistill.reward.config import RewardConfig
from hfdistill.reward.model import initialise_reward_model
from hfdistill.reward.trainer import TripletTrainer
from hfdistill.training.saving import last_checkpoint, read_note, save_model, writing

from ..reward.conftest import EOS, PAD, VOCABULARY, draw_triples, make_tokenizer


TRIPLES, VALIDATION = draw_triples(64, seed=1), draw_triples(20, seed=2)


class Killed(TrainerCallback):
    """Ends the training as a kill does."""

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 11:
            raise KeyboardInterrupt


def make(student, folder, batch=8, callbacks=None, **settings):
    args = RewardConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
        learning_rate=3e-3,
        num_train_epochs=2,
        per_device_train_batch_size=batch,
        eval_strategy="steps",
        eval_steps=4,
        save_strategy="steps",
        save_steps=4,
        save_total_limit=None,
        early_stopping_patience=0,
        **settings,
    )
    return TripletTrainer(
        initialise_reward_model(student, PAD), args, TRIPLES, VALIDATION, make_tokenizer(), callbacks
    )


@pytest.fixture(scope="module")
def runs(student_folder, tmp_path_factory):
    """A run that was never cut off, and one that was in step 11 of 16."""
    folder = tmp_path_factory.mktemp("runs")
    whole = make(student_folder, folder / "whole")
    whole.train()
    with pytest.raises(KeyboardInterrupt):
        make(student_folder, folder / "cut", callbacks=[Killed()]).train()
    return whole, folder / "cut"


def weights(trainer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "config.json"])
def test_what_is_missing_is_not_done_without(runs, tmp_path, name, caplog):
    shutil.copytree(runs[1], tmp_path, dirs_exist_ok=True)
    (tmp_path / "checkpoint-8" / name).unlink()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")
    assert f"checkpoint-8 is passed over: {name} is missing" in caplog.text


def test_it_ends_as_if_nothing_had_happened(runs, student_folder, tmp_path):
    whole, cut = runs
    shutil.copytree(cut, tmp_path / "moved")
    (tmp_path / "moved" / "checkpoint-8" / "optimizer.pt").write_bytes(b"")
    resumed = make(student_folder, tmp_path / "moved")
    resumed.train(resume_from_checkpoint=True)
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed.state.best_global_step == whole.state.best_global_step
    assert Path(resumed.state.best_model_checkpoint).parent == tmp_path / "moved"


def test_another_batch_is_another_training(runs, student_folder, tmp_path):
    whole, cut = runs
    shutil.copytree(cut, tmp_path, dirs_exist_ok=True)
    assert read_note(tmp_path / "checkpoint-8")["batch"] == 8
    with pytest.raises(HFDistillError, match=r"in batches of 8 over 1 processes, and 1 would go on in batches of 16"):
        make(student_folder, tmp_path, batch=16).train(resume_from_checkpoint=True)
    # The same batch in other pieces, as twice the processes have them, goes on.
    resumed = make(student_folder, tmp_path, batch=4, gradient_accumulation_steps=2)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == whole.state.global_step == 16
    assert torch.allclose(weights(resumed), weights(whole), atol=1e-5)


def test_deepspeeds_shards_need_their_processes(runs, student_folder, tmp_path):
    shutil.copytree(runs[1], tmp_path, dirs_exist_ok=True)
    file = tmp_path / "checkpoint-8" / "trainer_state.json"
    state = json.loads(file.read_text())
    state["stateful_callbacks"]["Note"]["attributes"].update(sharding="DeepSpeed", processes=2)
    file.write_text(json.dumps(state))
    said = r"written by 2 processes with DeepSpeed, and 1 with no sharding .*: start 2 processes as before, or delete"
    with pytest.raises(HFDistillError, match=said):
        make(student_folder, tmp_path).train(resume_from_checkpoint=True)


def test_a_checkpoint_without_a_note_is_gone_on_from(runs, student_folder, tmp_path):
    whole, cut = runs
    shutil.copytree(cut, tmp_path, dirs_exist_ok=True)
    for file in tmp_path.glob("*/trainer_state.json"):
        state = json.loads(file.read_text())
        del state["stateful_callbacks"]["Note"]
        file.write_text(json.dumps(state))
    resumed = make(student_folder, tmp_path, restore_callback_states_from_checkpoint=True)
    resumed.train(resume_from_checkpoint=True)
    assert torch.equal(weights(resumed), weights(whole))
    assert read_note(tmp_path / "checkpoint-12")["batch"] == 8


def test_a_full_disk_is_one_sentence(tmp_path, capsys, monkeypatch):
    class Full:
        def save_pretrained(self, folder):
            raise OSError(28, "No space left on device", str(folder))

    with pytest.raises(HFDistillError, match=r"policy cannot be written, \d+ MiB are free there: make room"):
        save_model(Full(), Full(), tmp_path / "deeper" / "policy")
    with pytest.raises(OSError, match="Permission denied"), writing(tmp_path):
        raise OSError(13, "Permission denied")
    with pytest.raises(SystemExit):
        exit_on_user_error(lambda: Full().save_pretrained("x"))()
    assert (
        capsys.readouterr().err == "error: x cannot be written: No space left on device. Make room, and start again\n"
    )


def test_a_family_that_is_saved_under_other_names_goes_on_and_chooses(tmp_path):
    """Gemma 3 with images, whose files name the weights otherwise than the model does."""
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"num_key_value_heads": 1, "head_dim": 8, "sliding_window": 64, "max_position_embeddings": 128}
    ids = {"vocab_size": VOCABULARY, "pad_token_id": PAD, "eos_token_id": EOS, "bos_token_id": None}
    config = Gemma3Config(
        text_config={**sizes, **text, **ids},
        vision_config={**sizes, "image_size": 28, "patch_size": 14},
        image_token_index=VOCABULARY - 1,
        mm_tokens_per_image=4,
    )
    torch.manual_seed(0)
    Gemma3ForConditionalGeneration(config).save_pretrained(tmp_path / "student")
    student = str(tmp_path / "student")
    whole = make(student, tmp_path / "whole")
    whole.train()
    resumed = make(student, tmp_path / "whole")
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-12"))
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name
    figures = {e["step"]: e["eval_pos_neg"] for e in whole.state.log_history if "eval_pos_neg" in e}
    assert whole.evaluate()["eval_pos_neg"] == figures[whole.state.best_global_step] == max(figures.values())


def test_a_checkpoint_without_the_model_s_weights_is_refused(student_folder, tmp_path):
    trainer = make(student_folder, tmp_path)
    for name, what in (("lm_head.weight", "lacks 1 weights"), ("model.norm.weight", "model.norm.weight among them")):
        with pytest.raises(HFDistillError, match=what):
            trainer._issue_warnings_after_load(SimpleNamespace(missing_keys=[name], unexpected_keys=[]))
