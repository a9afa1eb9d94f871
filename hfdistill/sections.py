"""The sections of a configuration that all stages share: the run, the teacher, the student, its adapters."""

from dataclasses import dataclass, field

import yaml

from .errors import HFDistillError
from .fields import NO_EFFECT, PARENT, Values, check_choices, check_positive, decides, section


# What loads a model of the student's, and how it is asked.
MODELS = ("warmup", "triples", "reward", "policy", "results")
OF_MODELS = decides(*MODELS)
OF_THEIR_CHAT = decides(*MODELS, if_changed=True)
# What trains a model of the student's.
OF_TRAINING = decides("warmup", "reward", "policy")
# What is asked of the teacher: by labelling, and by evaluation for the row of its own.
OF_THE_TEACHER = decides("labels", "results")
OF_ITS_ANSWERS = decides("labels", "results", if_changed=True)
DTYPES = ("auto", "float32", "bfloat16", "float16")
# Fields of a request to the teacher that are decided elsewhere.
PLANNED = {"model", "messages", "prompt", "inputs", "temperature", "do_sample", "seed", "stop", "top_p", "top_k"}
PLANNED |= {"max_tokens", "max_completion_tokens", "max_new_tokens", "n", "stream", "details"}


def _mapping(name: str, value: dict | str | None, example: str) -> dict | None:
    """A setting that holds keys and values, or YAML of some."""
    read = yaml.safe_load(value) if isinstance(value, str) else value
    if not isinstance(read, dict | None):
        raise HFDistillError(f"{name} is {read!r}: it must hold keys and values, as {{{example}}} does")
    return read


@section()
@dataclass
class RunConfig:
    """What all stages of a run share.

    Args:
        name (`str`): prefix of every artifact's name.
        namespace (`str`, *optional*): user or organisation on the Hub; the token's user by default.
        seed (`int`, *optional*, defaults to 0): seed of sampling, shuffling and training.
        output_dir (`str`, *optional*): folder for journals, checkpoints and logs; `runs/{name}` by default.
        push (`bool`, *optional*, defaults to `True`): publish to the Hub; if `False`, artifacts are folders in
            `output_dir/artifacts` and every stage reads them there.
        private (`bool`, *optional*, defaults to `False`): create repositories as private.
        suffix (`str`, *optional*, defaults to `""`): appended to the names of what is written: keeps an ablation
            apart from the main run.
        overwrite_edits (`bool`, *optional*, defaults to `False`): let a new version replace data that was edited by
            hand. Without it a stage says so and ends before it begins.
        keep_checkpoints (`bool`, *optional*, defaults to `False`): leave a training's checkpoints where they are
            after its model was published; without it they are removed then.
    """

    name: str = field(metadata=NO_EFFECT)
    namespace: str | None = field(default=None, metadata=NO_EFFECT)
    seed: int = field(default=0, metadata=decides(unless=("results", "compare")))
    output_dir: str | None = field(default=None, metadata=NO_EFFECT)
    push: bool = field(default=True, metadata=NO_EFFECT)
    private: bool = field(default=False, metadata=NO_EFFECT)
    suffix: str = field(default="", metadata=NO_EFFECT)
    overwrite_edits: bool = field(default=False, metadata=NO_EFFECT)
    keep_checkpoints: bool = field(default=False, metadata=NO_EFFECT)

    def __post_init__(self):
        if self.output_dir is None:
            self.output_dir = f"runs/{self.name}"


def own_shots(teacher: Values) -> int | None:
    """How many worked examples the teacher sees, where that is not the task's number."""
    return 0 if teacher["shots"] is None and teacher["chat"] else teacher["shots"]


