"""The prompt: Alpaca's template, in the wording that published adapters were tuned on.

The published TLRec and TALLRec code carries a stray linter comment after the first line of the variant with an input.
Published adapters depend on that text, so it is the default (`alpaca-published`); `alpaca` is the clean wording of
Stanford Alpaca. Tuning and scoring use the same text: the prompt ends in a newline after "### Response:", and the
answer follows at once. `chat` is the chat template that a chat-tuned model brings in its folder.
"""

from pathlib import Path

from tlrec.data.samples import Sample
from tlrec.errors import InputError, first_line
from tlrec.files import read_optional_json

_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.{stray}\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)
_WITHOUT_INPUT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n"
)
STRAY_TEXT = {"alpaca-published": "  # noqa: E501", "alpaca": ""}
DEFAULT_TEMPLATE = "alpaca-published"
CHAT = "chat"
TEMPLATES = (*STRAY_TEXT, CHAT)
TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
# some chat templates insert the date; scores must not depend on it
_FIXED_DATE = "{% macro strftime_now(format) %}26 Jul 2024{% endmacro %}"
_ANSWER = "Yes."
PROBE = Sample("Given the user's preference, answer.", 'User Preference: "Film (1990)"', _ANSWER)


def format_prompt(sample: Sample, template: str = DEFAULT_TEMPLATE) -> str:
    """The text up to the answer."""
    if not sample.input:
        return _WITHOUT_INPUT.format(instruction=sample.instruction)
    return _WITH_INPUT.format(stray=STRAY_TEXT[template], instruction=sample.instruction, input=sample.input)


def chat_question(sample: Sample) -> str:
    """The message of a user that asks for the answer."""
    return "\n\n".join(filter(None, [sample.instruction, sample.input]))


def chat_template(folder: Path) -> object:
    """The chat template in a model's folder, in any of the files that transformers reads; None where there is none."""
    for path in (folder / name for name in TEMPLATE_FILES):
        if path.is_file():
            template = (path.read_text(encoding="utf-8", errors="replace") if path.suffix == ".jinja" else
                        read_optional_json(path).get("chat_template"))
            if template:
                return template
    return None


def check_chat_template(base: Path, template: str) -> None:
    """InputError for --prompt_template chat where the model's folder has no chat template."""
    if template == CHAT and not chat_template(base):
        raise InputError(f"{base}: the model has no chat template (chat_template.jinja, or chat_template in "
                         f"tokenizer_config.json); use --prompt_template {DEFAULT_TEMPLATE}")


def format_chat(sample: Sample, tokenizer) -> tuple[str, str]:
    """(text up to the answer, text that closes the answer) by the tokenizer's own chat template.

    What a template puts between the generation prompt and the answer (a space, an empty thinking block) belongs to the
    text before it. InputError where the template cannot render a question and its answer.
    """
    question = {"role": "user", "content": chat_question(sample)}
    try:
        template = _FIXED_DATE + tokenizer.get_chat_template()
        fixed = {"chat_template": template, "tokenize": False, "enable_thinking": False}
        request = tokenizer.apply_chat_template([question], add_generation_prompt=True, **fixed)
        conversation = tokenizer.apply_chat_template([question, {"role": "assistant", "content": _ANSWER}], **fixed)
        conversation.encode()
    except Exception as error:  # a template is a program and may raise anything
        raise InputError(f"{tokenizer.name_or_path}: the model's chat template fails ({first_line(error)}); "
                         f"use --prompt_template {DEFAULT_TEMPLATE}") from None
    before, _, after = conversation.rpartition(_ANSWER)
    if not before.startswith(request):
        raise InputError(f"{tokenizer.name_or_path}: the model's chat template starts an answer differently in a "
                         f"generation prompt than in a conversation; use --prompt_template {DEFAULT_TEMPLATE}")
    return before, after.rstrip()
