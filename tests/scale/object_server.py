"""An S3 service on loopback (moto's, a real HTTP server), and runs of the program against it.

Says how long 100 objects take, and whether they come out as from a folder::

    python -m tests.scale.object_server 100
"""

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import make_server

from medprotect.confounder.key import Key
from tests.waiting import HANG_SECONDS

PAGE = 7
"""Objects of one page of a listing; elsewhere it has a thousand."""

os.environ["MOTO_S3_DEFAULT_MAX_KEYS"] = str(PAGE)

BUCKET = "bucket"
SECRET = "a-secret-that-nobody-is-to-see"  # noqa: S105 - of no account

Environ = dict[str, Any]
Answer = Iterable[bytes]


class ObjectServer:
    """The service; what lies in it outlives `stop` and `start`.

    `hook(method, key, headers)` is called for each request before it is answered. A status line
    that it returns is answered in place of the service's own, which is cut after a number of bytes.
    """

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self._backend = s3_backends["123456789012"]["aws"]
        self.hook: Callable[[str, str, Environ], object] = lambda *_: None
        self.empty()
        self.port = 0
        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        self.start()

    def start(self) -> None:
        self._server = make_server("127.0.0.1", self.port, self._answer, threaded=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, environ: Environ, start_response: Callable[..., Any]) -> Answer:
        key = environ["PATH_INFO"].encode("latin-1").decode().removeprefix(f"/{BUCKET}/")
        status = self.hook(environ["REQUEST_METHOD"], key, environ)
        if isinstance(status, str):
            start_response(status, [])
            return [b""]
        answer: Answer = self._app(environ, start_response)
        return [b"".join(answer)[:status]] if isinstance(status, int) else answer

    def empty(self) -> None:
        """Remove all that lies in it, and the hook."""
        self.hook = lambda *_: None
        self._backend.reset()
        self._backend.create_bucket(BUCKET, "us-east-1")

    def put(self, files: dict[str, bytes], prefix: str = "") -> None:
        for name, data in files.items():
            self._backend.put_object(BUCKET, prefix + name, data)

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        keys = list(self._backend.buckets[BUCKET].keys)
        return {
            key.removeprefix(prefix): self._backend.get_object(BUCKET, key).value
            for key in keys
            if key.startswith(prefix)
        }

    def uploads(self) -> int:
        return len(self._backend.buckets[BUCKET].multiparts)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "an-id",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "OMP_NUM_THREADS": "1",
        }


@contextmanager
def object_server() -> Iterator[ObjectServer]:
    server = ObjectServer()
    try:
        yield server
    finally:
        server.stop()


class Program:
    """The program, with a key, against a service."""

    def __init__(self, folder: Path, server: ObjectServer, key: Key) -> None:
        self.folder, self._server = folder, server
        self.key = folder / "keys" / "owner.key"
        self.key.parent.mkdir()
        key.save(self.key)

    def begin(self, *arguments: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "medprotect", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        environment |= self._server.environment
        return subprocess.Popen(command, env=environment, cwd=self.folder, **pipes)

    def begin_run(self, export: str, out: str, *options: str) -> "subprocess.Popen[bytes]":
        shown = ("--key", str(self.key), "--json", "--accept-weak")
        return self.begin("run", export, out, *shown, *options)

    def run(self, export: str, out: str, *options: str) -> tuple[int, dict[str, Any], str]:
        """Run to the end; give exit code, what was told as JSON, and what else was said."""
        return self.end(self.begin_run(export, out, *options))

    @staticmethod
    def end(process: "subprocess.Popen[bytes]") -> tuple[int, dict[str, Any], str]:
        output, said = process.communicate(timeout=HANG_SECONDS)
        assert SECRET not in output.decode() + said.decode()
        told = json.loads(output) if output.startswith(b"{") else {}
        return process.returncode, told, said.decode()


def files(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def measure(folder: Path, count: int) -> dict[str, Any]:
    from .cluster import write_slices

    with object_server() as server:
        program = Program(folder, server, Key.new())
        tree = files(write_slices(folder / "EXPORT", count))
        server.put(tree, "export/")
        seconds, counts = {}, {}
        for name, arguments in {
            "folders": ("EXPORT", "OUT"),
            "store": ("s3://bucket/export", "s3://bucket/out", "--state", "STATE"),
            "store, again": ("s3://bucket/export", "s3://bucket/out", "--state", "STATE"),
        }.items():
            began = time.monotonic()
            code, told, said = program.run(*arguments)
            seconds[name] = round(time.monotonic() - began, 1)
            counts[name] = [code, told.get("counts"), said]
        same = server.objects("out/") == files(folder / "OUT")
        left = [each.name for each in (folder / "STATE" / "staging").iterdir()]
    return {"seconds": seconds, "counts": counts, "same_bytes": same, "left_in_scratch": left}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        print(json.dumps(measure(Path(scratch), int(sys.argv[1])), indent=1))
