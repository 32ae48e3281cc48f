"""Bad input, over every script: one line that names the file, the record and the cure; exit code 2; nothing written.

The files are in tests/faults/bad_inputs; bad_files makes what git should not hold (weights, megabytes).
"""

import re
from pathlib import Path

import bad_files
import pytest
from conftest import BAD, run

SCORE = "evaluate --method liked-ratio --test_data_path {bad}/"
TUNE = "rec_tuning --base_model {tiny} --output_dir {home}/out --select_by none --train_data_path {bad}/"
INSTRUCT = "ins_tuning --base_model {tiny} --output_dir {home}/out --select_by none --train_data_path {bad}/"
FIT = "baselines.grid --system GRU --shots all --target "
GRU = "baselines.grid --system GRU --target {home}/movie "
CONTROL = "baselines.controls --train_data_path {bad}/good.json --test_data_path {bad}/good.json "
RAW = ["rec_data.movielens --raw_dir", "rec_data.book_crossing --raw_dir", "instruction_data.netflix --raw_dir",
       "instruction_data.amazon_book --raw_dir", "instruction_data.alpaca --raw_file"]
LLM = "evaluate --dtype float32 --test_data_path {bad}/good.json --base_model "
CASES = [  # what is typed, and what the line has to say besides
    (SCORE + "no_such.json", "no such file; docs/data.md says how to make or download"),
    (SCORE + "truncated.json", r"truncated.json: not valid JSON \(.*line \d+ column \d+.*\); make or download "
     "it again"),
    (INSTRUCT + "empty_file.json", "empty_file.json: not valid JSON"),
    (TUNE + "empty_list.json", "empty_list.json: not a list of records, or an empty one"),
    (SCORE + "object.json", "object.json: not a list of records"),
    (SCORE + "truncated.jsonl", "truncated.jsonl: line 2: not valid JSON"),
    ("cot_data.generate_data --teacher rules --source {bad}/list_of_text.json", "record 1: Input should be a dict"),
    (SCORE + "missing_field.json", "record 1: output is missing"),
    (TUNE + "null.json", "record 1: instruction is missing"),
    (SCORE + "nan.json", "record 1: output is missing"),
    ("instruction_data.alpaca --raw_file {bad}/number.json", "record 0: output is .*: Input should be a valid string"),
    (SCORE + "huge_number.json", "huge_number.json: not valid JSON .*make or download it again"),
    (INSTRUCT + "deep.json", "recursion depth"),
    (SCORE + "latin1.json", r"latin1.json: not valid JSON \('utf-8' codec can't decode byte"),
    (TUNE + "utf16.json", "utf16.json: not valid JSON .'utf-8' codec can't decode byte 0xff in position 0"),
    (SCORE + "surrogate.json", "record 1: input is .*unable to parse raw data as a unicode string"),
    (TUNE + "other_answer.json", "record 1: output 'Yes!' is neither 'Yes.' nor 'No.'"),
    (INSTRUCT + "blank_output.json", "record 1: output is empty"),
    (TUNE + "free_answers.json", "record 0: output 'It is 3.' is neither"),
    (SCORE + "free_text.json", "record 0 has no preference lists"),
    ("baselines.controls --train_data_path {bad}/one_answer.json --test_data_path {bad}/good.json",
     "one_answer.json: the 2 rows .* hold one answer only"),
    ("ins_tuning --base_model {tiny} --output_dir {home}/out --train_data_path {bad}/good.json --val_data_path "
     "{bad}/one_answer.json", "one_answer.json: only one kind of answer, so no AUC"),
    (SCORE + "{home}/megabytes.json", "record 0: input is .*String should have at most 200000 characters"),
    (SCORE + "views_length.json", r"views_length.csv: 1 rows beside 2 samples; make the data again"),
    (SCORE + "views_label.json", "views_label.csv: row 1 has another rating than views_label.json"),
    (SCORE + "views_history.json", "views_history.csv: row 1 has another history than record 1 of views_history.json"),
    (SCORE + "views_user.json", "views_user.csv: row 1 has no user_id .'nan'.; give every row its user"),
    (SCORE + "views_latin1.json", "views_latin1.csv: not readable as CSV .*make the data again"),
    ("rec_data.dataset_report {bad}/views_latin1.json", "views_latin1.csv: not readable as CSV .*make the data again"),
    (SCORE + "views_ragged.json", "views_ragged.csv: not readable as CSV"),
    (FIT + "{home}/code", r"valid.csv: row 1: .__import__\('os'\).abort\(\). is not a list of ids or ratings"),
    (FIT + "{home}/short", "train.csv: 1 rows beside 2 samples"),
    ("cot_data.preprocess_data --input_path {bad}/answers.json",
     "record 0: source is missing; make it again"),
    ("report --runs {bad}/record_list.jsonl", "line 1 is not a record in JSON; remove that line"),
    ("report --runs {bad}/record_without_fields.jsonl", "line 1: time is missing; remove that line"),
    ("report --runs {bad}/record_latin1.jsonl", "line 1 is not a record in JSON"),
    ("rec_data.movielens --raw_dir {home}/truncated.zip", "truncated.zip: not a valid archive"),
    ("rec_data.book_crossing --raw_dir {home}/raw", "BX-Book-Ratings.csv"),
    ("instruction_data.netflix --raw_dir {home}/raw", "movie_titles.csv"),
    ("instruction_data.amazon_book --raw_dir {home}/raw", "books_data.csv"),
    ("rec_data.published --miror x", "did you mean --mirror"),
    ("rec_data.published movie", "movie is not a published file"),
    ("rec_data.published rec_data/book/train.json --mirror {bad}", "the mirror has no .*; connect and download it"),
    (LLM + "{home}/truncated-model", "model.safetensors: not a valid safetensors file"),
    (LLM + "{home}/wide-tokenizer", r"the tokenizer has \d+ tokens, the model \d+; they do not belong together"),
    (LLM + "{home}/wide-config",
     r"lm_head.weight is \d+x64 in its files, and config.json asks for \d+x64; they do not belong together"),
    (LLM + "{home}/no-yes", "the tokenizer has no single token for 'Yes' after the prompt"),
    (LLM + "{home}/lacks-layer", r"lack \d+ of the weights that config.json asks for, model.layers.1.*fetch the model"),
    (LLM + "{home}/lacks-layer --load_in_8bit True", r"lack \d+ of the weights that config.json asks for"),
    (LLM + "{home}/lacks-layer --load_in_4bit True", r"lack \d+ of the weights that config.json asks for"),
    (LLM + "{home}/bert", r"lack \d+ of the weights that config.json asks for, bert"),
    (LLM + "{home}/declared-8bit", "config.json: quantization_config says that the weights are quantised, and they "
     "are not"),
    (LLM + "{home}/odd-8bit", "config.json: quantization_config is not an object; fetch the model again"),
    (LLM + "{home}/with-adapter", r"with-adapter: holds an adapter \(adapter_config.json\) beside the base model"),
    (LLM + "{tiny} --lora_weights {home}/nan-adapter", "holds NaN or infinity; tune it again"),
    (LLM + "{tiny} --lora_weights {home}/rank-adapter", r"is 8x\d+, the base model needs 4x\d+; the adapter"),
    (LLM + "{tiny} --lora_weights {home}/target-adapter", "the adapter is of another base model or of other LoRA"),
    (LLM + "{tiny} --lora_weights {home}/base-adapter", "tuned on base model another, not on tiny-llama"),
    (LLM + "{tiny} --lora_weights {home}/list-manifest", "tlrec.json: Input should be a valid dictionary"),
    (TUNE + "good.json --lora_r 4 --resume_from_checkpoint {home}/adapter",
     "the starting adapter has other LoRA settings; give --lora_r 8"),
    ("rec_tuning --base_model {home}/no-yes --output_dir {home}/no-yes --select_by none --train_data_path "
     "{bad}/good.json", "no-yes: is a base model's folder; give the adapter its own"),
    ("rec_tuning --base_model {tiny} --output_dir {home} --select_by none --train_data_path {bad}/good.json "
     "--resume_from_checkpoint {home}/adapter", "holds the starting adapter .*; give the new one its own folder"),
    (TUNE + "good.json --use_liger_kernel", "the package is not installed; pip install liger-kernel"),
    (INSTRUCT + "good.json --seed -1", "--seed -1: give a whole number from 0"),
    (INSTRUCT + "good.json --learning_rate nan", "--learning_rate takes a number, not 'nan'"),
    (INSTRUCT + "good.json --learning_rate -1", "--learning_rate -1.0: must be at least 1e-12 and at most 1000"),
    (INSTRUCT + "good.json --warmup_steps -5", "--warmup_steps -5: must be at least 0"),
    (INSTRUCT + "good.json --lora_dropout 1", "--lora_dropout 1.0: must be at least 0 and at most 0.99"),
    (INSTRUCT + "good.json --lora_r 100000000", "--lora_r 100000000: .* at most 4096"),
    (INSTRUCT + "good.json --keep_checkpoints 0", "--keep_checkpoints 0: must be at least 1"),
    (INSTRUCT + "good.json --report_to nonsense", "--report_to 'nonsense' is unknown; choose from none, tensorboard"),
    (INSTRUCT + "good.json --report_to clearml", "the package is not installed; pip install clearml"),
    (INSTRUCT + "good.json --val_data_path {bad}/good.json --val_set_size 1", "exclude each other; give one"),
    (LLM + "{tiny} --lora_weights {home}/alpha-adapter", "adapter_config.json: lora_alpha is 'nan': "),
    (LLM + "{tiny} --lora_weights {home}/r-adapter", "adapter_config.json: r is '0': "),
    (LLM + "{tiny} --lora_weights {home}/regex-adapter", r"adapter_config.json: target_modules is '\['"),
    (LLM + "{tiny} --lora_weights {home}/pattern-adapter", "adapter_config.json: rank_pattern.q_proj is 'x': "),
    (LLM + "{tiny} --lora_weights {home}/layer-adapter", "adapter_config.json: LoRA cannot be attached .*; name"),
    (LLM + "{tiny} --lora_weights {home}/seconds-manifest", "tlrec.json: seconds is 'nan': .*tune the adapter again"),
    (LLM + "{home}/latin1-template --prompt_template chat",
     "latin1-template: cannot be loaded .*'utf-8' codec can't decode byte"),
    (LLM + "{home}/short-model", "good.json: record 0: a prompt of .* tokens, the model reads 16; shorten its lists"),
    (LLM + "{home}/few-layers", r"hold \d+ weights that config.json leaves out, model.layers.1"),
    (LLM + "{home}/few-layers --load_in_8bit True", r"hold \d+ weights that config.json leaves out"),
    (LLM + "{home}/renamed --load_in_8bit True", "renamed: no weights found"),
    (LLM + "{home}/high-token", "the tokenizer has 10000001 tokens, the model"),
    (LLM + "{home}/list-type", "config.json: names no model_type"),
    (LLM + "{tiny} --lora_weights {home}/complex-adapter", "is not a dense floating-point tensor"),
    (LLM + "{tiny} --lora_weights {home}/sparse-adapter", "is not a dense floating-point tensor"),
    (LLM + "{tiny} --lora_weights {home}/endless-adapter", "is not a dense floating-point tensor"),
    (LLM + "{tiny} --lora_weights {home}/blank-adapter", "adapter_model.bin: not readable as adapter weights"),
    (LLM + "{tiny} --lora_weights {home}/chain-manifest", r"tlrec.json: chain is '\[\]'"),
    (LLM + "{tiny} --lora_weights {home}/nan-manifest", "tlrec.json: arguments.a is 'nan'"),
    (LLM + "{tiny} --lora_weights {home}/digits-manifest", "tlrec.json: seconds is '10000"),
    (LLM + "{tiny} --lora_weights {home}/rows-manifest", "tlrec.json: chain and rows_of_chain differ in length"),
    (INSTRUCT + "{home}/stage123.json", "stage123_about.json: not a JSON object; make the data again"),
    (INSTRUCT + f"good.json --max_steps {'9' * 400}", "--max_steps takes a whole number, not '9999"),
    (INSTRUCT + "good.json --max_steps 9999999999", "--max_steps 9999999999: must be at least -1 and at most 1e.09"),
    (SCORE + "{home}/pipe", "pipe: not a regular file .a folder, a pipe or a device.; name a file"),
    (SCORE + "good.json --lora_weights {home}/adapter", "--method liked-ratio reads no model"),
    ("base_model.export --base_model {home}/odd-dtype --lora_weights {home}/adapter --output_dir {home}/merged",
     "config.json: unsupported dtype 'float8'; give --dtype"),
    (FIT + "{home}/code --embedding 1000000000", "--embedding 1000000000: must be at least 2 and at most 4096"),
    ("baselines.grid --system GRU5Rec", "'GRU5Rec' is unknown; choose from GRU, Caser, SASRec, DROS, GRU-BERT, DROS-B"),
    ("baselines.grid --shots 8", "missing --system"),
    ("baselines.grid --system ,", "--system names none; choose from GRU"),
    (GRU + "--shots 25", "--shots 25: "),
    (GRU + "--shots few", "--shots takes whole numbers or all, not 'few'"),
    (GRU + "--seed -1", "--seed takes whole numbers"),
    (GRU + "--seed 0,4294967296", "--seed 4294967296: give a whole number from 0 to 4294967295"),
    (FIT + "music", "TARGET 'music' is unknown; choose from: movie book"),
    (GRU + "--dropout 1", "--dropout 1.0: must be at least 0 and at most 0.99"),
    (GRU + "--eval_steps 0", "--eval_steps 0: must be at least 1"),
    (GRU + "--shots 2 --epochs 4", "--epochs 4: ends before the first validation"),
    (GRU + "--rows mine", "--rows 'mine' is unknown; choose from pandas, llm"),
    ("baselines.grid --system SASRec --embedding 10", "--embedding 10: SASRec's four heads need a multiple of 4"),
    ("baselines.grid --system GRU-BERT --target book", "titles of BX-Books.csv; give its folder as --raw_dir"),
    (GRU + "--weight_decy 1", "did you mean --weight_decay"),
    ("baselines.grid --target {home}/movie --shots 2 --system GRU-BERT --text_encoder /nowhere",
     "/nowhere: not a BERT model folder"),
    (CONTROL + "--methods item-mean,magic", "'magic' is unknown; choose from item-mean"),
    (CONTROL + "--methods ,", "--methods names none"),
    (CONTROL + "--seed -1", "--seed -1"),
    *((f"{script} {{home}}/{folder}", f"{folder}.*") for script in RAW for folder in ("nowhere", "empty")),
    *((script, f"{script.split()[-1]} needs a value") for script in RAW),
    ("evaluate --test_data_paht {bad}/good.json", "unknown flag --test_data_paht; did you mean --test_data_path"),
    ("evaluate --test_data_path {bad}/good.json", "missing --base_model"),
    ("evaluate --method magic --test_data_path {bad}/good.json", "choose from llm"),
    (TUNE + "good.json --sample 25", "--sample 25.*has 2 rows"),
    (TUNE + "good.json --batch_size 10 --micro_batch_size 4", "--batch_size 10 cannot be shared by 1 processes"),
    ("ins_tuning --base_model {tiny} --output_dir {home}/out --train_data_path {bad}/good.json",
     "needs --val_data_path"),
    ("ins_tuning --base_model {tiny} --output_dir {bad}/good.json/in --select_by none --train_data_path "
     "{bad}/good.json", "good.json/in: not writable"),
    (LLM + "{home}/nothing", "nothing: no such model folder"),
    (LLM + "{tiny} --lora_weights {home}/nothing", "nothing: no such adapter"),
    (LLM + "{tiny} --lora_weights {home}/never-saved-adapter", "was saved in"),
    (LLM + "{tiny} --lora_weights {home}/empty-adapter", "an empty adapter"),
]

