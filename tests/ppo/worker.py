"""One of the processes that `test_processes.py` starts: trains the toy policy and writes what came out."""

import json
import math
import sys
from pathlib import Path

from ppo_toy import PROMPTS, copy_reward, logged, make_policy, make_trainer
from test_moving_labels import ROWS, moving

from hfdistill.errors import exit_on_user_error
from hfdistill.llama import head
from tests.launch import cpu_options


def same(prompts, completions, **columns):
    return [prompt == completion for prompt, completion in zip(prompts, completions, strict=True)]


def relative_reward(prompts, completions, **columns):
    """Less the mean of all responses to the prompt in the update: the same only where all of them are asked about."""
    scores = copy_reward(prompts, completions)
    same_prompt = [[score for other, score in zip(prompts, scores, strict=True) if other == one] for one in prompts]
    return [score - sum(those) / len(those) for score, those in zip(scores, same_prompt, strict=True)]


def make_steps_nan(trainer, steps):
    loss = trainer._loss

    def sometimes_nan(*args):
        value = loss(*args)
        return value * float("nan") if trainer.state.global_step in steps else value

    trainer._loss = sometimes_nan


@exit_on_user_error
def main():
    folder, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    peft_config = None
    if options.pop("lora", False):
        from peft import LoraConfig

        peft_config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=True)
    labels = train = None
    if options.pop("moving", False):
        train, labels = ROWS, moving(every=1, threshold=0.25)
    resume, nan_steps = options.pop("resume", None), options.pop("nan_steps", ())
    head.LOGITS_AT_ONCE, head.LOGITS_KEPT = options.pop("logits", (head.LOGITS_AT_ONCE, head.LOGITS_KEPT))
    policy = make_policy(tie_word_embeddings=options.pop("tied", False))
    trainer = make_trainer(
        folder,
        reward=relative_reward if options.pop("relative", False) else copy_reward,
        policy=policy,
        evaluate=PROMPTS,
        train=train or PROMPTS,
        trainer_kwargs={"eval_func": same, "peft_config": peft_config, "moving_labels": labels},
        eval_strategy="steps",
        **cpu_options(),
        **{"eval_steps": 4, **options},
    )
    make_steps_nan(trainer, nan_steps)
    trainer.train(resume_from_checkpoint=resume)
    trainer.save_model(str(folder / "final"))
    whole = trainer.whole_policy()
    if trainer.is_world_process_zero():
        whole.save_pretrained(folder / "final" / "whole")
        names = ["loss", "objective/scores", "objective/kl", "policy/approxkl_avg", "val/ratio"]
        names += ["policy/skipped_steps", "eval_mean_length", "eval_accuracy", "labels/vote_share"]
        result = {name: logged(trainer, name) for name in names}
        result["grad_norm"] = [norm for norm in logged(trainer, "grad_norm") if math.isfinite(norm)]
        result["best_step"] = trainer.state.best_global_step
        result["processes"] = trainer.accelerator.num_processes
        result["labels"] = [f"{key} {label}" for key, label in sorted(labels.labels.items())] if labels else []
        (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
