"""What TRL uses of vLLM, over our own generation, where vLLM cannot be installed; as a program, `vllm serve`.

Weights travel through a socket in place of NCCL, and are held in bf16, so that it samples a little differently from
what is trained, as vLLM does.
"""

import importlib.machinery
import json
import sys
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Client, Listener
from types import ModuleType, SimpleNamespace

import torch
from transformers import AutoModelForCausalLM

from hfdistill.generation import Sampling, generate


EOS, PAD = 1, 0


@dataclass
class SamplingParams:
    max_tokens: int
    temperature: float
    n: int
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    logprobs: int
    stop: list[str] = field(default_factory=list)

    def __post_init__(self):
        assert (self.n, self.top_p, self.top_k, self.min_p, self.repetition_penalty) == (1, 1.0, 0, 0.0, 1.0)
        assert self.logprobs == 0


class LLM:
    """The engine: `generate`, and the road on which TRL brings weights to it."""

    def __init__(self, model, **options):
        self.options = options
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.fill_(float("nan"))  # What it samples from must have been sent.
        runner = SimpleNamespace(model=SimpleNamespace(load_weights=self.load_weights))
        worker = SimpleNamespace(model_runner=runner)
        self.llm_engine = SimpleNamespace(model_executor=SimpleNamespace(driver_worker=worker))
        self.awake = {"weights", "kv_cache"}
        self.updates = 0

    def load_weights(self, weights):
        assert "weights" in self.awake
        named = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, value in weights:
                named[name].copy_(value)

    def reset_prefix_cache(self):
        self.updates += 1

    def sleep(self, level):
        assert level == 2
        self.awake = set()

    def wake_up(self, tags):
        self.awake |= set(tags)

    def generate(self, prompts, sampling_params, use_tqdm=False):
        assert self.awake == {"weights", "kv_cache"}
        prompts = [prompt["prompt_token_ids"] for prompt in prompts]
        sampling = Sampling(sampling_params.max_tokens, sampling_params.temperature)
        rows = generate(self.model, prompts, sampling, eos_token_id=EOS, pad_token_id=PAD)
        return [
            self._output(prompt, row, sampling.temperature or 1.0) for prompt, row in zip(prompts, rows, strict=True)
        ]

    def _output(self, prompt, row, temperature):
        ids = [*row.token_ids, *([EOS] if row.finish_reason == "eos_token" else [])]
        with torch.no_grad():
            logits = self.model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1].float()
        log_probs = (logits / temperature).log_softmax(-1)[range(len(ids)), ids].tolist()
        logprobs = [
            {token: SimpleNamespace(logprob=value, rank=1)} for token, value in zip(ids, log_probs, strict=True)
        ]
        return SimpleNamespace(prompt_token_ids=prompt, outputs=[SimpleNamespace(token_ids=ids, logprobs=logprobs)])


class NCCLWeightTransferEngine:
    """The trainer's end: it listens, and the server comes."""

    @staticmethod
    def trainer_init(init_info):
        listener = Listener((init_info["master_address"], init_info["master_port"]))
        return SimpleNamespace(connection=listener.accept(), group=SimpleNamespace())

    @staticmethod
    def trainer_send_weights(iterator, trainer_args):
        for name, value in iterator:
            trainer_args.group.connection.send((name, value.detach().float().numpy()))


@dataclass
class NCCLTrainerSendWeightsArgs:
    group: SimpleNamespace
    packed: bool


def install():
    """Make it importable as `vllm`, before TRL looks for it."""
    contents = {
        "vllm": {"LLM": LLM, "SamplingParams": SamplingParams, "RequestOutput": object, "__version__": "0.22.0"},
        "vllm.sampling_params": {"StructuredOutputsParams": None},
        "vllm.utils": {},
        "vllm.utils.network_utils": {"get_ip": lambda: "127.0.0.1"},
        "vllm.distributed": {},
        "vllm.distributed.weight_transfer": {},
        "vllm.distributed.weight_transfer.nccl_engine": {
            "NCCLTrainerSendWeightsArgs": NCCLTrainerSendWeightsArgs,
            "NCCLWeightTransferEngine": NCCLWeightTransferEngine,
        },
    }
    for name, names in contents.items():
        module = ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        module.__path__ = []
        vars(module).update(names)
        sys.modules[name] = module


class Handler(BaseHTTPRequestHandler):
    """The routes of `vllm serve` that TRL's client calls."""

    llm: LLM
    weights: object = None
    updating = False

    def do_GET(self):
        path = self.path.partition("?")[0]
        answers = {
            "/health": {},
            "/v1/models": {"data": [{"id": "policy"}]},
            "/server_info": {"vllm_config": {"weight_transfer_config": {"backend": "nccl"}}},
            "/get_world_size": {"world_size": 1},
        }
        self.answer(answers[path])

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or "{}")
        self.answer(getattr(self, self.path.replace("/", "_"))(body) or {})

    def answer(self, content):
        text = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _init_weight_transfer_engine(self, body):
        info = body["init_info"]
        for attempt in range(100):
            try:
                Handler.weights = Client((info["master_address"], info["master_port"]))
                return
            except ConnectionRefusedError:
                time.sleep(0.02 * (attempt + 1))

    def _start_weight_update(self, body):
        assert not Handler.updating
        Handler.updating = True

    def _update_weights(self, body):
        assert Handler.updating
        info = body["update_info"]
        for name, shape in zip(info["names"], info["shapes"], strict=True):
            sent, value = Handler.weights.recv()
            assert (sent, list(value.shape)) == (name, shape)
            self.llm.load_weights([(name, torch.from_numpy(value))])

    def _finish_weight_update(self, body):
        Handler.updating = False

    def _reset_prefix_cache(self, body):
        self.llm.reset_prefix_cache()

    def _v1_completions(self, body):
        assert not Handler.updating and body.pop("model") == "policy"
        assert body.pop("return_token_ids") and body.pop("return_tokens_as_token_ids")
        prompts = [{"prompt_token_ids": ids} for ids in body.pop("prompt")]
        choices = []
        for output in self.llm.generate(prompts, SamplingParams(**body)):
            (first,) = output.outputs
            values = [next(iter(row.values())).logprob for row in first.logprobs]
            names = [f"token_id:{token}" for token in first.token_ids]
            logprobs = {"tokens": names, "token_logprobs": values, "top_logprobs": [None] * len(names)}
            choices.append(
                {"prompt_token_ids": output.prompt_token_ids, "token_ids": first.token_ids, "logprobs": logprobs}
            )
        return {"choices": choices}

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    Handler.llm = LLM(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
