import pytest
from conftest import refused

from tlrec import distributed


@pytest.mark.parametrize("items", [1, 2, 3, 6, 7])
def test_shards_of_all_processes_are_equally_long_and_hold_each_item_once(monkeypatch, items):
    shards = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "3")
        shards.append(list(distributed.shard(range(items))))
    assert {len(shard) for shard in shards} == {-(-items // 3)}
    assert sorted(item for shard in shards for item, counts in shard if counts) == list(range(items))


def test_single_process_needs_no_group(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    distributed.init()
    distributed.barrier()
    assert distributed.gather(iter("ab")) == ["a", "b"] and distributed.broadcast_from_main(lambda: 3) == 3
    assert distributed.gather([2]) == [2] and distributed.is_main_process()


def test_rank_refuses_a_value_that_is_not_a_number(monkeypatch):
    monkeypatch.setenv("RANK", "first")
    refused("RANK=first", distributed.rank)
