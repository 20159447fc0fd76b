"""Schemathesis against the API's own document, over its Unix socket."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.control.fake import Served
from tests.control.test_openapi import DOCUMENT
from tests.searching import examples

schemathesis: Any = pytest.importorskip(
    "schemathesis", reason="schemathesis is absent: edged[dev], not with the lowest packages"
)
requests: Any = pytest.importorskip("requests")


def over(path: Path) -> Any:
    """A session of requests whose http://localhost is the socket."""
    from requests.adapters import HTTPAdapter
    from urllib3.connection import HTTPConnection
    from urllib3.connectionpool import HTTPConnectionPool

    class Connection(HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(30)
            self.sock.connect(str(path))

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class Adapter(HTTPAdapter):
        def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
            return self.pool

        def __init__(self) -> None:
            super().__init__()
            self.pool = Pool("localhost")

        def close(self) -> None:
            super().close()
            self.pool.close()

    session = requests.Session()
    session.mount("http://localhost", Adapter())
    return session


schema = schemathesis.openapi.from_dict(DOCUMENT)


@schema.parametrize()  # type: ignore[untyped-decorator]
@settings(
    examples(5),
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    deadline=None,
)
def test_every_operation_answers_as_described(case: Any, api: Served) -> None:
    if case.operation.path == "/v1/events":  # it would follow for ever
        case.query = {**(case.query or {}), "follow": "false"}
    with over(api.path) as session:
        case.call_and_validate(
            session=session,
            base_url="http://localhost",
            checks=[
                schemathesis.checks.not_a_server_error,
                schemathesis.checks.CHECKS.get_one("status_code_conformance"),
                schemathesis.checks.CHECKS.get_one("content_type_conformance"),
                schemathesis.checks.CHECKS.get_one("response_schema_conformance"),
            ],
        )
