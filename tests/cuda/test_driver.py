"""The checked layer on libcuda, its contexts, memory, streams, events and graphs, on the stand-in driver."""

from __future__ import annotations

import ctypes
import mmap
import threading
import time

import numpy as np
import pytest

from edged.devices.cuda.device import CudaDevice
from edged.devices.cuda.driver import Module
from edged.devices.cuda.driver import driver as the_driver
from edged.devices.cuda.external import Registered
from edged.devices.cuda.memory import check_fits
from edged.devices.cuda.probe import describe, probe
from edged.devices.cuda.status import CudaError, FatalCudaError
from edged.devices.cuda.stream import RING, CudaStream
from edged.errors import DeviceError, ExitCode, MemoryRefused
from edged.frames import Memory
from edged.memory import PAGE, Want
from edged.tensors import TensorSpec
from tests.cuda.standin import Standin, standin_device

F32 = np.dtype(np.float32)


def test_an_error_names_call_code_and_meaning_and_a_remedy(device: CudaDevice, driver: Standin) -> None:
    driver.fault("cuMemAlloc", 2)
    with pytest.raises(CudaError) as caught:
        the_driver().cuMemAlloc(ctypes.byref(ctypes.c_uint64()), 64)
    e = caught.value
    assert (e.call, e.code, e.status) == ("cuMemAlloc", 2, "CUDA_ERROR_OUT_OF_MEMORY")
    assert e.message == "cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY (2): out of memory"
    assert "nvidia-smi" in e.hint
    assert e.exit_code is ExitCode.DEVICE


@pytest.mark.parametrize("status", [214, 700, 719])
def test_a_sticky_error_is_fatal_and_every_later_call_says_so(
    device: CudaDevice, driver: Standin, status: int
) -> None:
    device.check()
    driver.stick(status)
    with pytest.raises(FatalCudaError) as caught:
        the_driver().cuMemAlloc(ctypes.byref(ctypes.c_uint64()), 64)
    assert caught.value.exit_code is ExitCode.DEVICE_LOST
    with pytest.raises(FatalCudaError):
        device.check()
    driver.reset()


def test_calls_need_a_context_in_their_thread(driver: Standin) -> None:
    device = standin_device()
    with pytest.raises(CudaError, match="INVALID_CONTEXT"):
        device.stream()
    with device.current(), device.current():
        device.stream().close()
    with pytest.raises(CudaError, match="INVALID_CONTEXT"):
        device.stream()
    device.close()
    device.close()


def test_contexts_are_pushed_and_popped_by_thread(device: CudaDevice, driver: Standin) -> None:
    depths: list[int] = []

    def work() -> None:
        depths.append(driver.live()["depth"])
        with device.current():
            depths.append(driver.live()["depth"])
        depths.append(driver.live()["depth"])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert depths == [0, 1, 0]


def test_a_region_is_one_allocation_a_kind(device: CudaDevice, driver: Standin) -> None:
    before = driver.allocations
    wants = [
        Want(f"{m.value}{i}", 100, m) for i in range(3) for m in (Memory.DEVICE, Memory.MAPPED, Memory.HOST)
    ]
    region = device.region("r", wants)
    assert driver.allocations - before == 2
    for w in wants:
        piece = region.piece(w.name)
        assert piece.memory is w.memory
        assert piece.address % PAGE == 0
        assert (piece.array is None) == (w.memory is Memory.DEVICE)
    with pytest.raises(TypeError, match="device memory"):
        region.bytes("device0")
    assert device.budget.held == region.nbytes
    region.close()
    region.close()
    assert driver.live()["device"] == driver.live()["mapped"] == device.budget.held == 0


def test_a_region_that_fails_half_way_gives_everything_back(device: CudaDevice, driver: Standin) -> None:
    driver.fault("cuMemAlloc", 2)
    with pytest.raises(MemoryRefused, match="out of memory"):
        device.region("r", [Want("m", 64, Memory.MAPPED), Want("d", 64, Memory.DEVICE)])
    assert driver.live()["mapped"] == device.budget.held == 0


def test_memory_is_refused_with_figures_before_it_is_asked_for(device: CudaDevice, tmp_path: object) -> None:
    with pytest.raises(MemoryRefused, match=r"no 16\.0 GiB of GPU memory; 8\.0 GiB are free"):
        device.admit({"a": [Want("x", 8 << 30, Memory.DEVICE)], "b": [Want("y", 8 << 30, Memory.DEVICE)]})
    assert device.budget.held == 0


def test_an_integrated_gpu_is_admitted_against_memavailable(device: CudaDevice, tmp_path: object) -> None:
    path = f"{tmp_path}/meminfo"
    with open(path, "w") as file:
        file.write("MemTotal: 8000 kB\nMemAvailable: 4000 kB\n")
    wants = [Want("d", 3000 << 10, Memory.DEVICE), Want("m", 2000 << 10, Memory.MAPPED)]
    with pytest.raises(MemoryRefused, match="MemAvailable"):
        check_fits(wants, "region r", integrated=True, meminfo=path)
    check_fits(wants, "region r", integrated=False, meminfo=path)


def test_events_come_from_a_ring_and_nothing_is_made_on_the_way(device: CudaDevice, driver: Standin) -> None:
    stream = device.stream()
    made = driver.live()["events"]
    for _ in range(3 * RING):
        assert stream.record().wait()
    assert driver.live()["events"] == made
    stream.close()


