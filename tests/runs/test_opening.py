"""A student is opened without its weights, before a teacher is paid: how it is asked, and what could not be run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hfdistill.errors import HFDistillError
from hfdistill.runs.opening import describe_teacher, open_student
from hfdistill.sections import StudentConfig, TeacherConfig
from hfdistill.tasks import load_task

from ..tokenizers_of_families import save_student


ROOT = Path(__file__).parents[2]
TASK = {"name": "word_problems", "train": 2, "validation": 1, "test": 1}


@pytest.fixture(scope="module")
def student(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("student")
    save_student("smollm2-instruct", folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\nA model.\n", encoding="utf-8")
    return folder


def test_it_says_how_it_will_be_asked_and_trained(student):
    said = open_student(StudentConfig(str(student)), load_task(TASK))
    assert "asked through its chat template" in said and "pads with '<|endoftext|>'" in said
    assert "ends a response with '<|im_end|>'" in said
    assert "trained in float32; licence apache-2.0 (by its card" in said
    assert "asked in text" in open_student(StudentConfig(str(student), chat=False), load_task(TASK))


def test_it_says_how_the_teacher_will_be_asked():
    task = load_task({**TASK, "shots": 3})
    assert (
        describe_teacher(TeacherConfig("my/large"), task) == "teacher my/large: asked in text, with 3 worked examples"
    )
    assert describe_teacher(TeacherConfig("t", chat=True), task).endswith("chat template, with no worked examples")
    assert "teacher.chat asks it in a conversation" in describe_teacher(TeacherConfig("My-7B-Instruct"), task)


def changed(student: Path, folder: Path, **config) -> Path:
    """The student with another configuration."""
    for path in student.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**found, **config}), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}, "no decoder-only language model .t5."),
        ({"model_type": "made-up"}, "no configuration that transformers can read"),
        (
            {"quantization_config": {"quant_method": "gptq", "bits": 4}},
            "quantized, and students are trained in fp32",
        ),
        ({"model_type": "jamba", "architectures": ["JambaForCausalLM"]}, "vLLM or TGI instead|layers of type"),
        ({"max_position_embeddings": 64}, "reads 64 tokens.*lower task.max_new_tokens"),
    ],
)
def test_what_cannot_be_a_student_is_one_sentence(student, tmp_path, config, message):
    with pytest.raises(HFDistillError, match=message):
        open_student(StudentConfig(str(changed(student, tmp_path, **config))), load_task(TASK))


def test_a_folder_without_weights_or_tokenizer(student, tmp_path):
    folder = changed(student, tmp_path)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(HFDistillError, match="no tokenizer that transformers can read"):
        open_student(StudentConfig(str(folder)), load_task(TASK))
    (folder / "model.safetensors").unlink()
    with pytest.raises(HFDistillError, match="holds no weights"):
        open_student(StudentConfig(str(folder)), load_task(TASK))


def test_tools_need_a_place_in_the_template(student):
    with pytest.raises(HFDistillError, match="has no place for them"):
        open_student(StudentConfig(str(student), chat_template_kwargs={"tools": []}), load_task(TASK))


def written(folder: Path, student: dict) -> Path:
    sections = {
        "run": {"name": "r", "push": False, "output_dir": str(folder / "run")},
        "task": TASK,
        "teacher": {"model": "t", "endpoints": ["http://127.0.0.1:9"]},
        "student": student,
    }
    path = folder / "r.yaml"
    path.write_text(yaml.safe_dump(sections), encoding="utf-8")
    return path


@pytest.mark.parametrize("program", [["-m", "hfdistill", "validate"], ["recipes/label_teacher.py", "--config"]])
def test_the_student_is_opened_before_the_teacher_is_asked(student, tmp_path, program):
    """The teacher's endpoint does not exist, and is not what the error is about."""
    config = written(tmp_path, {"model": str(student), "pad_token": "<none such>"})
    done = subprocess.run([sys.executable, *program, config], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert "student.pad_token '<none such>' is not in the vocabulary" in done.stderr and "Traceback" not in done.stderr


def test_an_absent_student_is_named(tmp_path):
    with pytest.raises(HFDistillError, match="nowhere"):
        open_student(StudentConfig(str(tmp_path / "nowhere")), load_task(TASK))
