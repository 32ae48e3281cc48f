"""The tab to try the models: mark titles, score a target, rank the catalogue."""

from functools import partial
from typing import TYPE_CHECKING

from tlrec.data import preference_text
from tlrec.demo import predictions
from tlrec.demo.html_text import Markup, change, message, meter, scored, table
from tlrec.demo.loaded_models import Models
from tlrec.demo.server import import_gradio
from tlrec.errors import InputError
from tlrec.evaluation import ranking
from tlrec.evaluation.recommend_config import Catalogue

if TYPE_CHECKING:
    import pandas as pd

TOP = 10
HINT = ("Search titles and mark them as liked or disliked, make one the target, then score it. Example user fills the "
        "fields in.")
MODEL = {"concurrency_id": "model", "concurrency_limit": 1}  # one at a time, the others wait in the queue
LISTS = ("liked", "disliked", "target")


def build(page, models: Models, catalogue: Catalogue, statistics: "pd.DataFrame") -> None:
    """Fill the tab. What a user has marked is in the page's own fields, so users do not see each other's."""
    gradio = import_gradio()
    noun = catalogue.example.noun
    with gradio.Row():
        with gradio.Column(scale=2, min_width=320):
            query = gradio.Textbox(label=f"Search the catalogue ({len(catalogue.titles):,} titles)", max_lines=1,
                                   placeholder="words of a title", elem_id="query",
                                   max_length=predictions.LONGEST_QUERY)
            hits = gradio.Radio([], label="Found", visible=False, elem_id="found")
            with gradio.Row():
                buttons = [gradio.Button(text, size="sm", min_width=80) for text in ("Liked", "Disliked", "Target")]
            liked, disliked = (gradio.Dropdown(
                [], label=f"{label} (or type a title and press Enter)", multiselect=True, allow_custom_value=True,
                value=[], elem_id=label.lower()) for label in ("Liked", "Disliked"))
            target = gradio.Textbox(label=f"Target {noun}", max_lines=1, max_length=1000, elem_id="target")
            with gradio.Row():
                example = gradio.Button("Example user", size="sm", min_width=80)
                clear = gradio.Button("Clear", size="sm", min_width=80)
            chosen = gradio.CheckboxGroup([], label="Models, side by side", elem_id="models")
            score = gradio.Button("Score the target", variant="primary")
            counts = [most for most in (100, 500) if most < len(catalogue.titles)]
            most = gradio.Radio([*((f"{count} most rated", count) for count in counts),
                                 (f"all {len(catalogue.titles):,}", 0)], value=(*counts, 0)[0], label="Titles to rank")
            rank = gradio.Button("Rank the catalogue")
        with gradio.Column(scale=3, min_width=320):
            answers, influences = gradio.HTML(elem_id="answers"), gradio.HTML(elem_id="influences")
            with gradio.Accordion("The prompt that was sent", open=False):
                prompt = gradio.Textbox(label="Prompt", show_label=False, interactive=False, lines=12, container=False,
                                        elem_id="prompt")
            ranking_shown = gradio.HTML(elem_id="ranking")

    def search(text: str):
        titles = predictions.search(catalogue.titles, text)
        return gradio.update(choices=titles, value=titles[0] if titles else None, visible=bool(text.strip()),
                             label="Found" if titles else "Nothing found; titles of your own can be typed below")

    def open_page():
        """The models, of which one of each kind is chosen, and what to do first or what is wrong."""
        names = models.names
        last = {name.partition(":")[0]: name for name in names if not name.startswith("given")}
        return gradio.update(choices=names, value=list(last.values())), (
            message(models.error, error=True) if models.error else message(HINT))

    def score_target(liked: list[str], disliked: list[str], target: str, names: list[str]):
        try:
            profile = predictions.checked_profile(liked, disliked)
            sample = predictions.sample_of(profile, catalogue.example, target)
            scores, problems, text = {}, Markup(), ""
            for name in checked(names):
                try:
                    with models.use(name) as (model, encoder):
                        scorer = ranking.language_model_scorer(model, encoder, models.batch_size)
                        scores[name] = predictions.leave_one_out(scorer, profile, catalogue.example, target)
                        text = predictions.prompt_text(encoder, sample)
                except InputError as error:
                    problems = Markup(problems + message(str(error), error=True))
        except InputError as error:
            return message(str(error), error=True), "", ""
        return (problems + answer_table(scores, profile, target), influence_table(scores) if scores else "", text)

    def answer_table(scores: dict[str, predictions.Answer], profile: ranking.Profile, target: str) -> Markup:
        mean = predictions.item_mean(statistics, target.strip())
        rows = [["system", "score"], *([name, meter(answer.p_yes)] for name, answer in scores.items()),
                ["liked-ratio", meter(predictions.liked_ratio(profile))],
                ["item-mean", "title not in the training rows" if mean is None else meter(mean)]]
        return table(rows, f"P(Yes) for {target.strip()}")

    def influence_table(scores: dict[str, predictions.Answer]) -> Markup:
        rows = predictions.by_influence(list(scores.values()))
        return table([["title", "", *scores], *([title, "liked" if is_liked else "disliked", *map(change, changes)]
                                                for title, is_liked, changes in rows)],
                     "What each title adds to P(Yes): with it minus without it, largest first")

    def rank_catalogue(liked: list[str], disliked: list[str], most: int, names: list[str],
                       progress=gradio.Progress()):  # noqa: B008
        try:
            profile = predictions.checked_profile(liked, disliked)
            titles = predictions.candidates(statistics, catalogue.titles, profile, most or None)
            samples, columns, problems = profile.samples(catalogue.example, titles), {}, Markup()
            for number, name in enumerate(checked(names)):
                progress((number, len(names)), desc=f"{len(titles):,} titles", unit="models")
                try:
                    with models.use(name) as (model, encoder):
                        scores = ranking.language_model_scorer(model, encoder, models.batch_size)(samples)
                    columns[name] = predictions.ranked(scores, titles, TOP)
                except InputError as error:
                    problems = Markup(problems + message(str(error), error=True))
            if "item-mean" in statistics:
                means = statistics["item-mean"].reindex(titles).to_numpy(dtype=float)
                columns["item-mean"] = predictions.ranked(means, titles, TOP)
        except InputError as error:
            return message(str(error), error=True)
        rows = [[str(position), *(scored(*pair) for pair in row)]
                for position, row in enumerate(zip(*columns.values(), strict=True), 1)]
        return problems + table([["rank", *columns], *rows], f"Best of {len(titles):,} titles, with their scores")

    def checked(names: list[str]) -> list[str]:
        if not names:
            raise InputError("no model is chosen; choose one")
        return names

    history = catalogue.example
    of_example = [[preference_text.without_quotes(entry) for entry in entries]
                  for entries in (history.liked, history.disliked)]
    fields, quick = [liked, disliked, target], {"queue": False, "show_progress": "hidden"}
    page.load(open_page, None, [chosen, answers], **quick)
    query.input(search, query, hits, trigger_mode="always_last", **quick)
    for name, button in zip(LISTS, buttons, strict=True):
        button.click(partial(predictions.mark, name), [hits, *fields], fields, **quick)
    example.click(lambda: (*of_example, preference_text.without_quotes(history.target_entry())), None, fields, **quick)
    clear.click(lambda: ([], [], "", "", "", "", ""), None, [*fields, answers, influences, prompt, ranking_shown],
                **quick)
    score.click(score_target, [*fields, chosen], [answers, influences, prompt], show_progress_on=answers, **MODEL)
    target.submit(score_target, [*fields, chosen], [answers, influences, prompt], show_progress_on=answers, **MODEL)
    rank.click(rank_catalogue, [liked, disliked, most, chosen], ranking_shown, **MODEL)
