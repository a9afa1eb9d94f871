"""What samples responses: the evicting loop, transformers' continuous batching, or vLLM.

The last two have kernels of their own, and `top_p` and `top_k` forbid tokens, so what is sampled from is not exactly
what is trained. The log-probabilities of sampling then come along, and
[`~hfdistill.ppo.losses.importance_weights`] corrects by them.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import deepcopy

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from transformers import GenerationConfig, PreTrainedModel

from ..encoding import Encoder
from ..errors import HFDistillError
from ..generation import Generated, Sampling, StopStrings, generate
from ..training.adapters import inner_model
from ..training.whole import WholeModel
from .config import PPOConfig


class PolicySampler(ABC):
    """Samples from the policy as it is when it is asked."""

    def __init__(self, policy: WholeModel, encoder: Encoder, config: PPOConfig, accelerator: Accelerator):
        self.policy = policy
        self.encoder = encoder
        self.config = config
        self.accelerator = accelerator
        self.stop = StopStrings(encoder.tokenizer, config.stop_strings) if config.stop_strings else None

    @abstractmethod
    def sample(
        self, prompt_ids: Sequence[list[int]], temperature: float, seeds: Sequence[int] | None = None
    ) -> list[Generated]:
        """Responses to this process's prompts, with a seed each where `temperature` is not 0, which takes the most
        likely tokens. Every process must call it, if only for no prompt.
        """

    def response(self, token_ids: list[int], log_probs: list[float]) -> Generated:
        """What another back end drew, in our terms: cut where a stop string ends, and with the reason of its end."""
        ended = self.encoder.ended(token_ids)
        if self.stop is not None:
            for end in range(1, len(token_ids) + 1 - ended):
                if self.stop.may_end(token_ids[end - 1]) and self.stop(token_ids[:end]):
                    return Generated(token_ids[:end], "stop_sequence", log_probs=log_probs[:end])
        if ended:
            return Generated(token_ids[:-1], "eos_token", token_ids[-1], log_probs)
        # What ends early without an end token of ours ended by another one that its back end knows of.
        cut_off = len(token_ids) >= self.config.max_completion_length
        return Generated(token_ids, "length" if cut_off else "stop_sequence", log_probs=log_probs)


class EvictingLoop(PolicySampler):
    """Our own loop: each response has noise of its own, whatever batch and process it is drawn in."""

    def sample(
        self, prompt_ids: Sequence[list[int]], temperature: float, seeds: Sequence[int] | None = None
    ) -> list[Generated]:
        config = self.config
        settings = {
            "max_new_tokens": config.max_completion_length,
            "temperature": temperature,
            "top_k": config.top_k or None,
            "top_p": config.top_p,
        }
        with self.policy.gathered() as policy, self.accelerator.autocast():
            return generate(
                policy,
                list(prompt_ids),
                [Sampling(**settings, seed=seed) for seed in seeds or [0] * len(prompt_ids)],
                eos_token_id=self.encoder.end_token_ids,
                pad_token_id=self.encoder.pad_token_id,
                batch_size=config.generation_batch_size,
                stop=self.stop,
                log_probs=config.filters and temperature > 0,
            )


class ContinuousBatching(PolicySampler):
    """transformers' `generate_batch`, its cache sized for these prompts instead of for all memory that is free.

    It knows no stop strings: responses are cut after they are drawn, which gives the same responses. Its thread takes
    prompts while they still come in, so that a seed gives the same responses mostly, and not always: a resumed run
    goes on, but need not sample what the first one would have.
    """

    # Tokens of a forward pass: attention masks grow with their product with the cache.
    BATCH_TOKENS = 1024
    PAGE_SIZE = 256

    def sample(
        self, prompt_ids: Sequence[list[int]], temperature: float, seeds: Sequence[int] | None = None
    ) -> list[Generated]:
        from transformers.generation import ContinuousBatchingConfig

        longest, device = self.config.max_completion_length, self.accelerator.device
        settings = {"do_sample": temperature > 0}
        if temperature:
            settings |= {"temperature": temperature, "top_k": self.config.top_k, "top_p": self.config.top_p}
        rows = min(self.config.generation_batch_size, len(prompt_ids))
        options = {
            "page_size": self.PAGE_SIZE,
            "max_batch_tokens": max(rows, self.BATCH_TOKENS),
            "max_requests_per_batch": rows,
            **(self.config.transformers_continuous_batching_config or {}),
            "return_logprobs": True,
            "seed": seeds[0] if seeds else 0,
        }
        if "num_blocks" not in options:
            tokens = max(map(len, prompt_ids), default=0) + longest
            options["num_blocks"] = rows * -(-tokens // options["page_size"])
        # It seeds torch's generators, which are not its own.
        with self.policy.gathered() as policy, torch.random.fork_rng([device] if device.type == "cuda" else []):
            if not prompt_ids:
                return []
            outputs = self._model(policy).generate_batch(
                list(prompt_ids),
                generation_config=GenerationConfig(
                    max_new_tokens=longest,
                    eos_token_id=self.encoder.end_token_ids,
                    pad_token_id=self.encoder.pad_token_id,
                    **settings,
                ),
                continuous_batching_config=ContinuousBatchingConfig(**options),
            )
        errors = [output.error for output in outputs.values() if output.error is not None]
        if errors or len(outputs) < len(prompt_ids):
            raise HFDistillError(
                f"transformers' continuous batching answered {len(outputs) - len(errors)} of {len(prompt_ids)} prompts"
                f" ({errors[0] if errors else 'its thread ended'}): raise num_blocks in "
                "transformers_continuous_batching_config, or lower generation_batch_size"
            )
        return [self.response(output.generated_tokens, output.logprobs) for output in outputs.values()]

    def _model(self, policy: PreTrainedModel) -> PreTrainedModel:
        """The policy in the precision of training: its thread is out of autocast's reach."""
        model = inner_model(policy)
        dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16}
        dtype = dtypes.get(self.accelerator.mixed_precision)
        return model if dtype is None else deepcopy(model).to(dtype)


