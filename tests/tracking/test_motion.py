from __future__ import annotations

import numpy as np
import pytest

from edged.tracking.motion import Motion


def seen(x: float, w: float = 40) -> np.typing.NDArray[np.float64]:
    return np.array([[x, 50.0, w, 80.0]])


@pytest.mark.parametrize("gaps_s", [(0.1,) * 12, (0.033,) * 36, (0.05, 0.2, 0.1, 0.02, 0.3, 0.1) * 2])
def test_speed_is_found_whatever_the_time_between_frames(gaps_s: tuple[float, ...]) -> None:
    motion, t = Motion.none(), 0.0
    motion.extend(seen(0))
    for gap in gaps_s:
        t += gap
        motion.predict(gap)
        motion.correct(np.array([0]), seen(100 * t), np.array([0.9]))
    assert motion.speed[0, 0] == pytest.approx(100, rel=0.05)
    assert motion.speed[0, 1] == pytest.approx(0, abs=1)
    motion.predict(0.5)
    assert motion.place[0, 0] == pytest.approx(100 * (t + 0.5), abs=10)


def test_two_small_steps_are_one_large_one() -> None:
    once, twice = Motion.none(), Motion.none()
    for motion in (once, twice):
        motion.extend(seen(0))
        motion.speed[:, :2] = 30
    once.predict(0.4)
    twice.predict(0.15)
    twice.predict(0.25)
    np.testing.assert_allclose(once.place, twice.place)
    np.testing.assert_allclose(once.covariance, twice.covariance)


def test_a_weak_box_moves_a_track_less() -> None:
    moved = []
    for trust in (0.9, 0.2):
        motion = Motion.none()
        motion.extend(seen(0))
        motion.correct(np.array([0]), seen(20), np.array([trust]))
        moved.append(motion.place[0, 0])
    assert moved[0] > moved[1] > 0


def test_a_box_never_shrinks_to_nothing() -> None:
    motion = Motion.none()
    motion.extend(seen(0))
    motion.speed[0, 2] = -1000
    motion.predict(5.0)
    assert motion.place[0, 2] == 1
