"""edged doctor in a whole machine with cameras: what it says as root, and as a user of no group."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.system.guest import vivid
from tests.system.guest.report import Json, write

NOBODY = 65534
COMMAND = (
    sys.executable,
    "-c",
    "import sys; from edged.cli.main import main; sys.exit(main())",
    "doctor",
    "--json",
)


def ask(*words: str, user: int = 0) -> Json:
    """The rows by check, and the exit status."""
    who = {"user": user, "group": user, "extra_groups": []} if user else {}
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False, **who)  # type: ignore[call-overload]
    assert done.stdout, done.stderr
    rows: dict[str, list[Json]] = {}
    for row in json.loads(done.stdout)["checks"]:
        rows.setdefault(row["check"], []).append(row)
        print(f"{row['state']:<8}  {row['check']:<13} {row['text']}", flush=True)
    return {"status": done.returncode, "rows": rows}


if __name__ == "__main__":
    os.chmod("/tmp/checkout", 0o755)
    vivid.load(vivid.Kind(), vivid.Kind(multiplanar=True), vivid.Kind(contiguous=True))
    write(
        {
            "root": ask(),
            "nobody": ask("--only", "nodes", "--only", "groups", "--only", "cameras", user=NOBODY),
        }
    )
