"""The page of demo.py: a tab to try the models, and a tab with the record."""

from socket import socket
from typing import TYPE_CHECKING

from tlrec.demo import results_tab, try_tab
from tlrec.demo.config import DemoConfig
from tlrec.demo.loaded_models import Models
from tlrec.demo.server import import_gradio, serve
from tlrec.evaluation.recommend_config import Catalogue

if TYPE_CHECKING:
    import pandas as pd

FONTS = ("system-ui", "sans-serif")  # of the browser's machine: gradio's own themes name web fonts
CSS = """
.scrolled { overflow-x: auto; }
.scrolled table { border-collapse: collapse; width: 100%; margin: 0.4em 0; }
.scrolled :is(table, thead, tbody, th, td) { border: none !important; }
.scrolled caption { text-align: left; padding: 0.4em 0; font-weight: 600; position: sticky; left: 0;
    max-width: calc(100vw - 5rem); }
.scrolled td, .scrolled caption { overflow-wrap: anywhere; }
.scrolled th, .scrolled td { text-align: left; padding: 0.25em 0.6em; }
#ranking td + td { min-width: 9em; }
#tables td + td { white-space: nowrap; }
#tables caption { font-weight: 400; }
.scrolled tr { border: none !important; border-bottom: 1px solid var(--border-color-primary) !important; }
.error { border-left: 4px solid #b91c1c; padding: 0.4em 0.8em; font-weight: 600; }
.note { padding: 0.2em 0; }
.number { white-space: nowrap; }
meter { width: 5em; vertical-align: middle; }
#figures img { width: 100%; max-width: 60em; background: white; }
"""


def show(config: DemoConfig, listener: socket, catalogue: Catalogue, statistics: "pd.DataFrame") -> None:
    """Load the base model and serve the page. statistics: popularity and item-mean, index: title."""
    gradio = import_gradio()
    models = Models(config)
    if models.error:
        print(f"notice: {models.error}", flush=True)
    serve(build(config, models, catalogue, statistics), listener, gradio.themes.Default(font=FONTS, font_mono=(
        "ui-monospace", "monospace")), CSS)


def build(config: DemoConfig, models: Models, catalogue: Catalogue, statistics: "pd.DataFrame"):
    """The gradio page."""
    gradio = import_gradio()
    with gradio.Blocks(title="TLRec", analytics_enabled=False) as page:
        gradio.HTML("<h1>TLRec</h1><p>Will a user like a title, given what they liked and disliked?</p>")
        with gradio.Tab("Try it"):
            try_tab.build(page, models, catalogue, statistics)
        with gradio.Tab("Results") as tab:
            results_tab.build(tab, config.runs)
    return page.queue(default_concurrency_limit=1, api_open=False)