def test_an_event_waits_with_a_limit_and_without(device: CudaDevice) -> None:
    stream, gate = device.stream(), threading.Event()
    first = stream.record()
    stream.call(gate.wait)
    second = stream.record()
    assert first.wait()
    begin = time.monotonic()
    assert not second.wait(0.02)
    assert time.monotonic() - begin >= 0.02
    gate.set()
    assert second.wait(10)
    assert stream.elapsed_ms(first, second) >= 15
    stream.close()


def test_what_a_call_of_the_host_raises_is_raised_by_the_next_event_alone(device: CudaDevice) -> None:
    stream, ran = device.stream(), list[int]()

    def fail() -> None:
        raise DeviceError("smoke")

    stream.call(fail)
    stream.call(ran.append, 1)
    event = stream.record()
    stream.call(ran.append, 2)
    later = stream.record()
    with pytest.raises(DeviceError, match="smoke"):
        event.wait()
    assert event.wait()
    assert later.wait()
    assert ran == [2]
    stream.close()


def test_priorities_are_clamped_to_what_the_gpu_has(device: CudaDevice) -> None:
    for asked, given in ((0, 0), (3, -3), (99, -5), (-4, 0)):
        stream = device.stream(asked)
        assert stream.priority == given
        stream.close()


def test_a_graph_repeats_what_was_captured_and_times_its_parts(device: CudaDevice, driver: Standin) -> None:
    spec = TensorSpec("t", (1, 4), F32)
    region = device.region(
        "r",
        [
            Want.tensor(spec, "a", Memory.MAPPED),
            Want.tensor(spec, "d", Memory.DEVICE),
            Want.tensor(spec, "b", Memory.MAPPED),
        ],
    )
    a, d, b = (region.tensor(spec, n) for n in "adb")
    stream, seen = device.stream(), list[float]()

    def work() -> None:
        stream.copy(d, a)
        stream.record()
        stream.call(lambda: seen.append(float(a.host()[0, 0])))
        stream.copy(b, d)

    graph = stream.capture(work)
    assert graph.nodes == 4
    assert seen == []
    for value in (1.0, 2.0, 3.0):
        a.host()[:] = value
        start = stream.record()
        graph.launch()
        done = stream.record()
        assert done.wait()
        assert (b.host() == value).all()
        ready = graph.ready
        assert ready is not None
        assert 0 <= stream.elapsed_ms(start, ready) <= stream.elapsed_ms(start, done)
    assert seen == [1.0, 2.0, 3.0]
    assert driver.live()["graphs"] == 1
    graph.close()
    stream.close()
    region.close()


def test_a_capture_that_fails_is_ended_and_the_stream_goes_on(device: CudaDevice, driver: Standin) -> None:
    stream = device.stream()
    events = driver.live()["events"]

    def fails() -> None:
        stream.record()
        raise DeviceError("an engine that cannot")

    with pytest.raises(DeviceError, match="cannot"):
        stream.capture(fails)
    with pytest.raises(CudaError, match="CAPTURE"):
        stream.capture(lambda: the_driver().cuStreamSynchronize(stream.handle) and None)

    def swallows() -> None:
        the_driver().unchecked("cuStreamSynchronize")(stream.handle)

    with pytest.raises(CudaError, match="CAPTURE_INVALIDATED"):
        stream.capture(swallows)
    driver.fault("cuGraphInstantiate", 2)
    with pytest.raises(CudaError, match="OUT_OF_MEMORY"):
        stream.capture(lambda: None)
    assert driver.live()["events"] == events
    assert stream.record().wait(10)
    stream.close()


def test_host_pages_are_registered_and_given_back(device: CudaDevice, driver: Standin) -> None:
    pages = mmap.mmap(-1, 2 * PAGE)
    view = np.frombuffer(pages, np.uint8)
    registered = Registered(view.ctypes.data, 2 * PAGE)
    assert registered.address
    with pytest.raises(CudaError, match="ALREADY_REGISTERED"):
        Registered(view.ctypes.data, PAGE)
    registered.close()
    registered.close()
    assert driver.live()["registered"] == 0
    with pytest.raises(ValueError, match="beginning of a page"):
        Registered(view.ctypes.data + 1, PAGE)


def test_a_module_that_cannot_be_loaded_and_a_function_that_is_not_there(device: CudaDevice) -> None:
    with pytest.raises(CudaError, match="cuModuleLoadData"):
        Module(b"no image")


def test_what_there_is_and_what_is_missing(driver: Standin) -> None:
    gpu = describe(1)
    assert str(gpu) == "Stand-in 1, compute capability 9.0, discrete, 0000:01:00.0"
    assert gpu.arch == 90
    found = probe()
    assert len(found.gpus) == 2
    with pytest.raises(CudaError, match="INVALID_DEVICE"):
        describe(7)


def test_two_gpus_share_mapped_memory_and_nothing_else(driver: Standin) -> None:
    first, second = standin_device(), standin_device(gpu=1)
    with first.current():
        region = first.region("source", [Want("slot0", 64, Memory.MAPPED)])
        with second.current():
            stream = second.stream()
            assert stream.record().wait()
            stream.close()
        region.close()
    first.close()
    second.close()


def record(stream: CudaStream) -> None:
    stream.record()


def test_a_driver_that_times_no_events_inside_graphs_is_found_out(
    device: CudaDevice, driver: Standin
) -> None:
    stream = device.stream()
    driver.fault("cuEventElapsedTime", 400)
    graph = stream.capture(lambda: record(stream))
    assert graph.ready is None
    graph.launch()
    assert stream.record().wait(10)
    stream.end()
    graph.close()
    stream.close()
