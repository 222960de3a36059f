"""What the sandbox runs, in the user's cache folder: what locks name, nothing else.

Kafka's jars (`kafka.lock`) and the schema registry (`registry.lock`) are downloaded
once, through jgo, which knows Maven Central and the mirror that the user has set for
it; afterwards neither network nor resolver is needed. A folder appears under its name
only when it is complete and every checksum was right.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from consumer.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LOCK_FILE = Path(__file__).with_name("kafka.lock")
REGISTRY_LOCK = Path(__file__).with_name("registry.lock")
_DOWNLOADS_AT_ONCE = 4  # polite to the repository, and enough to hide its latency
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class LockedJar:
    """A jar by its Maven coordinate (`group:artifact:version`), checksum and size.

    The coordinate of another file goes on with its kind and classifier.
    """

    coordinate: str
    sha256: str
    size: int

    @property
    def file_name(self) -> str:
        """The name that Maven gives to the jar."""
        _, artifact, version, *rest = self.coordinate.split(":")
        kind, *classifier = rest or ["jar"]
        return "-".join([artifact, version, *classifier]) + f".{kind}"


def read_lock(lock: Path = LOCK_FILE) -> tuple[LockedJar, ...]:
    """Read a lock: a line a jar, `sha256 size coordinate`; the class path's order."""
    lines = (line.split() for line in lock.read_text("utf-8").splitlines())
    return tuple(
        LockedJar(coordinate, sha256, int(size))
        for sha256, size, coordinate in (line for line in lines if line[0] != "#")
    )


def cache_folder() -> Path:
    """Return the user's cache folder for this project (it may not exist yet)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pos-consumer"


@contextlib.contextmanager
def only_one(name: str, *, waiting: str) -> Iterator[None]:
    """Hold a lock among all processes of this user; say `waiting` if it is taken."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    # Closing releases the lock, and so does the kernel if this process is killed.
    with (cache_folder() / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with Console(stderr=True).status(waiting):
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def kafka_jars(lock: Path = LOCK_FILE) -> tuple[Path, ...]:
    """Return the class path, downloaded first if this user does not have it yet.

    Raises:
        SandboxError: a jar cannot be downloaded, or is not the one that was locked.
    """
    jars = read_lock(lock)
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    folder = cache_folder() / f"kafka-{digest}"
    if not folder.exists():
        with only_one("jars", waiting="Another process is downloading Kafka."):
            if not folder.exists():
                _provide(jars, folder)
    for jar in jars:
        _check(folder / jar.file_name, jar, f"Remove the folder {folder}, then retry.")
    return tuple(folder / jar.file_name for jar in jars)


def registry_folder(lock: Path = REGISTRY_LOCK) -> Path:
    """Return the folder of the schema registry, downloaded and unpacked if need be.

    Raises:
        SandboxError: it cannot be downloaded, or is not the one that was locked.
    """
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    folder = cache_folder() / f"registry-{digest}"
    if not folder.exists():
        with only_one("jars", waiting="Another process is downloading the registry."):
            if not folder.exists():
                _provide(read_lock(lock), folder, "Apicurio Registry")
    return folder


def _provide(
    jars: Sequence[LockedJar], folder: Path, name: str = "Apache Kafka"
) -> None:
    """Download into a folder beside `folder`, check, and rename; under the lock.

    An archive is unpacked there.
    """
    for killed in folder.parent.glob("downloading-*"):
        shutil.rmtree(killed, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="downloading-", dir=folder.parent) as part:
        complete = Path(part) / "complete"
        complete.mkdir()
        progress = Progress(
            TextColumn(f"Downloading {name} (once)"),
            BarColumn(),
            DownloadColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        task = progress.add_task("", total=sum(jar.size for jar in jars))

        def download(jar: LockedJar) -> None:
            source = _resolve(jar, Path(part) / "maven", count)
            _check(source, jar, "Nothing was kept: retry, or ask who alters downloads.")
            if jar.file_name.endswith(".tar.gz"):
                with tarfile.open(source) as archive:
                    archive.extractall(complete, filter="data")
            else:
                source.rename(complete / jar.file_name)

        def count(received: int) -> None:
            progress.update(task, advance=received)

        with progress, ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
            for _ in pool.map(download, jars):
                pass
        complete.rename(folder)


def _resolve(jar: LockedJar, repository: Path, count: Callable[[int], None]) -> Path:
    """Have jgo download one jar into `repository`, a folder for this run only."""
    try:
        import requests  # noqa: PLC0415 - the extra `demo` may be absent
        from jgo.config import GlobalSettings  # noqa: PLC0415
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415
        from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415
    except ImportError as error:
        raise extra_missing() from error

    @contextlib.contextmanager
    def counting(_name: str, _size: int) -> Iterator[Callable[[int], None]]:
        yield count

    mirrors = {"central": MAVEN_CENTRAL_URL} | GlobalSettings.load().repositories
    group, artifact, version, *rest = jar.coordinate.split(":")
    kind, classifier = rest or ("jar", "")
    failure: Exception | None = None
    for attempt in range(_ATTEMPTS):
        maven = MavenContext(
            resolver=PythonResolver(progress_callback=counting),
            repo_cache=repository / str(attempt),
            remote_repos=mirrors,
        )
        try:
            component = maven.project(group, artifact).at_version(version)
            wanted = component.artifact(classifier=classifier, packaging=kind)
            return Path(wanted.resolve())
        except (requests.RequestException, RuntimeError, OSError) as error:
            failure = error
    reason = f"{type(failure).__name__}: {failure}"
    raise SandboxError(
        f"The sandbox could not be downloaded: {jar.coordinate}: {reason}.",
        "The first start needs a Maven repository; jgo.conf can name a mirror.",
    ) from failure


def _check(path: Path, jar: LockedJar, remedy: str) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise SandboxError(
            f"{path.name} is missing in {path.parent}.", remedy
        ) from None
    if found != jar.sha256:
        what = f"{path.name} is not the jar whose checksum {LOCK_FILE.name} names."
        raise SandboxError(what, remedy)


def extra_missing() -> SandboxError:
    """Return the error for a sandbox that was not installed."""
    return SandboxError(
        "The embedded Kafka needs the extra 'demo'.",
        "Install it: pip install 'pos-consumer[demo]'.",
    )
