"""The student as a run will find it, opened without its weights: before the teacher is paid."""

import re
from pathlib import Path

from ..artifacts.cards import split
from ..artifacts.references import Artifact, open_artifact
from ..encoding import Encoder
from ..errors import HFDistillError
from ..sections import StudentConfig, TeacherConfig
from ..student import load_encoder
from ..tasks.base import Question, Task
from ..teacher.plan import teacher_shots


# All that a model's repository holds but its weights.
FILES = ["*.json", "*.jinja", "*.model", "*.txt", "README.md"]
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
INSTRUCT = re.compile(r"instruct|chat|\bit\b", re.IGNORECASE)


def say_of_student(student: StudentConfig, task: Task) -> str:
    """What [`open_student`] says, or that a student that is no folder was not opened where HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE and not Path(student.model).is_dir():
        return f"student {student.model}: not opened, since HF_HUB_OFFLINE is set"
    return open_student(student, task)


def open_student(student: StudentConfig, task: Task) -> str:
    """Open a student's configuration, tokenizer, template and card, and try what the stages will do with them.

    Returns:
        `str`: a sentence that says how it will be asked and trained.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if it does not exist, is no decoder-only language model that can be
            generated from and trained, cannot be asked as the section `student` says, or leaves no room for a
            response.
    """
    artifact = open_artifact(student.ref, "model", FILES)
    check_weights(artifact)
    config = read_config(artifact.path, student.model)
    check_model(config, student.model)
    encoder = read_tokenizer(artifact.path, student)
    prompt = encoder.question_ids(task, Question("example", "How many?", "test"))
    context = config.get_text_config().to_dict().get("max_position_embeddings")
    if context is None:
        raise HFDistillError(
            f"the student {student.model!r} ({config.model_type}) names no context (max_position_embeddings): name a "
            "model of another family"
        )
    if len(prompt) + task.max_new_tokens > context:
        raise HFDistillError(
            f"the student {student.model!r} reads {context} tokens, and a response may have {task.max_new_tokens} "
            "behind its prompt: lower task.max_new_tokens"
        )
    check_tools(encoder, student)
    return describe(encoder, config, student, task, licence_of(artifact.path))


def check_weights(artifact: Artifact) -> None:
    """Refuse a repository or folder that holds no weights."""
    from huggingface_hub import HfApi

    from ..artifacts.errors import hub_errors

    if artifact.in_part:
        with hub_errors("model", artifact.repo_id):
            files = HfApi().list_repo_files(artifact.repo_id, revision=artifact.revision)
    else:
        files = [path.name for path in artifact.path.iterdir()]
    if not any(name.endswith(WEIGHTS) for name in files):
        raise HFDistillError(f"the student {artifact.repo_id!r} holds no weights: name a model that was saved whole")


def read_config(folder: Path, name: str):
    """A model's configuration."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise HFDistillError(
            f"the student {name!r} has no configuration that transformers can read: {' '.join(str(error).split())}"
        ) from error


def check_model(config, name: str) -> None:
    """Refuse what cannot be a student."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    from ..llama import check_layers

    if config.is_encoder_decoder or type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise HFDistillError(
            f"the student {name!r} is no decoder-only language model ({config.model_type}): name a causal one"
        )
    if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise HFDistillError(
            f"transformers has no sequence classification model for {config.model_type}, so that no reward model can "
            f"be made of the student {name!r}: name one of another family, or of its text model alone"
        )
    if "quantization_config" in config.to_dict():
        raise HFDistillError(
            f"the weights of the student {name!r} are quantized, and students are trained in fp32: name the model "
            "that it was quantized from"
        )
    check_layers(config)


def read_tokenizer(folder: Path, student: StudentConfig) -> Encoder:
    """How the student is asked."""
    try:
        return load_encoder(folder, student)
    except (OSError, ValueError, KeyError) as error:
        raise HFDistillError(
            f"the student {student.model!r} has no tokenizer that transformers can read: "
            f"{' '.join(str(error).split())}"
        ) from error


def check_tools(encoder: Encoder, student: StudentConfig) -> None:
    """Refuse tools that the chat template has no place for."""
    if "tools" in (student.chat_template_kwargs or {}) and "tools" not in (encoder.tokenizer.chat_template or ""):
        raise HFDistillError(
            f"student.chat_template_kwargs holds tools, and the chat template of {student.model!r} has no place for "
            "them: leave them out, or name a model that was trained on tools"
        )


def licence_of(folder: Path) -> str | None:
    """The licence on a model's card."""
    card = folder / "README.md"
    return split(card.read_text(encoding="utf-8"))[0].get("license") if card.is_file() else None


def describe(encoder: Encoder, config, student: StudentConfig, task: Task, licence: str | None) -> str:
    """How the student will be asked and trained, as a sentence."""
    token = encoder.tokenizer.convert_ids_to_tokens
    asked = "through its chat template, without worked examples"
    if encoder.chat is None:
        asked = f"in text, before its training behind {task.shots or 'no'} worked example{'s' * (task.shots != 1)}"
    dtype = str(config.dtype or "float32").removeprefix("torch.")
    ends = ", ".join(map(repr, token(encoder.end_token_ids)))
    stated = student.license or licence
    told = f"licence {stated}" if stated else "no licence stated"
    if stated and not student.license:
        told += " (by its card; student.license carries it into what is made)"
    return (
        f"student {student.model}: asked {asked}, pads with {token(encoder.pad_token_id)!r}, ends a response with "
        f"{ends}; weights of {dtype}, trained in float32; {told}"
    )


def describe_teacher(teacher: TeacherConfig, task: Task) -> str:
    """How the teacher will be asked, as a sentence."""
    shots = teacher_shots(teacher, task)
    asked = "through its chat template" if teacher.chat else "in text"
    told = f"teacher {teacher.model}: asked {asked}, with {shots or 'no'} worked example{'s' * (shots != 1)}"
    if not teacher.chat and INSTRUCT.search(teacher.model):
        told += " (by its name an instruct model: teacher.chat asks it in a conversation)"
    return told