class VLLM(PolicySampler):
    """vLLM through TRL, in this process or on a server; the policy's weights are sent before every call.

    It draws its noise by itself: a resumed run goes on, but does not sample what the first one would have. Tested
    with TRL's own code on what stands in for vLLM; never run on vLLM itself, which installs on no CPU.
    """

    def __init__(self, policy: WholeModel, encoder: Encoder, config: PPOConfig, accelerator: Accelerator):
        super().__init__(policy, encoder, config, accelerator)
        from trl.import_utils import is_vllm_available

        if not is_vllm_available():
            raise HFDistillError(
                "use_vllm is set, and vLLM is not installed: pip install 'hfdistill[vllm]', or leave use_vllm out"
            )
        if config.vllm_mode == "colocate" and not inner_model(policy.model).name_or_path:
            raise HFDistillError(
                "vllm_mode 'colocate' loads the policy from its path, and this one has none: load it with "
                "from_pretrained, or serve it and set vllm_mode to 'server'"
            )
        from trl.generation import VLLMGeneration

        self.vllm = VLLMGeneration(
            policy.model,
            accelerator,
            encoder.tokenizer,
            mode=config.vllm_mode,
            server_base_url=config.vllm_server_base_url,
            server_timeout=config.vllm_server_timeout,
            group_port=config.vllm_group_port,
            tensor_parallel_size=config.vllm_tensor_parallel_size,
            gpu_memory_utilization=config.vllm_gpu_memory_utilization,
            max_model_length=config.vllm_max_model_length,
            max_num_seqs=config.generation_batch_size,
            enable_sleep_mode=config.vllm_enable_sleep_mode,
            max_completion_length=config.max_completion_length,
            top_p=config.top_p,
            top_k=config.top_k,
            generation_kwargs={"stop": config.stop_strings} if config.stop_strings else None,
        )

    def sample(
        self, prompt_ids: Sequence[list[int]], temperature: float, seeds: Sequence[int] | None = None
    ) -> list[Generated]:
        self.vllm.sync_weights()
        self.vllm.temperature = temperature
        # Every process must ask for as many.
        most = max(gather_object([len(prompt_ids)]))
        asked = [*prompt_ids, *[[self.encoder.eos_token_id]] * (most - len(prompt_ids))]
        _, token_ids, log_probs, _ = self.vllm.generate(asked, images=None, num_generations=1)
        return [
            self.response(list(ids), [float("nan") if first[0] is None else first[0] for first in row])
            for _, ids, row in zip(prompt_ids, token_ids, log_probs, strict=False)
        ]


def make_sampler(policy: WholeModel, encoder: Encoder, config: PPOConfig, accelerator: Accelerator) -> PolicySampler:
    """The sampler that the options name."""
    if config.use_vllm:
        kind = VLLM
    elif config.use_transformers_continuous_batching:
        kind = ContinuousBatching
    else:
        kind = EvictingLoop
    return kind(policy, encoder, config, accelerator)
