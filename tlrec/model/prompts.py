"""The prompt: Alpaca's template, in the wording that published adapters were tuned on.

The published TLRec and TALLRec code carries a stray linter comment after the first line of the variant with an input.
Adapters depend on that text, so it is the default (`alpaca-published`); `alpaca` is the clean wording of Stanford
Alpaca. One text serves tuning and scoring: the prompt ends in a newline after "### Response:", and the answer follows
at once. `chat` is the chat template that a chat-tuned model brings in its folder.
"""

import hashlib
import json
from pathlib import Path

from tlrec import files
from tlrec.data.samples import Sample
from tlrec.errors import InputError, first_line

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
# some templates write today's date; scores must not depend on it
_FIXED_DATE = "{% macro strftime_now(format) %}26 Jul 2024{% endmacro %}"
_PLACE = "Yes."


def check_template(name: str) -> None:
    if name not in (*STRAY_TEXT, CHAT):
        raise InputError(f"--prompt_template {name!r} is unknown; choose from {', '.join([*STRAY_TEXT, CHAT])}")


def format_prompt(sample: Sample, template: str = DEFAULT_TEMPLATE) -> str:
    """The text up to the answer."""
    if not sample.input:
        return _WITHOUT_INPUT.format(instruction=sample.instruction)
    return _WITH_INPUT.format(stray=STRAY_TEXT[template], instruction=sample.instruction, input=sample.input)


def chat_template_hash(base: Path, template: str) -> dict[str, str]:
    """For --prompt_template chat, the hash of the template in the model's folder; empty for the others.

    InputError where the model has no chat template.
    """
    if template != CHAT:
        return {}
    found = None
    if (base / "chat_template.jinja").is_file():
        try:
            found = (base / "chat_template.jinja").read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{base / 'chat_template.jinja'}: not UTF-8 at byte {error.start}; fetch the model again"
                             ) from None
    for name in ("chat_template.json", "tokenizer_config.json"):
        if not found and (base / name).is_file():
            said = files.read_json(base / name, "")
            if not isinstance(said, dict):
                raise InputError(f"{base / name}: not a JSON object; fetch the model again")
            found = json.dumps(said.get("chat_template") or "").strip('"')
    if not found:
        raise InputError(f"{base}: the model has no chat template (chat_template.jinja, or chat_template in "
                         f"tokenizer_config.json); use --prompt_template {DEFAULT_TEMPLATE}")
    return {"chat_template_sha256": hashlib.sha256(found.encode()).hexdigest()}


def format_chat(sample: Sample, tokenizer) -> tuple[str, str]:
    """(text up to the answer, text that closes the answer) by the tokenizer's own chat template.

    What a template puts between its request for an answer and the answer (a space, an empty block of thought) belongs
    to the text before it. InputError where the template cannot show a question and its answer.
    """
    asked = {"role": "user", "content": "\n\n".join(filter(None, [sample.instruction, sample.input]))}
    try:
        template = _FIXED_DATE + tokenizer.get_chat_template()
        fixed = {"chat_template": template, "tokenize": False, "enable_thinking": False}
        request = tokenizer.apply_chat_template([asked], add_generation_prompt=True, **fixed)
        whole = tokenizer.apply_chat_template([asked, {"role": "assistant", "content": _PLACE}], **fixed)
        whole.encode()
    except Exception as error:  # a template is a program of the model's makers, and raises what it likes
        raise InputError(f"{tokenizer.name_or_path}: the model's chat template fails ({first_line(error)}); "
                         f"use --prompt_template {DEFAULT_TEMPLATE}") from None
    before, _, after = whole.rpartition(_PLACE)
    if not before.startswith(request):
        raise InputError(f"{tokenizer.name_or_path}: the model's chat template begins an answer otherwise when it asks "
                         f"for one than in a conversation; use --prompt_template {DEFAULT_TEMPLATE}")
    return before, after.rstrip()
