import numpy as np
from matplotlib import image

from tlrec.training import run_figure

HISTORY = [{"step": step, "loss": 1 / step, "learning_rate": 1e-3, "grad_norm": 1.0} for step in range(1, 9)]


def test_draw_has_a_panel_for_each_value_that_was_logged(tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr("matplotlib.axes.Axes.set_title", lambda axis, title: titles.append(title))
    run_figure.draw(HISTORY, None, tmp_path / "plain.png")
    assert titles == ["training loss", "learning rate"]
    run_figure.draw([*HISTORY, {"step": 4, "eval_auc": 0.6}, {"step": 8, "eval_auc": None}], 4, tmp_path / "with.png")
    assert titles[2:] == ["training loss", "validation AUC", "learning rate"]
    run_figure.draw([], None, tmp_path / "empty.png")  # a run of no logged step
    pixels = [image.imread(tmp_path / name)[..., :3] for name in ("plain.png", "with.png")]
    assert all((np.asarray(picture) < 0.5).any() for picture in pixels) and not np.array_equal(*pixels)
