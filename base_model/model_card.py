"""The model card of an adapter or merged model: README.md from its manifest and the record of evaluations."""

import yaml

from tlrec import paths
from tlrec.data import preference_text, samples
from tlrec.data.samples import Sample
from tlrec.errors import InputError, printable
from tlrec.evaluation.intervals import MIN_USERS
from tlrec.evaluation.metrics import format_figure, format_interval
from tlrec.evaluation.record_schema import EvaluationRecord, chain_name
from tlrec.model import prompts
from tlrec.model.adapter import Adapter
from tlrec.reports import records, table_formats

SETTINGS = ("seed", "learning_rate", "num_epochs", "max_steps", "batch_size", "lora_r", "lora_alpha", "select_by")


def render(adapter: Adapter, base_name: str, base_id: str | None, evaluations: list[EvaluationRecord],
           fingerprint: str, merged: bool, license_name: str = "other") -> str:
    """The card. base_id: the base model's name on the Hub; evaluations: of any system, those that matter are chosen;
    license_name: by the Hub's list, or other, that of the base model."""
    from huggingface_hub import EvalResult, ModelCardData

    name = printable(chain_name(base_name, zip(adapter.chain, adapter.rows_of_chain, strict=True)))
    own, beside = choose(evaluations, adapter.sha256, fingerprint)
    data = ModelCardData(
        base_model=base_id, license=license_name, license_name="base-model" if license_name == "other" else None,
        license_link=f"https://huggingface.co/{base_id}" if base_id and license_name == "other" else None,
        library_name="transformers" if merged else "peft", pipeline_tag="text-generation",
        tags=["recommendation", "lora", "tallrec", "tlrec"], model_name=name,
        eval_results=[EvalResult("text-classification", record.test_domain, f"{record.test_domain}/test", metric,
                                 getattr(record.metrics, metric)) for record in own for metric in ("auc", "uauc")
                      if getattr(record.metrics, metric) is not None] or None)
    parts = [f"---\n{data.to_yaml()}\n---", f"# {name}", _introduction(adapter, base_name, base_id, merged),
             "## Use", _use(adapter, own), "## Tuning", _tuning(adapter, base_name, fingerprint),
             "## Evaluation", _evaluation(own, beside),
             "## Limits", _limits(adapter, base_id or base_name, own, beside), "## Citation", citation()]
    return "\n\n".join(parts) + "\n"


def choose(evaluations: list[EvaluationRecord], adapter_sha256: str, fingerprint: str) -> tuple[
        list[EvaluationRecord], list[EvaluationRecord]]:
    """(the adapter's evaluations, those of controls and of the untuned base model on the same rows); rankings apart."""
    latest = {records.hashable(record.request): record for record in evaluations if record.metrics.auc is not None}
    own = [record for record in latest.values() if record.request.get("adapter_sha256") == adapter_sha256]
    rows = {_rows(record) for record in own}
    beside = [record for record in latest.values() if _rows(record) in rows and (
        record.method in records.CONTROLS
        or record.request.get("base_model") == fingerprint and not record.request.get("adapter_sha256"))]
    return own, beside


def _rows(record: EvaluationRecord) -> tuple:
    return record.test_data.sha256, record.request.get("test_ids_sha256"), record.metrics.n


def _introduction(adapter: Adapter, base_name: str, base_id: str | None, merged: bool) -> str:
    kind = "The base model with a LoRA adapter merged into it" if merged else "A LoRA adapter"
    return (f"{kind}, tuned in {len(adapter.chain)} stage{'s' * (len(adapter.chain) > 1)} to answer `Yes.` or `No.` to "
            "the question whether a user will like a title. The score is P(Yes) against P(No) at the answer's first "
            f"token. Base model: {base_id or base_name}.")


def _use(adapter: Adapter, own: list[EvaluationRecord]) -> str:
    template, example = _template(adapter), _example(adapter, own)
    prompt = prompts.chat_question(example) if template == prompts.CHAT else prompts.format_prompt(example, template)
    return (f"It was tuned with `--prompt_template {template}`; other prompts give other scores. A prompt looks like "
            "this, with titles in the places of these, and ends where the answer begins:\n\n"
            f"```\n{prompt.rstrip()}\n```\n\n"
            "`python evaluate.py --base_model BASE --lora_weights FOLDER --test_data_path FILE` of the TLRec "
            "repository scores a file of such prompts.")


def _example(adapter: Adapter, own: list[EvaluationRecord]) -> Sample:
    """The first row of the test data, else of the tuning data, with other titles: its own may not be passed on. The
    published form where neither is here."""
    sources = [(record.test_data.path, record.test_data.sha256) for record in own]
    if adapter.manifest:
        sources += [(data.path, data.sha256) for data in (adapter.manifest.data.valid, adapter.manifest.data.train)
                    if data]
    for path, sha256 in sources:
        try:
            file = samples.read_sample_file(paths.home_dir() / path, answers_only=True)
        except InputError:
            continue
        history = preference_text.parse(file.rows[0].input)
        if history and file.sha256 == sha256:
            return _with_titles(file.rows[0].instruction, history.noun, '" written by ' in history.target)
    return _with_titles(preference_text.instruction("movie"), "movie", False)