REFUSED: list[str] = []  # the cases that passed


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_llama):
    folder = tmp_path_factory.mktemp("bad")
    bad_files.make(folder, tiny_llama)
    return folder


def last_error(capsys, words: list[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        run(words)
    lines = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2, lines
    errors = [line for line in lines if line.startswith("error: ")]
    assert errors == lines[-1:] and not any("Traceback" in line for line in lines)
    return errors[0]


def listed(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(("typed", "message"), CASES, ids=[f"{n}-{c[0].split()[0]}" for n, c in enumerate(CASES)])
def test_bad_input_is_refused_in_one_line(home, tiny_llama, capsys, monkeypatch, record_property, typed, message):
    monkeypatch.setenv("TLREC_HOME", str(home))
    monkeypatch.delenv("TLREC_MIRROR", raising=False)
    before = listed(home) + listed(BAD)
    folders = {"home": home, "bad": BAD, "tiny": tiny_llama}
    words = [word.replace("{bad}/{home}", "{home}").format(**folders) for word in typed.split()]
    error = last_error(capsys, words)
    assert re.search(message, error), error
    assert len(error) < 1000 and listed(home) + listed(BAD) == before
    REFUSED.append(typed)


def test_every_file_of_bad_inputs_is_used(record_property):
    typed = " ".join(words for words, _ in CASES)
    unused = [path.name for path in BAD.iterdir() if path.stem not in typed
              and path.name not in ("README.md", "whole.csv", "views_list.csv", "views_list.json")]
    assert unused == []
    if len(REFUSED) == len(CASES):  # not where single cases were asked for
        scripts = {typed.split()[0] for typed in REFUSED}
        record_property("figure", f"{len(REFUSED)} bad inputs refused in one line by {len(scripts)} scripts")