@section()
@dataclass
class TeacherConfig:
    """The large model and where it answers.

    Args:
        model (`str`): its name on the Hub, for cards and lineage.
        endpoints (`list[str]`): base URLs of TGI or OpenAI-style servers.
        served_model (`str`, *optional*): the name under which the endpoints serve it, where that is another.
        accept_models (`list[str]`, *optional*): others whose answers are kept as the teacher's. Without them, what
            another model answers (a gateway's fallback, a swap) is set apart and asked again.
        kind (`str`, *optional*, defaults to `"auto"`): protocol of the endpoints; found by probing. `"openai_chat"`
            is the same as `chat`.
        chat (`bool`, *optional*, defaults to `False`): render prompts by the teacher's chat template. Worked examples
            are turns of their own then.
        shots (`int`, *optional*): worked examples in front of a question; `task.shots` by default, none in chat.
        system_prompt (`str`, *optional*): the first turn of a conversation.
        extra_body (`dict`, *optional*): further fields of every request, for example
            `{chat_template_kwargs: {enable_thinking: false}}`; of `/generate`'s `parameters`.
        api_key_env (`str`, *optional*): environment variable with the endpoints' token. Without it, the saved Hugging
            Face token goes to Hugging Face hosts and no token anywhere else.
        license (`str`, *optional*): licence of the teacher's outputs, carried into every artifact.
        concurrency (`int`, *optional*): requests in flight at an endpoint; what its `/info` says by default, or 64.
        timeout (`float`, *optional*, defaults to 600): seconds that one request may take. It must exceed the longest
            generation, or long answers would be lost more often than short ones.
        tries (`int`, *optional*, defaults to 5): how often a request that fails is sent before it is given up. A
            request refused because the endpoint is busy costs none.
        patience (`float`, *optional*, defaults to 900): seconds without an answer after which the asking ends, when
            all endpoints are out or refuse and no request waits for one. It must exceed the start of an endpoint, up
            to ten minutes from zero.
        max_requests (`int`, *optional*): stop when so many responses were bought, earlier calls included; labelling,
            a judge and the evaluation on each task count for themselves.
        max_cost (`float`, *optional*): stop when so much was spent, earlier calls included; needs a price.
        gpu_hour_price (`float`, *optional*): price of an hour of one endpoint.
        input_price (`float`, *optional*): price of a million prompt tokens.
        output_price (`float`, *optional*): price of a million generated tokens.
    """

    model: str = field(metadata=OF_THE_TEACHER)
    endpoints: list[str] = field(default_factory=list, metadata=NO_EFFECT)
    served_model: str | None = field(default=None, metadata=NO_EFFECT)
    accept_models: list[str] = field(default_factory=list, metadata=OF_ITS_ANSWERS)
    kind: str = field(default="auto", metadata=NO_EFFECT)
    chat: bool = field(default=False, metadata=OF_THE_TEACHER)
    shots: int | None = field(default=None, metadata=decides("labels", "results", value=own_shots, if_changed=True))
    system_prompt: str | None = field(default=None, metadata=OF_ITS_ANSWERS)
    extra_body: dict | str | None = field(default=None, metadata=OF_ITS_ANSWERS)
    api_key_env: str | None = field(default=None, metadata=NO_EFFECT)
    license: str | None = field(default=None, metadata=NO_EFFECT)
    concurrency: int | None = field(default=None, metadata=NO_EFFECT)
    timeout: float = field(default=600.0, metadata=NO_EFFECT)
    tries: int = field(default=5, metadata=NO_EFFECT)
    patience: float = field(default=900.0, metadata=NO_EFFECT)
    max_requests: int | None = field(default=None, metadata=NO_EFFECT)
    max_cost: float | None = field(default=None, metadata=NO_EFFECT)
    gpu_hour_price: float | None = field(default=None, metadata=NO_EFFECT)
    input_price: float | None = field(default=None, metadata=NO_EFFECT)
    output_price: float | None = field(default=None, metadata=NO_EFFECT)

    def __post_init__(self):
        self.chat = self.chat or self.kind == "openai_chat"
        if self.shots is not None and self.shots < 0:
            raise HFDistillError(f"teacher.shots is {self.shots}: it must be 0 or more")
        if self.system_prompt is not None and not self.chat:
            raise HFDistillError(
                "teacher.system_prompt is set, but the teacher is asked in text: add teacher.chat: true"
            )
        self.extra_body = _mapping(
            "teacher.extra_body", self.extra_body, "chat_template_kwargs: {enable_thinking: false}"
        )
        for name in PLANNED & {*(self.extra_body or ())}:
            raise HFDistillError(
                f"teacher.extra_body holds {name!r}, which is decided by the run's other settings: leave it out"
            )
        check_positive("teacher.", self, "concurrency", "timeout", "tries", "patience", "max_requests")
        if self.max_cost is not None and not any((self.gpu_hour_price, self.input_price, self.output_price)):
            raise HFDistillError(
                f"teacher.max_cost is {self.max_cost}, but no price is known: give teacher.gpu_hour_price, "
                "or teacher.input_price and teacher.output_price"
            )


