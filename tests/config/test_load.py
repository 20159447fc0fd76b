"""From a file to a Config, and every way in which that fails."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from edged.config.load import MAX_BYTES, load, loads
from edged.config.schema import Config
from edged.errors import ConfigError, EdgedError, ExitCode

HEAD = """
[pipelines.front]
source = "cam"
model = "faces"
sinks = ["bus"]
[models.faces]
path = "models/faces"
[sources.cam]
kind = "pattern"
[sinks.bus]
kind = "zmq"
"""


def fail(text: str, file: str = "f.toml") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(text, file=file)
    assert caught.value.exit_code is ExitCode.CONFIG
    assert str(caught.value).splitlines() == [f"{file}: {p}" for p in caught.value.problems]
    return [str(p) for p in caught.value.problems]


def change(*pairs: tuple[str, str]) -> str:
    text = HEAD
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def test_the_least(tmp_path: Path) -> None:
    file = tmp_path / "edged.toml"
    file.write_text(HEAD)
    config = load(file)
    assert config.file == str(file)
    assert config.models["faces"].path == str(tmp_path / "models" / "faces")
    assert config.models["faces"].engine == "auto"
    assert config.models["faces"].fallback is None
    assert config.runtime.state_dir == ""
    assert config.models["faces"].options.threads == 0
    assert config.sources["cam"].kind == "pattern"
    assert config.sinks["bus"].options.endpoint == "tcp://127.0.0.1:5556"
    assert config.pipelines["front"].sinks == ("bus",)
    assert config.warnings == ()
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", config.device.id)


def test_an_engine_with_its_options_a_fallback_and_the_state_beside_the_file(tmp_path: Path) -> None:
    file = tmp_path / "edged.toml"
    more = "engine = 'tensorrt'\nfallback = 'onnxruntime'\noptions = {shapes = {x = [1, 3, 4, 6]}, profile = 1}\npath ="
    file.write_text(change(("path =", more)) + "\n[runtime]\nstate_dir = 'state'\n")
    config = load(file)
    assert config.models["faces"].fallback == "onnxruntime"
    assert config.models["faces"].options.shapes == {"x": (1, 3, 4, 6)}
    assert config.models["faces"].options.profile == 1
    assert config.runtime.state_dir == str(tmp_path / "state")


def test_a_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    file = tmp_path / "edged.toml"
    file.write_bytes(b"\xef\xbb\xbf" + HEAD.replace("\n", "\r\n").encode())
    assert set(load(str(file)).pipelines) == {"front"}


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("robot 7", "robot-7"),
        ("_x", "x"),
        ("", "edged"),
        ("---", "edged"),
        ("é.local", "local"),
        ("a" * 80, "a" * 64),
    ],
)
def test_the_default_id_is_the_host_as_a_name(monkeypatch: pytest.MonkeyPatch, host: str, name: str) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert loads(HEAD).device.id == name


def test_deliver_defaults_to_what_the_sink_wants() -> None:
    text = (
        HEAD
        + '[sinks.log]\nkind = "jsonl"\n[sinks.log2]\nkind = "jsonl"\npath = "x"\ndeliver = {queue_size = 7}\n'
    )
    sinks = loads(text).sinks
    assert (sinks["bus"].deliver.result, sinks["log"].deliver.result) == ("latest", "queue")
    assert (sinks["log2"].deliver.result, sinks["log2"].deliver.queue_size) == ("queue", 7)


def test_sizes_have_units() -> None:
    assert loads(HEAD + '[runtime]\nmemory_budget = "1 GiB"\n').runtime.memory_budget == 1 << 30


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modles = 1" + HEAD, "modles: unknown key; did you mean 'models'?"),
        (
            HEAD + "[control]\nsockets = '/x'",
            "control.sockets: unknown key; did you mean 'socket'?",
        ),
        (HEAD + "[runtime]\nstate_dir = 'http://x'", "runtime.state_dir: 'http://x' is a URL; "),
        (HEAD + "[runtime]\ndevice = 'gpu'", "runtime.device: 'gpu' is unknown; "),
        (
            change(('"pattern"', '"pattern"\nrate = 1e-308')),
            "sources.cam.rate: must be at least 1e-06, got 1e-308; ",
        ),
        ("schema = 2" + HEAD, "schema: must be 1, got 2; write 1"),
        ("device = 5" + HEAD, "device: must be a table, got 5; "),
        (HEAD + "[device]\nid = 'a/b'", "device.id: 'a/b' cannot be a name; "),
        (change(("pattern", "patern")), "sources.cam.kind: 'patern' is unknown; did you mean 'pattern'?"),
        (change(('"pattern"', "3")), "sources.cam.kind: must be text, got 3; "),
        (
            change(('kind = "pattern"', "")),
            "sources.cam.kind: is missing; add one of: images, video, pattern, v4l2",
        ),
        (
            change(('"faces"\nsinks', '"fases"\nsinks')),
            "pipelines.front.model: 'fases' is not declared in [models]; did",
        ),
        (
            change(('["bus"]', '["bsu"]')),
            "pipelines.front.sinks[0]: 'bsu' is not declared in [sinks]; did you mean",
        ),
        (
            change(('["bus"]', '["bus", "bus"]')),
            "pipelines.front.sinks[1]: 'bus' is listed twice; remove one",
        ),
        (change(('["bus"]', '"bus"')), "pipelines.front.sinks: must be a list, got 'bus'; "),
        (
            change(('"cam"', '"cram"')),
            "pipelines.front.source: 'cram' is neither a declared source nor a file, ",
        ),
        (change(('source = "cam"', "")), "pipelines.front.source: is missing; add it: text"),
        (
            change(("pipelines.front", "pipelines.'a/b'")),
            "pipelines.\"a/b\": 'a/b' cannot be a name; use up to 64",
        ),
        (
            change(("path =", "engine = 'tensort'\npath =")),
            "models.faces.engine: 'tensort' is unknown; did you mean 'tensorrt'?",
        ),
        (
            change(("path =", "engine = 'onnx'\npath =")),
            "models.faces.engine: 'onnx' is unknown; did you mean 'onnxr",
        ),
        (change(("path =", "engine = 1\npath =")), "models.faces.engine: must be text, got 1; "),
        (change(("path =", "gpu = -1\npath =")), "models.faces.gpu: must be "),
        (
            change(("path =", "options.cuda_options = {enable_cuda_graph = '1'}\npath =")),
            "models.faces.options.cuda_options: has 'enable_cuda_graph', which is edged's to set; write graph = "
            "'onnxruntime'; that excludes edged's own graph",
        ),
        (
            change(("path =", "instances = 17\npath =")),
            "models.faces.instances: must be at most 16, got 17; ",
        ),
        (change(("path =", "in_flight = 3\npath =")), "models.faces.in_flight: must be at most 2, got 3; "),
        (
            change(("path =", "batch = {max_size = 4}\npath =")),
            "models.faces.batch.max_size: batches are not in this v",
        ),
        (
            change(("path =", "batch = {max_wait_ms = 4}\npath =")),
            "models.faces.batch.max_wait_ms: has no effect while",
        ),
        (
            change(("path =", "options = {thread = 1}\npath =")),
            "models.faces.options.thread: unknown key; did you mean",
        ),
        (change(("path =", "options = 1\npath =")), "models.faces.options: must be a table, got 1; "),
        (change(('"models/faces"', '""')), "models.faces.path: '' is no path; "),
        (change(('"models/faces"', '"a\\u0000b"')), "models.faces.path: holds a NUL or half a character; "),
        (
            change(('"models/faces"', '"***"')),
            "models.faces.path: is a secret that was hidden (***); write the",
        ),
        (
            change(('"pattern"', '"rtsp"\nurl = "rtsp://***@h/1"')),
            "sources.cam.url: is a secret that was hidden",
        ),
        (change(('"zmq"', '"zmq"\n"http://u:hunter2@h/" = 1')), 'sinks.bus."http://***@h/": unknown key'),
        (
            change(('"zmq"', '"mqtt"\nhost = "u:hunter2@h"')),
            "sinks.bus: 'host' is a name or an address, without",
        ),
        (change(('"zmq"', '"zmq"\nhvm = 1')), "sinks.bus.hvm: unknown key; did you mean 'hwm'?"),
        (change(('"zmq"', '"zmq"\ndeliver = "queue"')), "sinks.bus.deliver: must be a table, got 'queue'; "),
        (
            change(('"zmq"', '"zmq"\ndeliver = {event = "stored"}')),
            "sinks.bus.deliver.event: is not in this version",
        ),
        (
            change(('"zmq"', '"zmq"\nconnect = "tcp://h:1"\nbind = "tcp://*:1"')),
            "sinks.bus: 'bind' and 'connect' exclude",
        ),
        (change(('"pattern"', '"images"')), "sources.cam.path: is missing; give a folder in path"),
        (
            change(('"pattern"', '"images"\npath = "rtsp://x/y"')),
            "sources.cam.path: 'rtsp://x/y' is a URL; for network cameras there is kind = 'rtsp'",
        ),
        (
            HEAD + '[sinks.b2]\nkind = "zmq"\nbind = "tcp://*:5556"',
            "sinks.b2.bind: 'tcp://*:5556' is taken by sink 'bus'",
        ),
        ("schema = 1", "pipelines: there is none; add [pipelines.NAME]"),
        ("pipelines = 1", "pipelines: must be a table, got 1; "),
        ("pipelines.a = 1", "pipelines.a: must be a table, got 1; "),
    ],
)
def test_one_problem(text: str, said: str) -> None:
    (found,) = fail(text)
    assert found.startswith(said)


def test_all_problems_at_once() -> None:
    text = """
        rutime = 1
        [runtime]
        memory_budget = "much"
        [pipelines.front]
        source = "cram"
        model = "fases"
        sinks = ["bus", 3]
        min_score = 2
        [pipelines.back]
        model = "faces"
        [models.faces]
        path = 7
        instances = 0
        [sources.cam]
        kind = "patern"
        [sinks.bus]
        kind = "zmq"
        hwm = 0
    """
    assert {p.split(": ")[0] for p in fail(text)} == {
        "rutime",
        "runtime.memory_budget",
        "pipelines.front.source",
        "pipelines.front.model",
        "pipelines.front.sinks[1]",
        "pipelines.front.min_score",
        "pipelines.back.source",
        "models.faces.path",
        "models.faces.instances",
        "sources.cam.kind",
        "sinks.bus.hwm",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = ", "line 1, column 4: not TOML: Invalid value; texts need quotes"),
        ("[a]\nb = 1\nb = 2", "not TOML: Cannot overwrite a value; the key or table is there before"),
        (
            "[a]\n[a]\n",
            "line 2, column 3: not TOML: Cannot declare ('a',) twice; the key or table is there before",
        ),
        ("a = 'x", "line 1, column 7: not TOML: "),
        (
            "a b",
            "line 1, column 3: not TOML: Expected '=' after a key in a key/value pair; write: key = value",
        ),
        ("a = " + "9" * 5000, "not TOML: "),
        ("a = " + "[" * 100_000, ""),
        ("# nothing\n", "is empty; the least: "),
    ],
)
def test_what_is_not_toml(text: str, said: str) -> None:
    (found,) = fail(text)
    assert said in found


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty; "),
        (b" \n\t\n", "is empty; "),
        (b"\x7fELF\x02\x01\xff\xfe", "is not UTF-8 text (byte 0xff at offset 6); "),
        (b"a = 1\n\0\0", "is a binary file; "),
        (b"#" * (MAX_BYTES + 1), "is larger than 1 MiB; "),
    ],
)
def test_files_of_another_kind(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}: {said}")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name, said in (
        ("none.toml", "no such file; check the path"),
        ("", "is a folder, not a file; "),
        ("pipe", "is a device or pipe, not a file; "),
        ("loop", "cannot be read: Too many levels of symbolic links; "),
        ("a\0b", "is no path: it holds a NUL; "),
        ("n" * 300, "cannot be read: File name too long; "),
    ):
        with pytest.raises(ConfigError, match=re.escape(said)):
            load(tmp_path / name if "\0" not in name else f"{tmp_path}/{name}")


def test_a_file_of_others(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(HEAD)
    file.chmod(0)
    if os.geteuid() == 0:  # root reads everything: the kernel has no refusal to give
        assert isinstance(load(file), Config)
        return
    with pytest.raises(ConfigError, match="may not be read by this user; chmod"):
        load(file)


def test_relative_paths_follow_the_file_not_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "x.toml").write_text(
        change(('"pattern"', '"images"\npaths = ["a.png", "../b.png", "/c.png"]'))
    )
    monkeypatch.chdir(tmp_path)
    options = load("etc/x.toml").sources["cam"].options
    assert options.paths == (str(tmp_path / "etc" / "a.png"), str(tmp_path / "b.png"), "/c.png")


def test_warnings() -> None:
    text = change(("path", "priority = 2\npath")) + (
        "[pipelines.blind]\nsource = 'cam'\nmodel = 'faces'\n"
        "[models.spare]\npath = 'x'\n[sources.spare]\nkind = 'pattern'\n"
        "[runtime]\ndevice = 'cpu'\n"
        "[sinks.spare]\nkind = 'jsonl'\ndeliver = {result = 'latest', queue_size = 3}\n"
    )
    assert set(loads(text).warnings) == {
        "models.spare: no pipeline uses it",
        "sources.spare: no pipeline uses it",
        "sinks.spare: no pipeline uses it",
        "pipelines.blind.sinks: results go nowhere",
        "models.faces.priority: has no effect on a CPU",
        'sinks.spare.deliver.queue_size: has no effect with result = "latest"',
    }


@pytest.mark.usefixtures("toy_kinds")
def test_kinds_of_third_parties() -> None:
    (found,) = fail(change(('"pattern"', '"broken"')))
    assert found.startswith(
        "sources.cam.kind: source 'broken' (tests.config.toys:Missing) cannot be loaded: "
    )
    config = loads(change(('"zmq"', '"plain"')))
    assert config.sinks["bus"].deliver.result == "queue"
    assert fail(change(('"zmq"', '"plain"\nx = 1'))) == [
        "sinks.bus.x: unknown key; known keys: kind, deliver"
    ]
    (found,) = fail(change(('"pattern"', '"toy"\npath = "a"\npaths = ["b"]')))
    assert found == "sources.cam.paths: excludes 'path'; remove one"


def test_a_config_error_is_an_edged_error() -> None:
    with pytest.raises(EdgedError):
        loads("x = 1")
