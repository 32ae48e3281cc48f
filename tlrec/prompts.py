"""The prompt: Alpaca's template, in the wording that published adapters were tuned on.

The published TLRec and TALLRec code carries a stray linter comment after the first line of the variant with an input.
Adapters depend on that text, so it is the default (`alpaca-published`); `alpaca` is the clean wording of Stanford
Alpaca. One text serves tuning and scoring: the prompt ends in a newline after "### Response:", and the answer follows
at once.
"""

from tlrec.errors import InputError
from tlrec.samples import Sample

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


def check_template(name: str) -> None:
    if name not in STRAY_TEXT:
        raise InputError(f"--prompt_template {name!r} is unknown; choose from {', '.join(STRAY_TEXT)}")


def prompt(sample: Sample, template: str = DEFAULT_TEMPLATE) -> str:
    """The text up to the answer."""
    if not sample.input:
        return _WITHOUT_INPUT.format(instruction=sample.instruction)
    return _WITH_INPUT.format(stray=STRAY_TEXT[template], instruction=sample.instruction, input=sample.input)
