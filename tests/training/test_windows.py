from hfdistill.training.windows import LengthSortedWindows


def test_windows_are_those_of_a_shuffle_sorted():
    lengths = [(7 * i) % 13 for i in range(50)]
    sampler = LengthSortedWindows(lengths, window=8, seed=3)
    first = list(sampler)
    assert sorted(first) == list(range(50))
    assert first == list(sampler)
    for start in range(0, 50, 8):
        window = [lengths[i] for i in first[start : start + 8]]
        assert window == sorted(window, reverse=True)
    sampler.epoch = 1
    assert list(sampler) != first
    # The samples of an update do not depend on the lengths.
    other = list(LengthSortedWindows([1] * 50, window=8, seed=3))
    assert [set(first[i : i + 8]) for i in range(0, 50, 8)] == [set(other[i : i + 8]) for i in range(0, 50, 8)]


def test_whole_windows_begin_again_with_the_epoch_s_first():
    lengths = [(7 * i) % 13 for i in range(50)]
    plain, whole = (list(LengthSortedWindows(lengths, 16, 3, whole)) for whole in (False, True))
    assert (len(plain), len(whole)) == (50, 64) == tuple(len(LengthSortedWindows(lengths, 16, 3, w)) for w in (0, 1))
    assert whole[:48] == plain[:48] and set(whole[48:]) - set(plain[48:]) <= set(whole[:16])
    assert len(set(whole[48:])) == 16 and list(LengthSortedWindows([5], 3, 0, True)) == [0, 0, 0]
