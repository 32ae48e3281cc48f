"""The tab with the record: Table 1, AUC against shots, AUC by user and reliability of the systems chosen."""

from tlrec.demo import results_data
from tlrec.demo.html_text import image, message, table
from tlrec.demo.server import import_gradio
from tlrec.errors import InputError
from tlrec.reports.table_formats import Bold


def build(tab, runs: list[str] | None) -> None:
    """Fill the tab. The record is read when the tab is opened, so that it shows what has been evaluated since."""
    gradio = import_gradio()
    note = gradio.HTML(elem_id="record")
    domain = gradio.Radio([], label="Tested on")
    systems = gradio.CheckboxGroup([], label="Systems", elem_id="systems")
    with_published = gradio.Checkbox(True, label="Published figures beside ours")
    shown = [gradio.HTML(elem_id="tables"), gradio.HTML(elem_id="figures")]

    def choices(chosen: str | None):
        """The record's note, domains and systems; of the domain, or the first where the record does not have it."""
        try:
            read = results_data.read(runs)
        except InputError as error:
            return message(str(error), error=True), gradio.skip(), gradio.skip()
        domains = read.domains()
        chosen = chosen if chosen in domains else next(iter(domains), None)
        names = read.systems(chosen) if chosen else []
        return (message(read.note), gradio.update(choices=domains, value=chosen),
                gradio.update(choices=names, value=names))

    def draw(chosen: str | None, names: list[str], beside: bool):
        """Tables and figures of the systems."""
        try:
            if not chosen:
                raise InputError("the record has no evaluation of a whole test split; evaluate something first")
            evaluations = results_data.read(runs).chosen(chosen, names)
            tables = results_data.tables(evaluations, chosen, beside)
        except InputError as error:
            return message(str(error), error=True), ""
        pictures = {text: results_data.figure(name, evaluations, chosen) for name, text in results_data.FIGURES.items()}
        return ("".join(table(rows, caption, Bold) for caption, rows in tables.items()),
                "".join(f"<h3>{text}</h3>{image(svg, f'{text}, {chosen}/test')}" for text, svg in pictures.items()
                        if svg))

    inputs = [domain, systems, with_published]
    only = {"concurrency_id": "record", "concurrency_limit": 1}  # matplotlib's style is the process's
    drawing = {"fn": draw, "inputs": inputs, "outputs": shown, "show_progress_on": shown[0], **only}
    for event in (tab.select, domain.input):
        event(choices, domain, [note, domain, systems], **only).then(**drawing)
    for event in (systems.input, with_published.input):
        event(**drawing, trigger_mode="always_last")  # a click while the figures are drawn counts too
