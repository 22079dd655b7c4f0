import numpy as np

from toynet.data import batches


def test_every_epoch_shows_every_image_once_in_a_new_order():
    first, second = (batches.order(1000, seed=0, epoch=epoch) for epoch in (0, 1))
    assert np.array_equal(np.sort(first), np.arange(1000))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, batches.order(1000, seed=0, epoch=0))


def test_batches_cover_all_positions_and_restart_anywhere():
    whole = list(batches.batches(103, 10))
    assert len(whole) == batches.batch_count(103, 10) == 11
    assert np.concatenate([np.arange(103)[rows] for rows in whole]).tolist() == list(range(103))
    assert list(batches.batches(103, 10, start=4)) == whole[4:]
    assert list(batches.batches(103, 10, start=11)) == []
