"""Every input flag of the data modules, given a pipe, a device, a folder or nothing: one line and exit code 2."""

import os

import pytest
from conftest import make_rows, run, write_split

COMMANDS = {
    "rec_data.movielens": "--raw_dir", "rec_data.book_crossing": "--raw_dir", "instruction_data.netflix": "--raw_dir",
    "instruction_data.amazon_book": "--raw_dir", "instruction_data.alpaca": "--raw_file",
    "rec_data.dataset_report": "", "tokenizer": "--tokenizer", "rec_data.published": "--mirror",
}


@pytest.fixture
def paths_of(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "socket-less").symlink_to(tmp_path / "none")
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "folder" / "tokenizer.json")
    return [tmp_path / name for name in ("pipe", "folder", "zero", "socket-less", "empty", "missing")]


@pytest.mark.parametrize("module", COMMANDS)
def test_input_that_is_no_file_is_refused_in_one_line(home, paths_of, module, capsys):
    home.mkdir()
    write_split(home, "good", *make_rows(8, 0))
    for path in paths_of:
        words = {"tokenizer": ["rec_data.dataset_report", "good.json", "--tokenizer", str(path)],
                 "rec_data.published": [module, "rec_data/movie/train.json", "--mirror", str(path)],
                 "rec_data.dataset_report": [module, str(path)]}.get(module, [module, COMMANDS[module], str(path)])
        with pytest.raises(SystemExit) as ended:
            run(words)
        message = capsys.readouterr().err
        assert ended.value.code == 2 and path.name in message and len(message.splitlines()) == 1, message
    assert not (home / "rec_data" / "movie" / "train.json").exists() and not (home / "instruction_data").exists()
