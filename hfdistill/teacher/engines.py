"""The engines that can serve a teacher: how each is started, in a container elsewhere or on this machine."""

import sys
from dataclasses import dataclass
from typing import Any

from ..errors import HFDistillError, unknown


TGI, VLLM, SGLANG, LLAMACPP, OWN = "tgi", "vllm", "sglang", "llamacpp", "hfdistill"
IMAGES = {
    TGI: "ghcr.io/huggingface/text-generation-inference:3.3.5",
    VLLM: "vllm/vllm-openai:v0.23.0",
    SGLANG: "lmsysorg/sglang:latest",
    LLAMACPP: "ghcr.io/ggml-org/llama.cpp:server-cuda",
}
PROGRAMS = {VLLM: "vllm", SGLANG: "sglang", TGI: "docker", LLAMACPP: "llama-server"}
MOST_TOKENS = 4096  # of prompt and response, where nothing else is asked
MAINTENANCE = "TGI is in maintenance mode since December 2025; its makers point to vllm and sglang"
_INSIDE = "/repository"  # where an Inference Endpoint has the model


@dataclass(frozen=True)
class Serving:
    """What is to be served, and how.

    Attributes:
        engine (`str`): one of `IMAGES`, or on this machine `"hfdistill"`.
        model (`str`): repository of the Hub, or folder.
        max_total_tokens (`int`): of prompt and response, which decides the memory.
        tensor_parallel (`int`): GPUs that share the weights.
        revision (`str`, *optional*): of the repository.
        gguf (`str`, *optional*): the file of weights, for llama.cpp.
    """

    engine: str
    model: str
    max_total_tokens: int = MOST_TOKENS
    tensor_parallel: int = 1
    revision: str | None = None
    gguf: str | None = None

    def __post_init__(self):
        if self.engine not in (*IMAGES, OWN):
            raise unknown("engine", self.engine, (*IMAGES, OWN))
        if self.tensor_parallel < 1:
            raise HFDistillError(f"tensor_parallel is {self.tensor_parallel}: it must be at least 1")
        if self.engine == LLAMACPP and self.gguf is None:
            raise HFDistillError(
                f"llama.cpp serves GGUF files, and none of {self.model} was named: give --gguf FILE, or another engine"
            )

    def container(self, image: str | None) -> dict[str, Any]:
        """What an Inference Endpoint is told: arguments of `HfApi.create_inference_endpoint`."""
        if self.engine not in IMAGES:
            raise unknown("engine", self.engine, IMAGES)
        custom = {"url": image or IMAGES[self.engine], "healthRoute": "/health"}
        if self.engine == TGI:
            env = {"MODEL_ID": _INSIDE, "MAX_TOTAL_TOKENS": str(self.max_total_tokens)}
            return {"custom_image": custom, "env": env | {"NUM_SHARD": str(self.tensor_parallel)}}
        port, command = {
            VLLM: (8000, None),
            SGLANG: (30000, ["python3", "-m", "sglang.launch_server"]),
            LLAMACPP: (8080, None),
        }[self.engine]
        source = ["--model" if self.engine == VLLM else "--model-path", _INSIDE]
        if self.engine == LLAMACPP:
            source = ["-m", f"{_INSIDE}/{self.gguf}"]
        arguments = [*source, *self._sizes(), "--host", "0.0.0.0", "--port", str(port)]
        told = {"custom_image": custom | {"port": port}, "container_args": arguments}
        return told if command is None else told | {"container_command": command}

    def command(self, port: int, gpus: list[str], name: str, cache: str) -> list[str]:
        """How the engine is started on this machine.

        Args:
            port (`int`): of 127.0.0.1.
            gpus (`list[str]`): their indices; a container must be told.
            name (`str`): of a container.
            cache (`str`): folder of the Hub's files, which a container shares.
        """
        where = ["--host", "127.0.0.1", "--port", str(port)]
        revision = ["--revision", self.revision] if self.revision else []
        if self.engine == VLLM:
            return ["vllm", "serve", self.model, *self._sizes(), *where, *revision]
        if self.engine == SGLANG:
            return ["sglang", "serve", "--model-path", self.model, *self._sizes(), *where, *revision]
        if self.engine == LLAMACPP:
            return ["llama-server", "-m", self.gguf, *self._sizes(), *where]
        if self.engine == TGI:
            devices = ["--gpus", f'"device={",".join(gpus)}"'] if gpus else []
            return [
                *("docker", "run", "--rm", "--name", name, *devices, "--shm-size", "1g", "-e", "HF_TOKEN"),
                *("-p", f"127.0.0.1:{port}:80", "-v", f"{cache}:/data", IMAGES[TGI], "--model-id", self.model),
                *("--num-shard", str(self.tensor_parallel), "--max-total-tokens", str(self.max_total_tokens)),
                *revision,
            ]
        total = ["--max_total_tokens", str(self.max_total_tokens)]
        return [sys.executable, "-m", "hfdistill", "serve", self.model, *total, *where, *revision]

    def _sizes(self) -> list[str]:
        """Context, parallelism and name, in the engine's own words."""
        total, parallel = str(self.max_total_tokens), str(self.tensor_parallel)
        if self.engine == VLLM:
            return [
                *("--max-model-len", total, "--tensor-parallel-size", parallel),
                *("--served-model-name", self.model),
            ]
        if self.engine == SGLANG:
            return ["--context-length", total, "--tp-size", parallel, "--served-model-name", self.model]
        # Its slots share one context.
        slots = 8
        return ["-c", str(slots * self.max_total_tokens), "-np", str(slots), "-ngl", "99", "--alias", self.model]
