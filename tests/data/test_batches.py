import numpy as np

from toynet.data import batches


def test_every_epoch_shows_every_image_once_in_a_new_order():
    first, second = (batches.order(1000, seed=0, epoch=epoch) for epoch in (0, 1))
    assert np.array_equal(np.sort(first), np.arange(1000))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, batches.order(1000, seed=0, epoch=0))


def test_a_balanced_epoch_has_as_many_images_equally_many_of_each_class():
    labels = np.repeat([0, 1, 2], [700, 250, 50])
    order = batches.order(1000, seed=3, epoch=0, balance=labels)
    assert np.bincount(labels[order]).tolist() == [334, 333, 333]
    assert np.array_equal(order, batches.order(1000, seed=3, epoch=0, balance=labels))
    assert not np.array_equal(order, batches.order(1000, seed=4, epoch=0, balance=labels))
    assert len(set(labels[order][:30])) == 3, "shuffled, not class after class"


def test_balanced_epochs_go_through_a_class_before_they_repeat_an_image():
    labels = np.repeat([0, 1], [90, 10])
    epochs = [batches.order(100, seed=0, epoch=epoch, balance=labels) for epoch in range(9)]
    seen = np.bincount(np.concatenate(epochs), minlength=100)
    assert seen[:90].tolist() == [5] * 90, "9 epochs of 50 are 5 rounds of 90"
    assert seen[90:].tolist() == [45] * 10
    assert np.bincount(epochs[0], minlength=100)[:90].max() == 1


def test_batches_cover_all_positions_and_restart_anywhere():
    whole = list(batches.batches(103, 10))
    assert len(whole) == batches.batch_count(103, 10) == 11
    assert np.concatenate([np.arange(103)[rows] for rows in whole]).tolist() == list(range(103))
    assert list(batches.batches(103, 10, start=4)) == whole[4:]
    assert list(batches.batches(103, 10, start=11)) == []
