"""A chunk for a worker that can't see the folder of its sweep: there as an archive, and back as another one."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.places import LOCK
from lightning_d2l.sweeps.chunks import CHUNKS, COMMON, Chunks
from lightning_d2l.sweeps.pruning import FOLDER as RUNGS
from lightning_d2l.sweeps.pruning import keep_longer
from lightning_d2l.training.files import LAST, TEMPORARY
from lightning_d2l.training.lock import hold
from lightning_d2l.training.record import LEAN, RUN_FILE
from lightning_d2l.training.signals import Stopped

LARGEST = 4 * 2**30  # bytes of all files in an archive
MOST_FILES = 200_000


def pack(chunks: Chunks, number: int) -> bytes:
    """What a worker needs to train a chunk: its file, what all chunks have in common, and the runs to be resumed."""
    kept = [chunks.folder / COMMON, chunks.folder / f"{number:06}.json", *_files(chunks.sweep / RUNGS)]
    for job in chunks.jobs(number):
        if (job.folder / RUN_FILE).exists() and (job.folder / LAST).exists():
            kept += _files(job.folder)
    return _packed(chunks.sweep, kept)


def train(packed: bytes) -> bytes:
    """Train the chunk that `pack` packed, in a temporary folder; returns an archive of what that leaves.

    After a signal these are the checkpoints of the runs, without the end of the chunk. Raises RequestError if this
    process can't train it.
    """
    from lightning_d2l.sweeps.worker import run_chunk

    folder = Path(tempfile.mkdtemp(prefix="lightning_d2l-"))
    try:
        unpack(packed, folder)
        (number,) = Chunks(folder).numbers()
        with contextlib.suppress(Stopped):
            run_chunk(folder, number)
        return _packed(folder, [path for path in _files(folder) if path.parent != folder / CHUNKS or _is_done(path)])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def collect(chunks: Chunks, number: int, returned: bytes) -> bool:
    """Put what `train` returned into the sweep's folder, the end of the chunk last; returns whether it has ended.

    Raises RequestError, with nothing changed, if the archive is damaged or holds anything but the chunk's runs.
    """
    jobs = {job.name: job for job in chunks.jobs(number)}
    with tempfile.TemporaryDirectory(prefix="back-", suffix=".log", dir=chunks.folder) as temporary:
        unpack(returned, Path(temporary), {*jobs, CHUNKS, LEAN, RUNGS})
        for name, job in jobs.items():
            if (Path(temporary) / name).is_dir():
                job.folder.mkdir(exist_ok=True)
                with hold(job.folder, f"{job.folder}"):
                    _move(Path(temporary) / name, job.folder)
        if (Path(temporary) / LEAN).is_dir():
            (chunks.sweep / LEAN).mkdir(exist_ok=True)
            for path in sorted((Path(temporary) / LEAN).iterdir()):  # the curves of a chunk before its runs
                os.replace(path, chunks.sweep / LEAN / path.name)
        for path in (Path(temporary) / RUNGS).glob("*.jsonl"):  # what was decided, for chunks that start later
            keep_longer(chunks.sweep / RUNGS / path.name, path.read_bytes())
        done = Path(temporary) / CHUNKS / f"{number:06}.done"
        if ended := done.is_file():
            os.replace(done, chunks.folder / done.name)
    return ended


def unpack(archive: bytes, folder: Path, names: Collection[str] | None = None) -> None:
    """Write the files of an archive below a folder, of `names` at its top if they are given.

    Raises RequestError, with nothing written, if the archive is damaged, too large, or holds anything else.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            members: list[tarfile.TarInfo] = []
            size = 0
            for member in tar:
                parts = PurePosixPath(member.name).parts
                size += member.size
                if not member.isreg() or not parts or parts[0] == "/" or ".." in parts:
                    raise RequestError(f"an archive of a chunk holds {member.name!r:.80}, which is no file below it")
                if names is not None and parts[0] not in names:
                    raise RequestError(f"an archive of a chunk holds {member.name!r:.80}, which is not of this chunk")
                if size > LARGEST or len(members) >= MOST_FILES:
                    raise RequestError(f"an archive of a chunk is larger than {LARGEST:,} bytes")
                members.append(member)
            tar.extractall(folder, members, filter="data")
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise RequestError(f"an archive of a chunk is damaged ({error})") from error


def _packed(folder: Path, paths: Iterable[Path]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as tar:
        for path in paths:
            tar.add(path, str(path.relative_to(folder)), recursive=False)
    return content.getvalue()


def _files(folder: Path) -> Iterator[Path]:
    """The files below a folder, but for locks and temporary ones."""
    for place, _, names in os.walk(folder):
        paths = (Path(place) / name for name in names if not name.startswith((LOCK, TEMPORARY)))
        yield from (path for path in paths if path.is_file() and not path.is_symlink())


def _is_done(path: Path) -> bool:
    return path.suffix == ".done"


def _move(there: Path, here: Path) -> None:
    """Replace the files of a run by those that came back, its record last."""
    files = sorted(_files(there), key=lambda path: path == there / RUN_FILE)
    for path in files:
        place = here / path.relative_to(there)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, place)
