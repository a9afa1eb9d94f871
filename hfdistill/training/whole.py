"""Models whose weights are spread over the processes (FSDP2, ZeRO-3), and whole ones where those are needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from accelerate import Accelerator, DistributedType
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from ..errors import HFDistillError


class WholeModel:
    """A model for generation, whatever becomes of its weights in training.

    Generation makes as many forward passes as its longest response has tokens, another number on each process, while
    sharded weights need every process in every pass. So a plain copy generates, on each process. It holds weights only
    while it is [`~WholeModel.gathered`]: that long each process needs memory for one more, unsharded, model.

    It takes the model before the accelerator shards it, and refuses ways of sharding that are not supported.
    """

    def __init__(self, model: PreTrainedModel, accelerator: Accelerator):
        check_sharding(accelerator)
        self.model = model
        self.device = accelerator.device
        plugin = accelerator.state.deepspeed_plugin
        self.zero3 = plugin is not None and plugin.zero_stage == 3
        self.copy = None
        if self.zero3 or accelerator.is_fsdp2:
            # No weights are copied: what the copy has for each is empty.
            empty = {id(weight): torch.nn.Parameter(weight.new_empty(0), False) for weight in model.parameters()}
            self.copy = deepcopy(model, empty).eval().to(self.device)

    def gather(self) -> PreTrainedModel:
        """The model itself, or its copy with the weights as they are now; every process must call it."""
        if self.copy is None:
            return self.model
        for source, target in zip(self.model.parameters(), self.copy.parameters(), strict=True):
            target.data = self._whole(source).to(self.device)
        return self.copy

    @contextmanager
    def gathered(self) -> Iterator[PreTrainedModel]:
        """[`~WholeModel.gather`], and free the copy's memory in the end."""
        yield self.gather()
        self._release()

    def _whole(self, parameter: torch.Tensor) -> torch.Tensor:
        if isinstance(parameter, DTensor):
            return parameter.detach().full_tensor()
        if not self.zero3:
            return parameter.data
        import deepspeed

        with deepspeed.zero.GatheredParameters([parameter]):
            return parameter.data.clone()

    def _release(self) -> None:
        if self.copy is not None:
            for parameter in self.copy.parameters():
                parameter.data = torch.empty(0, dtype=parameter.dtype, device=self.device)


def check_sharding(accelerator: Accelerator) -> None:
    """Refuse launch configurations under which a process would load, or save, something else than the whole model."""
    plugin = accelerator.state.fsdp_plugin if accelerator.distributed_type == DistributedType.FSDP else None
    if plugin is not None:
        for option, found, wanted in (
            ("fsdp_version", plugin.fsdp_version, 2),
            ("fsdp_cpu_ram_efficient_loading", plugin.cpu_ram_efficient_loading, False),
            ("fsdp_state_dict_type", plugin.state_dict_type.name, "FULL_STATE_DICT"),
        ):
            if found != wanted:
                raise HFDistillError(
                    f"{option} is {found!r} in the launch configuration: it must be {wanted!r}, as in "
                    "recipes/accelerate/fsdp.yaml"
                )
