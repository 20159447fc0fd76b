"""What the driver's statuses mean to edged: which end the process, and what to do about the others."""

from __future__ import annotations

from edged.errors import DeviceError, FatalDeviceError

OUT_OF_MEMORY = 2
NOT_READY = 600

# After these every call of the process's context fails: only a new process gets over it.
STICKY = {
    214: "an uncorrectable ECC error of its memory",
    220: "an uncorrectable NVLink error",
    226: "an error that was contained to this process",
    700: "a kernel read or wrote an illegal address",
    702: "a kernel took longer than the system allows",
    709: "its context was destroyed",
    710: "a kernel's assertion failed",
    714: "a hardware stack error",
    715: "a kernel had an illegal instruction",
    716: "a kernel used a misaligned address",
    717: "a kernel used an address of the wrong space",
    718: "a kernel's program counter ran away",
    719: "a kernel failed",
    721: "a kernel left tensor memory behind",
    911: "a device outside of CUDA failed",
    999: "unknown; often the device fell off its bus",
}
# calls by which a process meets the GPU: nothing of ours is lost yet when they fail
_FIRST = frozenset(
    {"cuInit", "cuDevicePrimaryCtxRetain", "cuDeviceGetCount", "cuDeviceGet", "cuDriverGetVersion"}
)

# other drivers' memory is tried: "unknown" is what the driver says of what it cannot import. Were more lost than that,
# the next call of any other name would tell.
_TRIALS = frozenset(
    (call, 999) for call in ("cuImportExternalMemory", "cuExternalMemoryGetMappedBuffer", "cuMemHostRegister")
)

_HINTS = {
    OUT_OF_MEMORY: "free GPU memory (nvidia-smi), or lower frame sizes, instances, in_flight or gpu_memory",
    46: "another process has the GPU to itself; end it, or set its compute mode to default (nvidia-smi -c 0)",
    100: "no GPU is visible: check CUDA_VISIBLE_DEVICES, nvidia-smi and the container's --gpus",
    101: "check [models.X] gpu against nvidia-smi -L",
    201: "a defect in edged: a call without the device's context",
    209: "the GPU is newer than this NVRTC or edged's kernels: install a newer nvidia-cuda-nvrtc",
    218: "the driver is older than this NVRTC: update the driver or install an older nvidia-cuda-nvrtc",
    222: "the driver is older than this NVRTC: update the driver or install an older nvidia-cuda-nvrtc",
    802: "the GPU is not ready yet (fabric manager); start edged after it",
    803: "driver and kernel module differ, as after an update: restart the machine",
    804: "the driver is too old for this GPU and CUDA: update it",
    999: "restart the machine, or reload the module nvidia_uvm",
}
_FATAL_HINT = "the process ends and a new one starts; if this comes again: dmesg | grep -i 'xid\\|nvrm'"


class CudaError(DeviceError):
    """A call of the driver that failed: `call`, `code`, and the `status` by its name."""

    def __init__(self, call: str, code: int, status: str, meaning: str, hint: str = "") -> None:
        self.call, self.code, self.status = call, code, status
        super().__init__(
            f"{call}: {status} ({code}): {meaning}", hint=hint or _HINTS.get(code, "see CUDA's manual")
        )


class FatalCudaError(CudaError, FatalDeviceError):
    """One that the process does not get over."""

    exit_code = FatalDeviceError.exit_code


def error_of(call: str, code: int, status: str, meaning: str) -> CudaError:
    if code in STICKY and call not in _FIRST and (call, code) not in _TRIALS:
        return FatalCudaError(call, code, status, f"{meaning}: {STICKY[code]}", _FATAL_HINT)
    return CudaError(call, code, status, meaning)
