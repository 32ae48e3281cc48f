from tlrec.model import prefix_cache


def test_shared_length_of_rows():
    assert prefix_cache.shared_length([list(range(30)), [*range(20), 0]]) == 20
    assert prefix_cache.shared_length([list(range(20)), list(range(20))]) == 19  # a token of each is left
    assert prefix_cache.shared_length([list(range(15)) + [1], list(range(15)) + [2]]) == 0
    assert prefix_cache.shared_length([list(range(30))]) == 0
