"""Memory admitted once: wants are added up, a region is allocated whole, frozen, and freed whole.

Flow: an owner lists its `Want`s; `Budget.admit` adds them up and refuses with figures; a `Region`
holds the bytes; `Slots` hands out equal buffers of a region as counted, generation-checked leases.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edged.errors import MemoryRefused
from edged.frames import U8, Memory
from edged.tensors import TensorSpec, TensorView

PAGE = mmap.PAGESIZE


def format_bytes(n: int) -> str:
    """12_345_678 -> '11.8 MiB'."""
    value, unit = float(n), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def available_bytes(meminfo: str = "/proc/meminfo") -> int | None:
    """What Linux could give without swapping (MemAvailable, proc_meminfo(5)); None where it does not say."""
    try:
        with open(meminfo, encoding="ascii") as f:
            for line in f:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return None
    return None


def round_up(n: int, to: int = PAGE) -> int:
    return -(-n // to) * to


@dataclass(frozen=True, slots=True)
class Want:
    """A named, page-aligned piece of memory that its owner needs for as long as it runs."""

    name: str
    nbytes: int
    memory: Memory = Memory.HOST

    @staticmethod
    def tensor(spec: TensorSpec, name: str = "", memory: Memory = Memory.HOST) -> Want:
        return Want(name or spec.name, spec.nbytes, memory)


class Budget:
    """The sum of what may be admitted (`runtime.memory_budget`). Thread-safe.

    `available`: bytes that the machine could still give; None: unknown. What is wanted at once must fit there, too:
    regions touch all their pages, and a machine that lacks them ends programs instead of refusing.
    Holds one entry an owner. An owner that is admitted again (a resize) is counted twice until the old
    region is closed: both exist during the swap.
    """

    def __init__(self, limit: int | None = None, available: Callable[[], int | None] = lambda: None) -> None:
        self.limit = limit
        self._available = available
        self._lock = threading.Lock()
        self._held: list[tuple[str, int]] = []

    @property
    def held(self) -> int:
        with self._lock:
            return sum(n for _, n in self._held)

    def admit(self, owner: str, nbytes: int) -> None:
        self.admit_all({owner: nbytes})

    def admit_all(self, wants: dict[str, int]) -> None:
        """Admit every owner or none. Raises MemoryRefused with all figures."""
        with self._lock:
            self._check(wants)
            self._held.extend(wants.items())

    def try_all(self, wants: dict[str, int]) -> None:
        """As admit_all, but holds nothing: whoever allocates meanwhile finds all that is left."""
        with self._lock:
            self._check(wants)

    def _check(self, wants: dict[str, int]) -> None:
        held = sum(n for _, n in self._held)
        total = held + sum(wants.values())
        if self.limit is not None and total > self.limit:
            rows = [*self._held, *wants.items()]
            listing = "".join(f"\n  {format_bytes(n):>10}  {o}" for o, n in rows)
            raise MemoryRefused(
                f"memory: {format_bytes(total)} wanted, runtime.memory_budget is "
                f"{format_bytes(self.limit)} ({format_bytes(total - self.limit)} too much):{listing}",
                hint="raise runtime.memory_budget, or lower frame sizes (max_size), instances or in_flight",
            )
        new, free = sum(wants.values()), self._available()
        if free is not None and new > free:
            listing = "".join(f"\n  {format_bytes(n):>10}  {o}" for o, n in wants.items())
            raise MemoryRefused(
                f"memory: {format_bytes(new)} wanted, the machine has {format_bytes(free)} left:{listing}",
                hint="free memory, or lower frame sizes (max_size), instances or in_flight",
            )

    def give_back(self, owner: str, nbytes: int) -> None:
        with self._lock:
            self._held.remove((owner, nbytes))


def wanted_bytes(wants: Iterable[Want]) -> int:
    """What a region of these wants occupies: each is rounded up to whole pages."""
    return sum(round_up(w.nbytes) for w in wants)


@dataclass(frozen=True, slots=True)
class Piece:
    """A want's memory. `address`: where the region's device finds it; `array`: the host view, None in DEVICE."""

    address: int
    memory: Memory
    array: U8 | None


class Region:
    """One owner's memory, cut into named, page-aligned wants: here one anonymous mapping of the host.

    Made by its owner's thread before it starts; `freeze` ends handing-out; `close` frees it whole, once
    no view is in use (the caller's duty: stop the owner first). A GPU's region fills in `_make` and `_free`.
    """

    def __init__(self, owner: str, wants: Sequence[Want], on_close: Callable[[], None] | None = None) -> None:
        names = [w.name for w in wants]
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice is not None:
            raise ValueError(f"region {owner}: two wants are called {twice}")
        self.owner = owner
        self.wants = tuple(wants)
        self.nbytes = wanted_bytes(wants)
        self.frozen = False
        self.is_open = True
        self._on_close = on_close
        self._used: dict[str, int] = {}
        self._pieces = self._make()

    def _make(self) -> dict[str, Piece]:
        whole = host_memory(self.nbytes)
        return cut(self.wants, whole, whole.ctypes.data)

    def _free(self) -> None:
        """Once, at `close`. The mapping itself goes when the last numpy view does."""

    @property
    def used_bytes(self) -> int:
        """High-water mark: bytes of wants that were handed out (never falls)."""
        return sum(self._used.values())

    def piece(self, name: str) -> Piece:
        """The piece called `name`. Refused after `freeze`."""
        if self.frozen:
            raise RuntimeError(f"region {self.owner} is frozen; {name} was asked for while running")
        piece = self._pieces.get(name)
        if piece is None:
            have = ", ".join(self._pieces) or "nothing"
            raise KeyError(f"region {self.owner} has no {name}; it has {have}")
        self._used[name] = next(w.nbytes for w in self.wants if w.name == name)
        return piece

    def bytes(self, name: str) -> U8:
        """The piece called `name` as the host sees it (uint8 view); TypeError for device memory."""
        piece = self.piece(name)
        if piece.array is None:
            raise TypeError(f"region {self.owner}: {name} is device memory, which the host cannot see")
        return piece.array

    def tensor(self, spec: TensorSpec, name: str = "") -> TensorView:
        """The piece `name` (default: the tensor's name) as a tensor."""
        piece = self.piece(name or spec.name)
        array = None
        if piece.array is not None:
            array = piece.array[: spec.nbytes].view(spec.dtype).reshape(spec.shape)
        return TensorView(spec, piece.address, piece.memory, array)

    def freeze(self) -> None:
        self.frozen = True

    def close(self) -> None:
        """Free everything. Idempotent."""
        if not self.is_open:
            return
        self.is_open = False
        self._pieces.clear()
        try:
            self._free()
        finally:
            if self._on_close is not None:
                self._on_close()


def host_memory(nbytes: int) -> U8:
    """Zeroed pages of this process; they go with the last view."""
    whole = np.frombuffer(mmap.mmap(-1, max(nbytes, PAGE)), np.uint8)
    whole[::PAGE] = 0  # touch every page now: a full machine refuses at boot, not in the loop
    return whole


def cut(
    wants: Iterable[Want], whole: U8 | None, address: int, memory: Memory = Memory.HOST
) -> dict[str, Piece]:
    """One piece after the other of memory that begins at `address` and that the host sees as `whole`."""
    pieces, offset = {}, 0
    for w in wants:
        array = None if whole is None else whole[offset : offset + w.nbytes]
        pieces[w.name] = Piece(address + offset, memory, array)
        offset += round_up(w.nbytes)
    return pieces


class Lease:
    """A counted claim on one slot. Created with a count of one; `release` at zero returns the slot.

    Thread-safe. A lease whose slots were reset (generation changed) is dead: releasing it does nothing.
    """

    __slots__ = ("_count", "_generation", "_slots", "index")

    def __init__(self, slots: Slots, index: int, generation: int) -> None:
        self._slots, self.index, self._generation = slots, index, generation
        self._count = 1

    def retain(self) -> None:
        with self._slots.lock:
            if self._count <= 0:
                raise RuntimeError(f"{self._slots.owner}: slot {self.index} retained after its last release")
            self._count += 1

    def release(self) -> None:
        with self._slots.lock:
            if self._generation != self._slots.generation:  # the slot belongs to somebody else now
                self._count -= 1
                self._slots.late -= self._count == 0
                return
            if self._count <= 0:
                raise RuntimeError(f"{self._slots.owner}: slot {self.index} released twice")
            self._count -= 1
            if self._count == 0:
                self._slots.put_back(self.index)


class Slots:
    """Equal, page-aligned buffers of a region, handed out as leases. Thread-safe; nothing is allocated.

    `on_release`, if set, is called with the slot's index, under the lock, when a slot becomes free
    (a camera queues its buffer again there). `late`: leases that were taken back by `reset`, and whose holders have not
    released them yet: they may read their slots still.
    """

    def __init__(
        self,
        owner: str,
        buffers: Sequence[U8],
        memory: Memory = Memory.HOST,
        addresses: Sequence[int] | None = None,
    ) -> None:
        self.owner = owner
        self.buffers = tuple(buffers)
        self.memory = memory
        # where the device finds each; 0: it does not
        self.addresses = tuple(addresses or (0,) * len(self.buffers))
        self.lock = threading.Lock()
        self._available = threading.Condition(self.lock)
        self.generation = 0
        self.late = 0
        self.high_water = 0
        self.on_release: Callable[[int], None] | None = None
        self._free = list(range(len(self.buffers)))

    @staticmethod
    def wants(count: int, nbytes: int, memory: Memory = Memory.HOST) -> list[Want]:
        return [Want(f"slot{i}", nbytes, memory) for i in range(count)]

    @staticmethod
    def of(region: Region, count: int) -> Slots:
        """The slots that a region of such wants has. The host writes frames into them, so it must see them."""
        names = [f"slot{i}" for i in range(count)]
        pieces = [region.piece(n) for n in names]
        memory = pieces[0].memory if pieces else Memory.HOST
        mapped = [p.address if memory is not Memory.HOST else 0 for p in pieces]
        return Slots(region.owner, [region.bytes(n) for n in names], memory, mapped)

    def __len__(self) -> int:
        return len(self.buffers)

    @property
    def in_use(self) -> int:
        with self.lock:
            return len(self.buffers) - len(self._free)

    def acquire(self, timeout_s: float = 0.0) -> Lease | None:
        """A free slot, or None when none became free in time."""
        with self.lock:
            if not self._free and timeout_s > 0:
                self._available.wait_for(lambda: bool(self._free), timeout_s)
            if not self._free:
                return None
            index = self._free.pop()
            self.high_water = max(self.high_water, len(self.buffers) - len(self._free))
            return Lease(self, index, self.generation)

    def put_back(self, index: int) -> None:
        """Called by Lease, holding the lock."""
        self._free.append(index)
        self._available.notify_all()  # those who wait for one slot and those who wait for all
        if self.on_release is not None:
            self.on_release(index)

    def wait_all_free(self, timeout_s: float) -> bool:
        """Wait until every lease has been released; False on timeout."""
        with self.lock:
            return self._available.wait_for(lambda: len(self._free) == len(self.buffers), timeout_s)

    def reset(self) -> None:
        """Take every slot back (the source restarted): outstanding leases die, late releases are ignored."""
        with self.lock:
            self.generation += 1
            self.late += len(self.buffers) - len(self._free)
            self._free = list(range(len(self.buffers)))
            self._available.notify_all()
