import numpy as np
import pytest

from segment_concept.ops.boxes import NOWHERE, Corners
from segment_concept.ops.kalman import KalmanState, initiate, predict, update


def square(x: float, y: float, side: float = 20) -> Corners:
    return x, y, x + side, y + side


def followed(*boxes: Corners) -> KalmanState:
    belief = initiate(boxes[0])
    for box in boxes[1:]:
        belief = update(predict(belief), box)
    return belief


def test_a_box_seen_first_is_at_rest():
    belief = initiate((10, 20, 50, 30))
    assert belief.mean.tolist() == [30, 25, 4, 10, 0, 0, 0, 0]
    assert belief.corners == (10, 20, 50, 30)
    assert predict(belief).corners == (10, 20, 50, 30)
    # A tenth of the height, and a sixteenth a step.
    assert belief.covariance[0, 0] == pytest.approx(1)
    assert belief.covariance[4, 4] == pytest.approx(0.625**2)


def test_a_box_that_moves_evenly_is_expected_where_it_will_be():
    belief = followed(*(square(10 + 3 * n, 50 - 2 * n) for n in range(30)))
    assert predict(belief).corners == pytest.approx(square(100, -10), abs=0.05)


def test_a_box_that_grows_evenly_is_expected_larger():
    belief = followed(*((50 - n, 50 - n, 60 + n, 60 + n) for n in range(30)))
    x0, _, x1, _ = predict(belief).corners
    assert x1 - x0 == pytest.approx(70, abs=0.5)


def test_uncertainty_grows_without_measurements_and_shrinks_with_one():
    belief = followed(square(0, 0), square(1, 0))
    unseen = predict(predict(belief))
    for step in (predict(belief), unseen):
        assert (np.diag(step.covariance) >= np.diag(belief.covariance)).all()
    seen = update(unseen, square(3, 0))
    assert (np.diag(seen.covariance)[:4] < np.diag(unseen.covariance)[:4]).all()


def test_an_update_moves_the_state_towards_the_measurement_but_not_all_the_way():
    belief = update(predict(followed(*[square(0, 0)] * 10)), square(6, 0))
    assert 0 < belief.corners[0] < 6


def test_an_empty_box_counts_as_one_pixel_high():
    """As published: the box of an empty mask is fed to the filter like any other."""
    belief = initiate(NOWHERE)
    assert belief.mean.tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
    assert np.isfinite(update(predict(belief), square(80, 80)).mean).all()


def test_states_are_not_changed_by_later_frames():
    belief = followed(square(0, 0), square(5, 5))
    before = belief.mean.copy(), belief.covariance.copy()
    update(predict(belief), square(100, 100))
    assert (belief.mean == before[0]).all()
    assert (belief.covariance == before[1]).all()
