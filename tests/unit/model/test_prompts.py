from tlrec.data.samples import Sample
from tlrec.model import prompts

WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
    "response that appropriately completes the request.  # noqa: E501\n\n### Instruction:\nDo.\n\n### Input:\nThis."
    "\n\n### Response:\n"
)
WITHOUT_INPUT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\nDo.\n\n### Response:\n"
)


def test_published_template_to_the_letter():
    # two spaces before the stray comment, a newline and no space after "Response:": adapters were tuned on this
    assert prompts.format_prompt(Sample("Do.", "This.", "Yes.")) == WITH_INPUT
    assert prompts.format_prompt(Sample("Do.", "", "Yes.")) == WITHOUT_INPUT


def test_clean_template_lacks_only_the_stray_text():
    clean = prompts.format_prompt(Sample("Do.", "This.", "Yes."), "alpaca")
    assert clean == WITH_INPUT.replace("  # noqa: E501", "")


def test_format_prompt_keeps_braces():
    assert "{0} {input}" in prompts.format_prompt(Sample("Do.", "{0} {input}", "Yes."))
