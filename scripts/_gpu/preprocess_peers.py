"""The fused preprocessing's job by other libraries: NV12 frames to a letterboxed, normalised float32 tensor.

Each maker takes a Job and gives what one launch is; it raises ImportError where its library is absent. All buffers are
made beforehand, everything is queued on the job's stream, and nothing waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from edged.devices.color import YuvToRgb
from edged.frames import FrameSpec, Geometry
from edged.tensors import ImageInput

Launch = Callable[[int], object]


class DeviceArray:
    """Device memory, contiguous, as other libraries take it."""

    def __init__(self, address: int, shape: tuple[int, ...], typestr: str = "|u1") -> None:
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": typestr,
            "data": (address, False),
            "version": 3,
            "strides": None,
        }


@dataclass(frozen=True)
class Job:
    """`sources`: addresses of batches of packed NV12 frames, taken in turn; `target`: of float32 [batch, 3, h, w].

    `stream`: its handle. All of it on the current GPU.
    """

    src: FrameSpec
    image: ImageInput
    batch: int
    sources: Sequence[int]
    target: int
    stream: int

    @property
    def placed(self) -> tuple[int, int, int, int]:
        """x, y, w, h of the picture in the tensor."""
        return Geometry.fit((self.src.width, self.src.height), self.image.size, self.image.resize).placed

    @property
    def rows(self) -> int:
        """Of an NV12 frame as one plane: luma, and below it chroma."""
        return self.src.height * 3 // 2

    @property
    def scale(self) -> list[float]:
        return [1 / s for s in self.image.std]

    def out(self) -> DeviceArray:
        return DeviceArray(self.target, self.image.shape(self.batch), "<f4")


class _CvCuda:
    """What both chains of CV-CUDA begin with: the frames as RGB in full size."""

    def __init__(self, job: Job) -> None:
        self.cv: Any = import_module("cvcuda")
        cv, src = self.cv, job.src
        self.stream = cv.as_stream(job.stream)
        shape = (job.batch, job.rows, src.width, 1)
        self.frames = [cv.as_tensor(DeviceArray(a, shape), "NHWC") for a in job.sources]
        self.rgb = cv.Tensor((job.batch, src.height, src.width, 3), cv.Type.U8, "NHWC")
        self.out = cv.as_tensor(job.out(), "NCHW")

    def convert(self, i: int) -> None:
        code = self.cv.ColorConversion.YUV2RGB_NV12
        self.cv.cvtcolor_into(self.rgb, self.frames[i % len(self.frames)], code, stream=self.stream)


def cvcuda_operators(job: Job) -> Launch:
    """One operator a step, as NVIDIA's samples have it."""
    made = _CvCuda(job)
    cv, stream, rgb, out = made.cv, made.stream, made.rgb, made.out
    x, y, w, h = job.placed
    width, height = job.image.size
    pad, mean, scale = [float(job.image.pad)] * 3, list(job.image.mean), job.scale
    small = cv.Tensor((job.batch, h, w, 3), cv.Type.U8, "NHWC")
    boxed = cv.Tensor((job.batch, height, width, 3), cv.Type.U8, "NHWC")
    levels, values = (cv.Tensor((job.batch, height, width, 3), cv.Type.F32, "NHWC") for _ in range(2))

    def launch(i: int) -> None:
        made.convert(i)
        cv.resize_into(small, rgb, cv.Interp.LINEAR, stream=stream)
        cv.copymakeborder_into(boxed, small, cv.Border.CONSTANT, pad, top=y, left=x, stream=stream)
        cv.convertto_into(levels, boxed, stream=stream)
        cv.normalize_into(values, levels, mean, scale, stream=stream)
        cv.reformat_into(out, values, stream=stream)

    return launch


def cvcuda_fewest(job: Job) -> Launch:
    """The fewest operators that CV-CUDA has for it: size, number type and layout change in one, the rest is planar."""
    made = _CvCuda(job)
    cv, stream, rgb, out = made.cv, made.stream, made.rgb, made.out
    x, y, w, h = job.placed
    width, height = job.image.size
    pad, mean, scale = [float(job.image.pad)] * 3, list(job.image.mean), job.scale
    small = cv.Tensor((job.batch, 3, h, w), cv.Type.F32, "NCHW")
    boxed = cv.Tensor((job.batch, 3, height, width), cv.Type.F32, "NCHW")

    def launch(i: int) -> None:
        made.convert(i)
        cv.resize_crop_convert_reformat_into(small, rgb, (w, h), cv.Interp.LINEAR, (0, 0), stream=stream)
        cv.copymakeborder_into(boxed, small, cv.Border.CONSTANT, pad, top=y, left=x, stream=stream)
        cv.normalize_into(out, boxed, mean, scale, stream=stream)

    return launch


def torch_chain(job: Job) -> Launch:
    """Tensor arithmetic, as a program without a library for pictures has it."""
    torch: Any = import_module("torch")
    shape = (job.batch, job.rows, job.src.width)
    frames = [torch.as_tensor(DeviceArray(a, shape), device="cuda") for a in job.sources]
    out = torch.as_tensor(job.out(), device="cuda")
    convert = torch_converter(torch, job, "cuda")
    stream = torch.cuda.ExternalStream(job.stream)

    def launch(i: int) -> None:
        with torch.cuda.stream(stream):
            convert(frames[i % len(frames)], out)

    return launch


def torch_converter(torch: Any, job: Job, device: str) -> Callable[[Any, Any], None]:
    """From uint8 [n, rows, w] to float32 `out` [n, 3, h, w]."""
    functional, src, image = torch.nn.functional, job.src, job.image
    law = YuvToRgb.of(src.matrix, src.full_range)
    (_, _, red_v), (_, green_u, green_v), (_, blue_u, _) = law.rows.tolist()
    x, y, w, h = job.placed
    around = (x, image.size[0] - x - w, y, image.size[1] - y - h)
    scale = torch.tensor(job.scale, device=device).reshape(1, 3, 1, 1)
    shift = -torch.tensor(image.mean, device=device).reshape(1, 3, 1, 1) * scale

    def convert(nv12: Any, out: Any) -> None:
        luma = (nv12[:, : src.height].float() - law.black).clamp_(min=0).mul_(law.luma_gain)
        pairs = nv12[:, src.height :].reshape(-1, src.height // 2, src.width // 2, 2)
        chroma = pairs.permute(0, 3, 1, 2).float() - 128
        u, v = functional.interpolate(chroma, scale_factor=2, mode="nearest").unbind(1)
        rgb = torch.stack([luma + red_v * v, luma + green_u * u + green_v * v, luma + blue_u * u], 1)
        small = functional.interpolate(rgb.clamp_(0, 255), (h, w), mode="bilinear", align_corners=False)
        boxed = functional.pad(small, around, value=float(image.pad))
        torch.addcmul(shift, boxed, scale, out=out)

    return convert


# library, what it does, how
PEERS: tuple[tuple[str, str, Callable[[Job], Launch]], ...] = (
    ("cvcuda", "CV-CUDA, an operator a step (6)", cvcuda_operators),
    ("cvcuda", "CV-CUDA, the fewest operators (4)", cvcuda_fewest),
    ("torch", "PyTorch, tensor arithmetic", torch_chain),
)
