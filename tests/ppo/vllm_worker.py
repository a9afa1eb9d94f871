"""One of the processes that `test_vllm.py` starts: trains the toy policy on vLLM's samples."""

import json
import os
import sys
from pathlib import Path

import vllm_standin


vllm_standin.install()

from ppo_toy import PROMPTS, logged, make_trainer  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402
from trl.generation.vllm_client import VLLMClient  # noqa: E402

from hfdistill.errors import exit_on_user_error  # noqa: E402


# It wants a CUDA device for NCCL; that is all that differs here.
VLLMClient.init_communicator = lambda self, device, original=VLLMClient.init_communicator: original(self, "cuda")


@exit_on_user_error
def main():
    folder, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    peft_config = None
    if options.pop("lora", False):
        from peft import LoraConfig

        peft_config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"])
    lengths = []

    def reward(completion_ids, **columns):
        lengths.extend(map(len, completion_ids))
        return [float(len(ids)) for ids in completion_ids]

    trainer = make_trainer(
        folder,
        reward=reward,
        policy=AutoModelForCausalLM.from_pretrained(folder / "model"),
        evaluate=PROMPTS,
        trainer_kwargs={"peft_config": peft_config},
        ddp_backend="gloo" if "WORLD_SIZE" in os.environ else None,
        use_vllm=True,
        eval_strategy="steps",
        eval_steps=4,
        total_episodes=45,
        rollout_batch_size=15,
        learning_rate=3e-2 if peft_config else 3e-3,
        **options,
    )
    trainer.train()
    if trainer.is_world_process_zero():
        names = [
            "objective/kl",
            "policy/approxkl_avg",
            "sampling/sampling_logp_difference/max",
            "sampling/importance_sampling_ratio/mean",
            "eval_reward",
        ]
        result = {name: logged(trainer, name) for name in names}
        engine = {} if options.get("vllm_mode") == "server" else trainer.rollouts.sampler.vllm.llm.options
        (folder / "result.json").write_text(json.dumps({**result, "lengths": lengths, "engine": engine}, default=str))


if __name__ == "__main__":
    main()
