"""Properties that hold for every input, searched for counterexamples: text, truncation, figures, the record."""

import json

import numpy as np
import pytest
from conftest import write_split
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score
from transformers import AutoTokenizer

from tlrec.data import preference_text
from tlrec.data.samples import Sample, read_samples
from tlrec.errors import InputError
from tlrec.evaluation import metrics, run_log
from tlrec.model.prompt_encoder import Encoder
from tlrec.model.truncation import encode_truncated

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True,
                    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
MARKERS = st.sampled_from(["### Response:\n", "\nUser Unpreference: ", ', "', '" written by ', "Yes.", "No.", "\n", '"',
                           "User Preference: ", "\nWhether the user will like the target movie ", "<|im_end|>", "  "])
LETTERS = st.characters(codec="utf-8", exclude_characters="\0")
TEXT = st.lists(st.text(LETTERS, max_size=12) | MARKERS, max_size=5).map("".join)
TITLE = TEXT.map(lambda text: f'"{text}"')
PLAIN_LETTERS = st.characters(codec="utf-8", exclude_characters='"\n\0')
PLAIN_TITLE = st.text(PLAIN_LETTERS, max_size=20).map(lambda text: f'"{text}"')
ANSWER = st.sampled_from(["Yes.", "No."])
HISTORY = st.builds(preference_text.History, st.lists(TITLE, max_size=8), st.lists(TITLE, max_size=8),
                    st.sampled_from(["movie", "book"]), TITLE)
ROWS = st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=40)


@pytest.fixture(scope="module")
def tokenizer(tiny_llama):
    return AutoTokenizer.from_pretrained(tiny_llama)


@EXAMPLES
@given(TEXT | HISTORY.map(preference_text.render))
def test_render_inverts_parse(text):
    parsed = preference_text.parse(text)
    assert parsed is None or preference_text.render(parsed) == text


@EXAMPLES
@given(st.lists(PLAIN_TITLE, max_size=10), st.lists(PLAIN_TITLE, max_size=10), PLAIN_TITLE)
def test_parse_inverts_render_of_plain_titles(liked, disliked, target):
    history = preference_text.History(liked, disliked, "movie", f"{target}?")
    assert preference_text.parse(preference_text.render(history)) == history


@EXAMPLES
@given(HISTORY, ANSWER, st.integers(90, 400))
def test_encode_truncated_always_keeps_the_answer(tokenizer, history, answer, cutoff):
    encoder = Encoder(tokenizer)
    sample = Sample(preference_text.instruction(history.noun), preference_text.render(history), answer)
    try:
        encoded = encode_truncated(encoder, sample, cutoff)
    except InputError as error:
        assert "over --cutoff_len" in str(error)  # the target alone is too long
        return
    assert len(encoded.ids) <= cutoff
    assert tokenizer.decode(encoded.ids[encoded.answer_start :]) == answer + tokenizer.eos_token
    assert encoded.ids[encoded.answer_start] == getattr(encoder.answer_token_ids, answer.lower().strip("."))
    assert encoded.ids.count(tokenizer.eos_token_id) == 1


@EXAMPLES
@given(TEXT, TEXT, TEXT.filter(str.strip), st.integers(60, 200))
def test_encode_truncated_keeps_the_answer_of_free_text(tokenizer, instruction, text, answer, cutoff):
    encoder = Encoder(tokenizer)
    assume(preference_text.parse(text) is None)
    try:
        full = encoder.encode(Sample(instruction, "", answer))
        encoded = encode_truncated(encoder, Sample(instruction, text, answer), cutoff)
    except InputError:
        return  # an instruction over the cut-off, or an answer that merges with the prompt's end
    kept = encoded.ids[encoded.answer_start :]
    assert len(encoded.ids) <= cutoff and kept
    assert (
        kept == full.ids[full.answer_start :] or encoder.truncation_counts["samples whose answer lost its tail"] == 1
    )


@EXAMPLES
@given(ROWS)
def test_evaluate_agrees_with_scikit_learn(rows):
    labels, scores, users = (np.array(column) for column in zip(*rows, strict=True))
    labels = labels.astype(int)
    figures = metrics.evaluate(labels, scores, users.astype(str))
    both = 0 < labels.sum() < len(labels)
    assert (figures["auc"] is not None) == both
    if both:
        assert figures["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        assert metrics.auc(labels, -scores) == pytest.approx(1 - figures["auc"], abs=1e-12)
    assert figures["log_loss"] >= 0 and 0 <= figures["accuracy"] <= 1 and 0 <= figures["calibration_error"] <= 1
    inside = np.clip(scores, 0.01, 0.99)
    assert metrics.evaluate(labels, inside, None)["log_loss"] == pytest.approx(
        log_loss(labels, inside, labels=[0, 1]), abs=1e-9)
    assert figures["uauc"] is None or 0 <= figures["uauc"] <= 1
    order = np.random.default_rng(0).permutation(len(labels))
    assert metrics.auc(labels[order], scores[order]) == figures["auc"]


JSON = st.recursive(st.none() | st.booleans() | st.integers(-2**60, 2**60) | st.text(st.characters(codec="utf-8"))
                    | st.floats(allow_nan=False, allow_infinity=False),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
                    max_leaves=8)


@EXAMPLES
@given(st.lists(st.tuples(JSON, st.binary(max_size=30)), min_size=1, max_size=4))
def test_read_records_survives_torn_lines(tmp_path_factory, written):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLREC_HOME", str(tmp_path_factory.mktemp("record")))
        for value, torn in written:
            run_log.append_record({"value": value})
            with open(run_log.runs_file(), "ab") as file:
                file.write(b'{"value": ' + torn.replace(b"\n", b" ").replace(b"}", b""))
        run_log.append_record({"value": "last"})
        assert [record["value"] for record in run_log.read_records()] == [*(value for value, _ in written), "last"]


@EXAMPLES
@given(st.lists(st.tuples(HISTORY, st.booleans()), min_size=1, max_size=5))
def test_read_samples_inverts_write_split(tmp_path_factory, made):
    folder = tmp_path_factory.mktemp("data")
    samples = [
        Sample(preference_text.instruction(history.noun), preference_text.render(history), "Yes." if liked else "No.")
        for history, liked in made
    ]
    write_split(folder, "test", [vars(sample) for sample in samples], None)
    assert read_samples(folder / "test.json", answers_only=True) == samples
    text = (folder / "test.json").read_text()
    assert text == json.dumps([vars(sample) for sample in samples], indent=4)
