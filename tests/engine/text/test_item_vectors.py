"""Item vectors: unit projections, refits that rotate, reviews, categories."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.text.taste import Taste, learn_maps
from engine.text.vectors import CATEGORY_DIMENSIONS, ItemVectors
from tests.engine.kernels import direction

ENCODED, TEXT = 24, 4


def vectors() -> ItemVectors:
    return ItemVectors(TEXT, ENCODED)


def texts(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Unit embeddings without any structure."""
    rows = np.random.default_rng(seed).normal(size=(count, ENCODED))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def opposed(directions: list[int]) -> NDArray[np.float32]:
    """Embeddings in pairs along some axes of the encoder, so that their mean is zero."""
    rows = np.zeros((2 * len(directions), ENCODED), np.float32)
    for pair, axis in enumerate(directions):
        rows[2 * pair, axis], rows[2 * pair + 1, axis] = 1.0, -1.0
    return rows


def test_vectors_are_zero_until_the_fourth_text_and_of_unit_length_from_then() -> None:
    made = vectors()
    fits = []
    for item, embedding in enumerate(texts(70)):
        if made.set_item(item, embedding, []) is not None:
            fits.append(item + 1)
        norms = np.linalg.norm(made.vectors[: item + 1], axis=1)
        np.testing.assert_allclose(norms, 1.0 if item >= 3 else 0.0, atol=1e-4)
        assert not made.vectors[item + 1 :].any()
    assert fits == [4, 16, 64]


def test_a_basis_keeps_the_directions_in_which_the_texts_differ_most() -> None:
    made = vectors()
    embeddings = opposed([0, 1, 2, 3]).repeat(2, axis=0)
    for item, embedding in enumerate(embeddings):
        made.set_item(item, embedding, [])
    products = made.vectors[:16, :TEXT] @ made.vectors[:16, :TEXT].T
    np.testing.assert_allclose(products, embeddings @ embeddings.T, atol=1e-3)


