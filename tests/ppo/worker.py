"""One of the processes that `test_processes.py` starts: trains the toy policy and writes what came out."""

import json
import os
import sys
from pathlib import Path

from ppo_toy import PROMPTS, copy_reward, logged, make_trainer


def same(prompts, completions, **columns):
    return [prompt == completion for prompt, completion in zip(prompts, completions, strict=True)]


def main():
    folder, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    peft_config = None
    if options.pop("lora", False):
        from peft import LoraConfig

        peft_config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=True)
    resume = options.pop("resume", None)
    trainer = make_trainer(
        folder,
        reward=copy_reward,
        evaluate=PROMPTS,
        trainer_kwargs={"eval_func": same, "peft_config": peft_config},
        ddp_backend="gloo" if "WORLD_SIZE" in os.environ else None,
        eval_strategy="steps",
        eval_steps=4,
        **options,
    )
    trainer.train(resume_from_checkpoint=resume)
    trainer.save_model(str(folder / "final"))
    if trainer.is_world_process_zero():
        names = ["loss", "objective/scores", "objective/kl", "policy/approxkl_avg", "val/ratio", "eval_accuracy"]
        result = {name: logged(trainer, name) for name in names}
        result["processes"] = trainer.accelerator.num_processes
        (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