def _with_titles(instruction: str, noun: str, authors: bool) -> Sample:
    liked, second, disliked, target = (f'"{title}"' + authors * " written by Author" for title in (
        "First liked title", "Second liked title", "Disliked title", "Target title"))
    history = preference_text.History([liked, second], [disliked], noun, f"{target}?")
    return Sample(instruction, preference_text.render(history), "Yes.")


def _template(adapter: Adapter) -> str:
    return str(adapter.manifest.arguments["prompt_template"]) if adapter.manifest else prompts.DEFAULT_TEMPLATE


def _tuning(adapter: Adapter, base_name: str, fingerprint: str) -> str:
    text = f"Base model {base_name}, fingerprint `{fingerprint}`. Adapter sha256 `{adapter.sha256}`."
    manifest = adapter.manifest
    if manifest is None:
        return f"{text}\n\nThe adapter has no manifest: what it was tuned on is not known."
    rows = [["stage", "rows", "training data, sha256", *SETTINGS]]
    for name, stage in zip(manifest.chain, manifest.stages, strict=True):
        train, settings = (stage.get(part) if isinstance(stage.get(part), dict) else {} for part in ("train",
                                                                                                      "settings"))
        rows.append([name, *(str(train.get(entry, "not known")) for entry in ("rows", "sha256")),
                     *(str(settings.get(setting, "")) for setting in SETTINGS)])
    shots = f" It saw {manifest.shots:,} rows of the target domain (seed {manifest.seed})." if manifest.shots else ""
    selected = f" Checkpoint of step {manifest.selected.step}, selected by {manifest.selected.by}." if (
        manifest.selected) else ""
    versions = ", ".join(f"{package} {version}" for package, version in manifest.versions.items() if version)
    return (f"{text}{shots}{selected}\n\n{table_formats.markdown(rows)}\n\n"
            f"Tuned in {manifest.seconds + manifest.seconds_before:,.0f} s with {versions}; commit {manifest.commit}.")


def _evaluation(own: list[EvaluationRecord], beside: list[EvaluationRecord]) -> str:
    if not own:
        return "No evaluation of this adapter is in the record."
    rows = [["test rows", "system", "n", "users", "AUC", "95% interval", "UAUC", "95% interval",
             "stratified AUC"]]
    for first in {_rows(record): record for record in own}.values():
        for record in [record for record in [*own, *beside] if _rows(record) == _rows(first)]:
            figures = record.metrics
            rows.append([f"{record.test_domain}, sha256 {record.test_data.sha256[:12]}",
                         table_formats.Bold(record.system) if record in own else record.system, f"{figures.n:,}",
                         "" if figures.users is None else f"{figures.users:,}", format_figure(figures.auc),
                         format_interval(figures.auc_interval), format_figure(figures.uauc),
                         format_interval(figures.uauc_interval), format_figure(figures.stratified_auc)])
    return (f"{table_formats.markdown(rows)}\n\nIntervals: over users where they are known, else over rows. UAUC: mean "
            "over users. Stratified AUC: among rows with equal numbers of liked and of disliked titles, where counting "
            "them ranks nothing. liked-ratio is the share of liked titles in the prompt and needs no model.")


def _limits(adapter: Adapter, base: str, own: list[EvaluationRecord], beside: list[EvaluationRecord]) -> str:
    limits = ["One adapter of one seed: figures over seeds differ.",
              "The language model may know the titles, and opinions on them, from its pretraining.",
              f"The licence of the base model, {base}, and the terms of the data hold for this model too."]
    for record in own:
        better = [other for other in beside if _rows(other) == _rows(record) and other.method in records.CONTROLS
                  and (other.metrics.auc or 0) >= (record.metrics.auc or 0)]
        limits += [f"On {record.test_domain} ({record.metrics.n:,} rows) {other.system}, which needs no language "
                   f"model, ranks as well or better: AUC {format_figure(other.metrics.auc)} against "
                   f"{format_figure(record.metrics.auc)}." for other in better]
        if record.metrics.users is not None and record.metrics.users < 2 * MIN_USERS:
            plural = "s" * (record.metrics.users != 1)
            limits.append(f"The test rows of {record.test_domain} are of {record.metrics.users} user{plural}.")
    if adapter.manifest and adapter.manifest.data.valid:
        limits.append("The checkpoint was selected on validation rows, which count as seen.")
    return "\n".join(f"- {limit}" for limit in dict.fromkeys(limits))


def citation() -> str:
    """The papers and the software of CITATION.cff, one a line."""
    content = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    lines = []
    for work in [*content["references"], content]:
        authors = ", ".join(author.get("name") or f"{author['given-names']} {author['family-names']}"
                            for author in work["authors"])
        where = f"{work['conference']['name']}. https://doi.org/{work['doi']}" if "doi" in work else (
            f"Version {work['version']}")
        lines.append(f"- {authors}. {work['title']}. {where}")
    return "\n".join(lines)
