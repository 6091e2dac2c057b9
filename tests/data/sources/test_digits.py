"""The built-in digits: their pictures, their labels, their size."""

import numpy as np

from pipeline.data.datasets import Dataset


def test_digits_have_their_images_size_and_class_names(digits: Dataset) -> None:
    assert len(digits.train) + len(digits.val) + len(digits.test) == 1797
    assert digits.image_shape == (32, 32, 1)
    assert digits.class_names == tuple("0123456789")
    assert digits.num_classes == 10


def test_digits_use_the_whole_range_of_a_byte(digits: Dataset) -> None:
    assert digits.train.images.dtype == np.uint8
    assert digits.train.images.min() == 0
    assert digits.train.images.max() == 255


def test_digits_keep_picture_and_label_together(digits: Dataset) -> None:
    from sklearn.datasets import load_digits
    from sklearn.neighbors import KNeighborsClassifier

    # Coarse 4x4 pictures of original and upscaled digits look alike; wrong labels would score 0.1.
    original = load_digits()
    coarse = original.images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16) / 16
    images = digits.test.images[digits.test.index]
    ours = images.reshape(-1, 4, 8, 4, 8).mean(axis=(2, 4)).reshape(-1, 16) / 255
    judge = KNeighborsClassifier(1).fit(coarse, original.target)
    assert judge.score(ours, digits.test.labels) > 0.9
