"""Memory: wants, admission with figures, regions, slots and leases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from edged.errors import ExitCode, MemoryRefused
from edged.frames import Memory
from edged.memory import (
    PAGE,
    Budget,
    Lease,
    Region,
    Slots,
    Want,
    available_bytes,
    format_bytes,
    round_up,
    wanted_bytes,
)
from edged.tensors import TensorSpec

SIZES = st.integers(0, 5 * PAGE)


def slots(count: int = 3, nbytes: int = 16, owner: str = "source front") -> Slots:
    return Slots(owner, [np.zeros(nbytes, np.uint8) for _ in range(count)])


@pytest.mark.parametrize(
    ("n", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (12_345_678, "11.8 MiB"), (5 << 40, "5.0 TiB")],
)
def test_amounts_are_told_in_the_unit_that_fits(n: int, text: str) -> None:
    assert format_bytes(n) == text


@given(st.integers(0, 1 << 50), st.integers(1, 1 << 20))
def test_rounding_up_reaches_the_next_multiple_and_no_further(n: int, to: int) -> None:
    assert round_up(n, to) % to == 0
    assert 0 <= round_up(n, to) - n < to


def test_a_tensor_wants_its_bytes_under_its_name() -> None:
    spec = TensorSpec("images", (1, 3, 4, 6), np.dtype(np.float32))
    assert Want.tensor(spec) == Want("images", 288, Memory.HOST)
    assert Want.tensor(spec, "ticket0.images").name == "ticket0.images"


def test_free_memory_is_what_linux_says_or_unknown(tmp_path: Path) -> None:
    assert (available_bytes() or 0) > PAGE
    said = tmp_path / "meminfo"
    for text, n in (
        ("MemTotal: 9 kB\nMemAvailable:   5 kB\n", 5120),
        ("MemAvailable: x\n", None),
        ("", None),
    ):
        said.write_text(text)
        assert available_bytes(str(said)) == n
    assert available_bytes(str(tmp_path / "absent")) is None


class TestBudget:
    def test_without_a_limit_everything_is_admitted_and_counted(self) -> None:
        budget = Budget()
        budget.admit("a", 1 << 60)
        assert budget.held == 1 << 60

    def test_a_refusal_names_all_figures_and_a_remedy(self) -> None:
        budget = Budget(10 << 20)
        budget.admit("source front", 4 << 20)
        with pytest.raises(MemoryRefused) as refused:
            budget.admit_all({"model yolox": 5 << 20, "source rear": 3 << 20})
        assert refused.value.exit_code is ExitCode.MEMORY
        assert str(refused.value).splitlines() == [
            "memory: 12.0 MiB wanted, runtime.memory_budget is 10.0 MiB (2.0 MiB too much):",
            "     4.0 MiB  source front",
            "     5.0 MiB  model yolox",
            "     3.0 MiB  source rear",
            "  remedy: raise runtime.memory_budget, or lower frame sizes (max_size), instances or in_flight",
        ]

    def test_what_the_machine_cannot_give_is_refused_with_figures(self) -> None:
        free = [8 << 20]
        budget = Budget(available=lambda: free[0])
        budget.admit("source front", 6 << 20)
        free[0] -= 6 << 20
        with pytest.raises(MemoryRefused) as refused:
            budget.admit_all({"model yolox": 1 << 20, "source rear": 2 << 20})
        assert str(refused.value).splitlines() == [
            "memory: 3.0 MiB wanted, the machine has 2.0 MiB left:",
            "     1.0 MiB  model yolox",
            "     2.0 MiB  source rear",
            "  remedy: free memory, or lower frame sizes (max_size), instances or in_flight",
        ]
        assert budget.held == 6 << 20
        budget.admit_all({"model yolox": 2 << 20})

    def test_all_or_none_are_admitted(self) -> None:
        budget = Budget(10)
        with pytest.raises(MemoryRefused):
            budget.admit_all({"a": 5, "b": 6})
        assert budget.held == 0
        budget.admit_all({"a": 5, "b": 5})
        assert budget.held == 10

    def test_an_owner_that_is_admitted_twice_is_counted_twice_until_it_gives_back(self) -> None:
        budget = Budget(10)
        budget.admit("a", 4)
        budget.admit("a", 6)
        budget.give_back("a", 4)
        assert budget.held == 6

    @given(st.lists(st.integers(0, 50), max_size=20), st.integers(0, 200))
    def test_what_is_held_never_exceeds_the_limit(self, sizes: list[int], limit: int) -> None:
        budget, admitted = Budget(limit), 0
        for i, n in enumerate(sizes):
            if admitted + n <= limit:
                budget.admit(str(i), n)
                admitted += n
            else:
                with pytest.raises(MemoryRefused):
                    budget.admit(str(i), n)
            assert budget.held == admitted


class TestRegion:
    @given(st.lists(SIZES, max_size=8))
    def test_pieces_are_page_aligned_apart_and_as_large_as_wanted(self, sizes: list[int]) -> None:
        wants = [Want(f"w{i}", n) for i, n in enumerate(sizes)]
        region = Region("test", wants)
        assert region.nbytes == wanted_bytes(wants) == sum(round_up(n) for n in sizes)
        for i, n in enumerate(sizes):
            piece = region.bytes(f"w{i}")
            assert piece.nbytes == n
            assert not piece.any()
            if n:
                assert piece.ctypes.data % PAGE == 0
            piece[:] = i + 1
        for i in range(len(sizes)):
            assert (region.bytes(f"w{i}") == i + 1).all(), "two pieces overlap"
        assert region.used_bytes == sum(sizes)
        region.close()

    def test_a_tensor_is_a_view_of_its_piece(self) -> None:
        spec = TensorSpec("x", (2, 3), np.dtype(np.float32))
        region = Region("test", [Want.tensor(spec, "ticket1.x")])
        view = region.tensor(spec, "ticket1.x")
        view.host()[:] = 7
        assert view.address == region.bytes("ticket1.x").ctypes.data
        assert (region.bytes("ticket1.x").view(np.float32) == 7).all()
        region.close()

    def test_nothing_is_handed_out_once_frozen(self) -> None:
        region = Region("model yolox", [Want("x", 8)])
        region.freeze()
        with pytest.raises(RuntimeError, match="model yolox is frozen; x was asked for"):
            region.bytes("x")
        region.close()

    def test_the_high_water_mark_counts_what_was_handed_out_and_never_falls(self) -> None:
        region = Region("test", [Want("a", 10), Want("b", 100)])
        assert region.used_bytes == 0
        region.bytes("a")
        region.bytes("a")
        assert region.used_bytes == 10
        region.close()
        assert region.used_bytes == 10
        assert region.nbytes == 2 * PAGE

    def test_unknown_and_doubled_names_are_told(self) -> None:
        with pytest.raises(ValueError, match="region test: two wants are called x"):
            Region("test", [Want("x", 1), Want("x", 1)])
        region = Region("test", [Want("x", 1)])
        with pytest.raises(KeyError, match="has no y; it has x"):
            region.bytes("y")
        region.close()

    def test_closing_tells_its_owner_once(self) -> None:
        closed: list[int] = []
        region = Region("test", [], on_close=lambda: closed.append(1))
        region.close()
        region.close()
        assert closed == [1]


class TestLeases:
    def test_every_retain_needs_a_release_and_the_last_returns_the_slot(self) -> None:
        s = slots(1)
        lease = s.acquire()
        assert lease is not None
        lease.retain()
        lease.release()
        assert s.in_use == 1
        assert s.acquire() is None
        lease.release()
        assert s.in_use == 0

    def test_a_second_release_and_a_late_retain_are_defects_that_are_told(self) -> None:
        s = slots()
        lease = s.acquire()
        assert lease is not None
        lease.release()
        with pytest.raises(RuntimeError, match="source front: slot 2 released twice"):
            lease.release()
        with pytest.raises(RuntimeError, match="source front: slot 2 retained after its last release"):
            lease.retain()
        assert s.in_use == 0

    def test_a_late_release_after_a_restart_is_ignored(self) -> None:
        s = slots(1)
        old = s.acquire()
        s.reset()
        new = s.acquire()
        assert old is not None
        assert new is not None
        assert new.index == old.index
        old.release()
        assert s.in_use == 1, "the late release gave away a slot that is somebody else's now"
        new.release()

    def test_what_was_taken_back_is_late_until_its_last_holder_lets_go(self) -> None:
        s = slots()
        first, second = s.acquire(), s.acquire()
        assert first is not None
        assert second is not None
        first.retain()
        s.reset()
        assert (s.in_use, s.late) == (0, 2)
        first.release()
        second.release()
        assert s.late == 1
        first.release()
        first.release()
        assert (s.in_use, s.late) == (0, 0)

    def test_who_waits_for_a_slot_is_woken_by_a_release(self) -> None:
        s = slots(1)
        first = s.acquire()
        assert first is not None
        got: list[Lease | None] = []
        waiter = threading.Thread(target=lambda: got.append(s.acquire(30)))
        waiter.start()
        first.release()
        waiter.join()
        assert got[0] is not None
        got[0].release()

    def test_who_waits_for_all_does_not_take_the_place_of_who_waits_for_one(self) -> None:
        """Both wait on the same condition: a release must wake both."""
        s = slots(1)
        first = s.acquire()
        assert first is not None
        order: list[str] = []

        def all_free() -> None:
            if s.wait_all_free(30):
                order.append("all")

        def one() -> None:
            lease = s.acquire(30)
            if lease is not None:
                order.append("one")
                lease.release()

        waiters = [threading.Thread(target=t) for t in (all_free, one)]
        for w in waiters:
            w.start()
        first.release()
        for w in waiters:
            w.join(10)
        assert sorted(order) == ["all", "one"]

    def test_waiting_ends_at_its_time(self) -> None:
        s = slots(1)
        lease = s.acquire()
        assert lease is not None
        assert s.acquire(0.001) is None
        assert not s.wait_all_free(0.001)
        lease.release()
        assert s.wait_all_free(0)

    def test_the_owner_hears_of_each_slot_that_becomes_free(self) -> None:
        freed: list[int] = []
        s = slots(2)
        s.on_release = freed.append
        leases = [s.acquire(), s.acquire()]
        for lease in leases:
            assert lease is not None
            lease.release()
        assert sorted(freed) == [0, 1]

    def test_slots_of_a_region_are_its_pieces(self) -> None:
        wants = Slots.wants(3, 100)
        region = Region("source front", wants)
        s = Slots.of(region, 3)
        assert len(s) == 3
        assert s.owner == "source front"
        assert wanted_bytes(wants) == 3 * PAGE == region.nbytes
        assert [b.nbytes for b in s.buffers] == [100] * 3
        region.close()

    def test_threads_that_share_leases_leave_none(self) -> None:
        s = slots(4)

        def work() -> None:
            for _ in range(300):
                lease = s.acquire(30)
                assert lease is not None
                lease.retain()
                lease.release()
                lease.release()

        threads = [threading.Thread(target=work) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert s.in_use == 0
        assert 1 <= s.high_water <= 4


# not lambdas: Hypothesis 6.100 looks for the source of a lambda at every step, which takes a hundred times the step
def _has_room(machine: SlotsMachine) -> bool:
    return machine.slots.in_use < len(machine.slots)


def _is_full(machine: SlotsMachine) -> bool:
    return machine.slots.in_use == len(machine.slots)


class SlotsMachine(RuleBasedStateMachine):
    """Any order of acquire, retain, release and reset against a model that only counts."""

    leases: Bundle[Lease] = Bundle("leases")

    @initialize(count=st.integers(1, 4))
    def make(self, count: int) -> None:
        self.slots = slots(count)
        self.counts: dict[Lease, int] = {}  # of this generation
        self.most = 0

    def _held(self) -> Iterator[Lease]:
        return (lease for lease, n in self.counts.items() if n)

    @rule(target=leases)
    @precondition(_has_room)
    def acquire(self) -> Lease:
        lease = self.slots.acquire()
        assert lease is not None
        assert lease.index not in {held.index for held in self._held()}, "a slot was handed out twice"
        self.counts[lease] = 1
        self.most = max(self.most, len(list(self._held())))
        return lease

    @rule()
    @precondition(_is_full)
    def acquire_from_none(self) -> None:
        assert self.slots.acquire() is None

    @rule(lease=leases)
    def retain(self, lease: Lease) -> None:
        if self.counts.get(lease):
            lease.retain()
            self.counts[lease] += 1

    @rule(lease=leases)
    def release(self, lease: Lease) -> None:
        if self.counts.get(lease) == 0:
            with pytest.raises(RuntimeError, match="released twice"):
                lease.release()
            return
        lease.release()  # of an earlier generation: ignored
        if lease in self.counts:
            self.counts[lease] -= 1

    @rule(lease=consumes(leases))
    def release_wholly(self, lease: Lease) -> None:
        for _ in range(self.counts.get(lease, 0)):
            lease.release()
        if lease in self.counts:
            self.counts[lease] = 0

    @rule()
    def reset(self) -> None:
        self.slots.reset()
        self.counts.clear()

    @invariant()
    def counts_agree(self) -> None:
        assert self.slots.in_use == len(list(self._held()))
        assert self.slots.high_water == self.most

    def teardown(self) -> None:
        if hasattr(self, "slots"):
            self.slots.reset()


TestSlotsMachine = SlotsMachine.TestCase


def test_what_is_only_tried_is_never_held() -> None:
    """Who allocates at that moment would be refused."""

    class Watched(list[tuple[str, int]]):
        def extend(self, _: object) -> None:
            raise AssertionError

    budget = Budget(100)
    budget._held = Watched([("model m", 60)])
    budget.try_all({"model n": 40})
    with pytest.raises(MemoryRefused, match="101 B wanted"):
        budget.try_all({"model n": 41})
