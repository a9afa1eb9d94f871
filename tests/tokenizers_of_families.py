"""Small tokenizers with the tokens, the beginnings and the chat templates of the families that students come from.

tokenizer = make_tokenizer("qwen2.5-instruct")
end_token_ids("qwen2.5-instruct")   # those that its generation_config names
"""

import json
from dataclasses import dataclass, replace
from functools import cache

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if tools is defined %}{{ tools | tojson }}{% endif %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
PHI = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% else %}<|endoftext|>{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
QWEN = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_pad|>"]
SMOL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<file_sep>"]
LLAMA = [
    *("<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>"),
    *("<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>"),
]


@dataclass(frozen=True)
class Layout:
    """A family's special tokens, which of them do what, and which end tokens its generation_config names."""

    special: list[str]
    eos: str
    ends: list[str]
    pad: str | None = None
    bos: str | None = None
    adds_bos: bool = False
    template: str | None = None
    model: str = ""  # of tests/families.py
    words: str = (
        "bytes"  # or "blanks" and "blank first", as SentencePiece cuts texts: ▁ for a blank, bytes where needed
    )


QWEN_INSTRUCT = Layout(
    QWEN, "<|im_end|>", ["<|im_end|>", "<|endoftext|>"], "<|endoftext|>", template=CHATML, model="qwen2"
)
GEMMA_INSTRUCT = Layout(
    ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"],
    "<eos>",
    ["<eos>", "<end_of_turn>"],
    "<pad>",
    "<bos>",
    adds_bos=True,
    template=GEMMA,
    model="gemma2",
)
LAYOUTS = {
    "llama3-base": Layout(
        LLAMA, "<|end_of_text|>", ["<|end_of_text|>"], bos="<|begin_of_text|>", adds_bos=True, model="llama3"
    ),
    "llama3-instruct": Layout(
        LLAMA,
        "<|eot_id|>",
        ["<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"],
        bos="<|begin_of_text|>",
        adds_bos=True,
        template=LLAMA3,
        model="llama3",
    ),
    "qwen2.5-base": Layout(QWEN, "<|endoftext|>", ["<|endoftext|>"], "<|endoftext|>", template=CHATML, model="qwen2"),
    "qwen2.5-instruct": QWEN_INSTRUCT,
    "qwen3": replace(QWEN_INSTRUCT, model="qwen3"),
    "gemma2": GEMMA_INSTRUCT,
    "gemma3": replace(GEMMA_INSTRUCT, model="gemma3", words="blanks"),
    "phi4-mini": Layout(
        ["<|endoftext|>", "<|assistant|>", "<|end|>", "<|user|>", "<|system|>", "<|dummy_0|>"],
        "<|endoftext|>",
        ["<|end|>", "<|endoftext|>"],
        "<|endoftext|>",
        "<|endoftext|>",
        template=PHI,
        model="phi3",
    ),
    "mistral-instruct": Layout(
        ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"],
        "</s>",
        ["</s>"],
        bos="<s>",
        adds_bos=True,
        template=MISTRAL,
        model="mistral",
        words="blank first",
    ),
    "smollm2-instruct": Layout(
        SMOL, "<|im_end|>", ["<|im_end|>"], "<|im_end|>", "<|im_start|>", template=CHATML, model="smollm2"
    ),
}
TEXT = [
    "Q: Tom has 4 plums and buys 5 more. How many plums does Tom have now?\nLet's break this down step by step!",
    "Step 1: 4 + 5 = 9.\nThe answer is 9.",
    "naïve café 😀 你好",
] * 4


@cache
def _words(kind: str) -> str:
    """A BPE of some merges, as JSON."""
    if kind == "bytes":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet, more = pre_tokenizers.ByteLevel.alphabet(), []
    else:
        tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True))
        first = [normalizers.Prepend("▁")] if kind == "blank first" else []
        tokenizer.normalizer = normalizers.Sequence([*first, normalizers.Replace(" ", "▁")])
        steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        tokenizer.decoder = decoders.Sequence(steps + ([decoders.Strip(" ", 1, 0)] if first else []))
        alphabet, more = list(map(chr, range(32, 127))), [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=340 + len(more), initial_alphabet=alphabet, special_tokens=more, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = []  # bytes are no special tokens
    return json.dumps(content)


def make_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of this layout."""
    layout = LAYOUTS[name]
    words = Tokenizer.from_str(_words(layout.words))
    words.add_special_tokens([AddedToken(token, special=True) for token in layout.special])
    if layout.adds_bos:
        words.post_processor = processors.TemplateProcessing(
            single=f"{layout.bos} $A",
            pair=f"{layout.bos} $A {layout.bos} $B",
            special_tokens=[(layout.bos, words.token_to_id(layout.bos))],
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token=layout.eos, pad_token=layout.pad, bos_token=layout.bos, name_or_path=name
    )
    tokenizer.chat_template = layout.template
    return tokenizer


def end_token_ids(name: str) -> list[int]:
    """The end tokens that the model's generation_config names."""
    return make_tokenizer(name).convert_tokens_to_ids(LAYOUTS[name].ends)


def save_student(name: str, folder, overhang: int = 8, **settings) -> None:
    """A tiny student of the family, with its tokenizer and generation_config, as its authors would have saved it."""
    from .families import for_tokenizer

    tokenizer = make_tokenizer(name)
    model = for_tokenizer(LAYOUTS[name].model, tokenizer, overhang, **settings)
    model.generation_config.update(
        eos_token_id=end_token_ids(name), do_sample=True, temperature=0.6, top_p=0.9, repetition_penalty=1.1
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