def test_fewer_texts_than_directions_make_no_basis_of_rounding_errors() -> None:
    """What a solver makes of directions without variance is as many threads as it has: any."""

    def of(order: list[int]) -> NDArray[np.float32]:
        made = ItemVectors(12, ENCODED)
        for item in order:
            made.set_item(item, texts(6)[item], [])
        for item in (6, 7):
            made.set_item(item, texts(8)[item], [])
        return made.vectors[:8]

    first = [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(of(first), of([3, 1, 0, 2, 4, 5]), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(of(first), axis=1)[6:], 1.0, atol=1e-4)


def test_texts_that_are_all_the_same_are_fitted() -> None:
    made = ItemVectors(TEXT, ENCODED)
    for item in range(4):
        made.set_item(item, texts(1)[0], [])
    made.set_item(4, texts(2)[1], [])
    assert np.isfinite(made.vectors).all()
    np.testing.assert_allclose(np.linalg.norm(made.vectors[4]), 1.0, atol=1e-4)


def test_a_refit_keeps_the_scores_of_texts_in_the_old_span() -> None:
    made = vectors()
    taste = Taste(made.width)
    old = opposed([0, 1])
    for item, embedding in enumerate(old):
        made.set_item(item, embedding, ["Drama"])
    for item in (0, 2, 2):
        taste.record(5, made.vectors[item])
        gradient = -0.5 * made.vectors[item] + 0.2 * made.vectors[1]
        learn_maps(taste.arrays, 5, gradient)
    before = made.vectors[:4] @ direction(taste, 5)
    assert np.ptp(before) > 1.0
    rotation = None
    for item, embedding in enumerate(opposed([2, 3, 0, 1, 2, 3]), 4):
        rotation = made.set_item(item, embedding, [])
    assert rotation is not None
    taste.rotate(rotation)
    after = made.vectors[:4] @ direction(taste, 5)
    np.testing.assert_allclose(after, before, atol=2e-3)


def test_without_anything_learnt_refits_leave_taste_a_plain_cosine() -> None:
    made = vectors()
    taste = Taste(made.width)
    for item, embedding in enumerate(texts(70)):
        rotation = made.set_item(item, embedding, ["Drama"])
        if rotation is not None:
            taste.rotate(rotation)
    np.testing.assert_allclose(taste.maps, np.stack([np.eye(made.width)] * 2), atol=1e-5)


def test_reviews_describe_an_item_by_their_mean() -> None:
    made = vectors()
    for item, embedding in enumerate(texts(8)):
        made.set_item(item, embedding, [])
    reviews = texts(3, seed=1)
    for review in reviews:
        made.add_review(20, review)
    made.set_item(21, reviews.mean(0), [])
    np.testing.assert_allclose(made.vectors[20], made.vectors[21], atol=5e-3)


def test_reviews_may_be_embedded_in_fewer_dimensions() -> None:
    narrow, padded = vectors(), vectors()
    reviews = texts(9)
    reviews[:, ENCODED // 2 :] = 0.0
    for item, review in enumerate(reviews):
        narrow.add_review(item, review[: ENCODED // 2])
        padded.add_review(item, review)
    assert narrow.vectors.any()
    np.testing.assert_array_equal(narrow.vectors, padded.vectors)


@pytest.mark.parametrize("reviewed_before", [False, True])
def test_an_items_own_text_outweighs_its_reviews(reviewed_before: bool) -> None:
    made = vectors()
    for item, embedding in enumerate(texts(8)):
        made.set_item(item, embedding, [])
    own, review = texts(2, seed=1)
    if reviewed_before:
        made.add_review(20, review)
    made.set_item(20, own, [])
    before = made.vectors.copy()
    assert made.add_review(20, review) is None
    np.testing.assert_array_equal(made.vectors, before)
    made.set_item(21, own, [])
    np.testing.assert_allclose(made.vectors[20], made.vectors[21], atol=1e-3)


def test_categories_are_a_unit_vector_of_their_own() -> None:
    made = vectors()
    made.set_item(0, None, ["Horror", "Sci-Fi"])
    made.set_item(1, None, ["Horror"])
    made.set_item(2, None, ["Romance"])
    made.set_item(3, None, [])
    products = made.vectors[:4] @ made.vectors[:4].T
    np.testing.assert_allclose(np.diag(products), [0.49, 0.49, 0.49, 0.0], atol=1e-6)
    assert products[0, 1] == pytest.approx(0.49 / np.sqrt(2))
    assert products[1, 2] == 0.0


def test_replaced_categories_leave_nothing_behind_and_many_fold() -> None:
    made = vectors()
    made.set_item(0, None, ["Horror"])
    made.set_item(0, None, ["Romance"])
    assert np.count_nonzero(made.vectors[0]) == 1
    made.set_item(1, None, [f"tag {n}" for n in range(100)])
    assert np.count_nonzero(made.vectors[1]) == CATEGORY_DIMENSIONS
    assert np.linalg.norm(made.vectors[1]) == pytest.approx(0.7)


def test_making_room_keeps_vectors_and_what_they_are_refitted_from() -> None:
    grown, roomy = vectors(), ItemVectors(TEXT, ENCODED, items=4000)
    for item, embedding in enumerate(texts(20)):
        grown.set_item(item, embedding, ["Drama"])
        roomy.set_item(item, embedding, ["Drama"])
        grown.reserve(1000 + 100 * item)
    np.testing.assert_array_equal(grown.vectors[:20], roomy.vectors[:20])
    assert len(grown.vectors) >= 2900


def test_a_year_is_of_norm_seven_tenths_and_near_to_years_close_by() -> None:
    made = vectors()
    for item, year in enumerate([1996, 1997, 1950, None]):
        made.set_item(item, None, [], year)
    products = made.vectors[:4] @ made.vectors[:4].T
    np.testing.assert_allclose(np.diag(products), [0.49, 0.49, 0.49, 0.0], atol=0.01)
    assert products[0, 1] > 0.4
    assert products[0, 2] < 0.1


@pytest.mark.parametrize("year", [-5000.0, 0.0, 1e9])
def test_an_absurd_year_is_a_very_old_or_a_very_new_one(year: float) -> None:
    made = vectors()
    made.set_item(0, None, [], year)
    assert np.isfinite(made.vectors[0]).all()


def test_after_the_last_fit_only_reviews_are_kept_to_be_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.text.vectors._LAST_FIT", 16)
    made = vectors()
    reviews = texts(2, seed=2)
    made.add_review(30, reviews[0])
    fits = [
        item for item, embedding in enumerate(texts(90))
        if made.set_item(item, embedding, []) is not None and item != 30
    ]  # fmt: skip
    assert len(fits) == 2
    assert set(made._rows) <= {30}
    made.add_review(95, reviews[0])
    made.add_review(95, reviews[1])
    made.set_item(96, reviews.mean(0), [])
    np.testing.assert_allclose(made.vectors[95], made.vectors[96], atol=5e-3)