@section()
@dataclass
class StudentConfig:
    """The small model before training.

    Args:
        model (`str`): repository or folder of the base student.
        revision (`str`, *optional*): its revision.
        dtype (`str`, *optional*, defaults to `"auto"`): dtype to load it in where it only answers: `"auto"` is that of
            its file, others are `"float32"`, `"bfloat16"` and `"float16"`. Weights that are trained are fp32 always.
        attn_implementation (`str`, *optional*): attention kernel, for example `"sdpa"` or `"flash_attention_2"`.
        pad_token (`str`, *optional*): token of its vocabulary to pad with; its tokenizer's own by default, or one to
            spare where that ends responses.
        license (`str`, *optional*): its licence.
        chat (`bool`, *optional*): ask it through its chat template; by default where its own end tokens show that it
            was trained on conversations.
        system_prompt (`str`, *optional*): the first turn of such a conversation.
        prefill (`str`, *optional*): how each of its turns begins, as part of the prompt.
        chat_template_kwargs (`dict`, *optional*): what its template is given beside the messages, for example
            `{enable_thinking: false}`, or `tools`, a list of their schemas.
    """

    model: str = field(metadata=PARENT)
    revision: str | None = field(default=None, metadata=PARENT)
    dtype: str = field(default="auto", metadata=decides("triples", "policy", "results"))  # of what only answers
    attn_implementation: str | None = field(default=None, metadata=NO_EFFECT)
    pad_token: str | None = field(default=None, metadata=OF_MODELS)
    license: str | None = field(default=None, metadata=NO_EFFECT)
    chat: bool | None = field(default=None, metadata=OF_MODELS)
    system_prompt: str | None = field(default=None, metadata=OF_THEIR_CHAT)
    prefill: str | None = field(default=None, metadata=OF_THEIR_CHAT)
    chat_template_kwargs: dict | str | None = field(default=None, metadata=OF_THEIR_CHAT)

    def __post_init__(self):
        check_choices("student.", self, dtype=DTYPES)
        self.chat_template_kwargs = _mapping(
            "student.chat_template_kwargs", self.chat_template_kwargs, "enable_thinking: false"
        )
        if self.chat is False and any((self.system_prompt, self.prefill, self.chat_template_kwargs)):
            raise HFDistillError(
                "student.chat is false, and system_prompt, prefill and chat_template_kwargs belong to conversations: "
                "leave them out, or set student.chat: true"
            )

    @property
    def ref(self) -> str:
        """Repository or folder, with its revision if one is given."""
        return f"{self.model}@{self.revision}" if self.revision else self.model


@section()
@dataclass
class AdapterConfig:
    """LoRA adapters, which warm-up, reward model and PPO train instead of all weights, for a fraction of the memory.

    Each stage trains an adapter of its own, in PPO the value model as well as the policy, and publishes it merged: a
    plain model. Heads of reward and value model are trained whole. Fields are those of `peft.LoraConfig`.

    Args:
        r (`int`): rank.
        lora_alpha (`int`, *optional*, defaults to 32): what the adapter adds is scaled by `lora_alpha / r`.
        lora_dropout (`float`, *optional*, defaults to 0): of what an adapter reads, in the warm-up and the reward
            model: PPO trains without dropout.
        target_modules (`list[str]`, *optional*, defaults to `["all-linear"]`): names of the modules that get an
            adapter; `all-linear` is each linear map but the head.
        use_rslora (`bool`, *optional*, defaults to `False`): scale by `lora_alpha / sqrt(r)` instead.
    """

    r: int = field(metadata=OF_TRAINING)
    lora_alpha: int = field(default=32, metadata=OF_TRAINING)
    lora_dropout: float = field(default=0.0, metadata=decides("warmup", "reward"))
    target_modules: list[str] = field(default_factory=lambda: ["all-linear"], metadata=OF_TRAINING)
    use_rslora: bool = field(default=False, metadata=OF_TRAINING)

    def __post_init__(self):
        check_positive("peft.", self, "r", "lora_alpha")
        if not 0 <= self.lora_dropout < 1:
            raise HFDistillError(f"peft.lora_dropout is {self.lora_dropout}: it must be at least 0 and less than 1")
        if not self.target_modules:
            raise HFDistillError("peft.target_modules names no module: give ['all-linear'], or leave it out")


SHARED = {"run": RunConfig, "teacher": TeacherConfig, "student": StudentConfig, "peft": AdapterConfig}
