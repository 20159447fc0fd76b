"""The ABI file against what gcc 12 says of linux/videodev2.h on x86-64 (aarch64 has the same layouts)."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from edged.sources import _videodev2 as v

SIZES = {
    "v4l2_capability": (v.Capability, 104),
    "v4l2_fmtdesc": (v.FmtDesc, 64),
    "v4l2_frmsizeenum": (v.FrmSizeEnum, 44),
    "v4l2_frmivalenum": (v.FrmIvalEnum, 52),
    "v4l2_pix_format": (v.PixFormat, 48),
    "v4l2_pix_format_mplane": (v.PixFormatMplane, 192),
    "v4l2_format": (v.Format, 208),
    "v4l2_requestbuffers": (v.RequestBuffers, 20),
    "v4l2_plane": (v.Plane, 64),
    "v4l2_buffer": (v.Buffer, 88),
    "v4l2_streamparm": (v.StreamParm, 204),
    "v4l2_query_ext_ctrl": (v.QueryExtCtrl, 232),
    "v4l2_querymenu": (v.QueryMenu, 44),
    "v4l2_ext_control": (v.ExtControl, 20),
    "v4l2_ext_controls": (v.ExtControls, 32),
    "v4l2_selection": (v.Selection, 64),
    "v4l2_exportbuffer": (v.ExportBuffer, 64),
}
NUMBERS = {
    "QUERYCAP": 0x80685600,
    "ENUM_FMT": 0xC0405602,
    "G_FMT": 0xC0D05604,
    "S_FMT": 0xC0D05605,
    "REQBUFS": 0xC0145608,
    "QUERYBUF": 0xC0585609,
    "QBUF": 0xC058560F,
    "EXPBUF": 0xC0405610,
    "DQBUF": 0xC0585611,
    "STREAMON": 0x40045612,
    "STREAMOFF": 0x40045613,
    "G_PARM": 0xC0CC5615,
    "S_PARM": 0xC0CC5616,
    "QUERYMENU": 0xC02C5625,
    "G_EXT_CTRLS": 0xC0205647,
    "S_EXT_CTRLS": 0xC0205648,
    "ENUM_FRAMESIZES": 0xC02C564A,
    "ENUM_FRAMEINTERVALS": 0xC034564B,
    "G_SELECTION": 0xC040565E,
    "S_SELECTION": 0xC040565F,
    "QUERY_EXT_CTRL": 0xC0E85667,
}
OFFSETS = {
    "v4l2_capability.device_caps": 88,
    "v4l2_format.fmt": 8,
    "v4l2_frmsizeenum.stepwise": 12,
    "v4l2_pix_format.ycbcr_enc": 36,
    "v4l2_pix_format.quantization": 40,
    "v4l2_pix_format_mplane.plane_fmt": 20,
    "v4l2_pix_format_mplane.num_planes": 180,
    "v4l2_pix_format_mplane.ycbcr_enc": 182,
    "v4l2_pix_format_mplane.quantization": 183,
    "v4l2_requestbuffers.capabilities": 12,
    "v4l2_plane.m": 8,
    "v4l2_plane.data_offset": 16,
    "v4l2_buffer.timestamp": 24,
    "v4l2_buffer.sequence": 56,
    "v4l2_buffer.memory": 60,
    "v4l2_buffer.m": 64,
    "v4l2_buffer.length": 72,
    "v4l2_query_ext_ctrl.minimum": 40,
    "v4l2_query_ext_ctrl.flags": 72,
    "v4l2_query_ext_ctrl.nr_of_dims": 84,
    "v4l2_ext_controls.controls": 24,
    "v4l2_selection.r": 12,
    "v4l2_exportbuffer.fd": 16,
}


def test_sizes() -> None:
    assert {n: ctypes.sizeof(t) for n, (t, _) in SIZES.items()} == {n: size for n, (_, size) in SIZES.items()}


def test_numbers() -> None:
    assert {x.name: x.value for x in v.Ioctl} == NUMBERS


@pytest.mark.parametrize("where", OFFSETS)
def test_offsets(where: str) -> None:
    struct, _, member = where.partition(".")
    assert getattr(SIZES[struct][0], member).offset == OFFSETS[where]


def test_names_of_formats() -> None:
    assert v.fourcc("YUYV") == 0x56595559
    assert [v.fourcc_text(v.fourcc(t)) for t in ("YUYV", "NM12", "Y16")] == ["YUYV", "NM12", "Y16"]
    assert v.fourcc_text(v.fourcc("Y16 ") | 1 << 31) == "Y16-BE"


@pytest.mark.skipif(
    shutil.which("gcc") is None or not Path("/usr/include/linux/videodev2.h").exists(),
    reason="needs gcc and the kernel's headers: apt-get install gcc linux-libc-dev",
)
def test_the_figures_above_are_the_header_s(tmp_path: Path) -> None:
    checks = [f"sizeof(struct {n}) == {size}" for n, (_, size) in SIZES.items()]
    checks += [f"VIDIOC_{n} == {number:#x}ul" for n, number in NUMBERS.items()]
    checks += [f"offsetof(struct {w.replace('.', ', ')}) == {at}" for w, at in OFFSETS.items()]
    code = "#include <stddef.h>\n#include <linux/videodev2.h>\n"
    code += "".join(f'_Static_assert({c}, "{c}");\n' for c in checks)
    (tmp_path / "abi.c").write_text(code)
    done = subprocess.run(
        ["gcc", "-fsyntax-only", "abi.c"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
