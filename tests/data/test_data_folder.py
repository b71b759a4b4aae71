"""Data folders that are damaged, unwritable, or used by several processes at once."""

import gzip
import hashlib
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from lightning_d2l.config.check import RequestError
from lightning_d2l.data import download, fashion_mnist, garments

VICTIM = "train-labels-idx1-ubyte.gz"


@pytest.fixture
def raw(tmp_path, monkeypatch) -> Path:
    """A data folder with four small files in place of the official ones."""
    files = {name: gzip.compress(name.encode()) for name in download.MD5}
    monkeypatch.setattr(download, "MD5", {name: hashlib.md5(body).hexdigest() for name, body in files.items()})
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for name, body in files.items():
        (folder / name).write_bytes(body)
    return folder


@pytest.fixture
def no_mirror(monkeypatch):
    from torchvision.datasets import FashionMNIST

    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])  # nothing listens there


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """The user's cache folder, and 500 garments a split instead of 60,000."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(download, "user_cache_dir", lambda name: str(folder))
    monkeypatch.setattr(garments, "draw_garments", _some)
    return folder


def _some(n: int, seed: int):
    return np.full((n, 28, 28), seed + 1, np.uint8), (np.arange(n) % 10).astype(np.uint8)


def put_fifo(path: Path) -> None:
    os.mkfifo(path)


def put_folder(path: Path) -> None:
    path.mkdir()


def put_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def put_bomb(path: Path) -> None:
    path.write_bytes(gzip.compress(bytes(50 * 2**20)))


def put_huge(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(2**40)


@pytest.mark.parametrize("source", ["auto", "official"])
@pytest.mark.parametrize(
    ("put", "answer"),
    [
        (put_fifo, "not a regular file"),
        (put_folder, "not a regular file"),
        (put_endless, "not a regular file"),
        (put_bomb, "altered or truncated"),
        (put_huge, "altered or truncated"),
    ],
)
def test_what_is_no_official_file_is_refused_by_its_name(put, answer, source, raw):
    (raw / VICTIM).unlink()
    put(raw / VICTIM)
    with pytest.raises(RequestError, match=f"{VICTIM} is {answer}"):
        download.official_folder(str(raw.parents[1]), source)
    with pytest.raises(RequestError, match=VICTIM):
        download.has_official(str(raw.parents[1]))


def test_official_files_need_no_writable_folder(raw):
    assert download.has_official(str(raw.parents[1]))
    assert download.official_folder(str(raw.parents[1]), "official") == (raw, "")
    assert {path.name for path in raw.iterdir()} == set(download.MD5)
    (raw / VICTIM).unlink()
    assert not download.has_official(str(raw.parents[1]))


def test_a_refused_root_is_left_as_it_was(no_mirror, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("mine")
    for root in ("new/folder", "mine", "file", "file/below", "a\0b"):
        with pytest.raises(RequestError, match=r"data\.root=.*download failed"):
            download.official_folder(str(tmp_path / root), "official")
        assert download.official_folder(str(tmp_path / root), "auto")[0] is None
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["file", "mine", "mine/notes"]


def test_roots_that_can_not_be_a_folder_are_refused(no_mirror):
    with pytest.raises(RequestError, match=r"data\.root"):
        download.official_folder("/proc/" + "long" * 100, "official")
    assert download.official_folder("/proc/~nobody", "auto")[0] is None
    assert download.data_root("~no-such-user/data") == Path("~no-such-user/data")


def test_half_written_files_are_removed_by_the_next_download(raw, no_mirror):
    (raw / VICTIM).unlink()
    (raw / f"{download.UNFINISHED}abc").write_bytes(b"half")
    with pytest.raises(RequestError):
        download.official_folder(str(raw.parents[1]), "official")
    assert {path.name for path in raw.iterdir()} == {*download.MD5, download.LOCK} - {VICTIM}


def _draw_slowly(cache: Path, ready, results) -> None:
    drawn = []
    download.user_cache_dir = lambda name: str(cache)

    def draw(n: int, seed: int):
        drawn.append(seed)
        return _some(n, seed)

    garments.draw_garments = draw
    ready.wait()
    images, _ = fashion_mnist.generated_garments("test")
    results.put((len(drawn), hashlib.sha256(images.tobytes()).hexdigest()))


def test_eight_processes_at_once_draw_the_garments_once(cache):
    context = multiprocessing.get_context("fork")
    ready, results = context.Barrier(8), context.Queue()
    workers = [context.Process(target=_draw_slowly, args=(cache, ready, results)) for _ in range(8)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sum(times for times, _ in found) == 1
    assert len({digest for _, digest in found}) == 1
    assert sorted(path.name for path in cache.iterdir()) == [".lock", f"garments-{garments.VERSION}-test.npz"]


@pytest.mark.parametrize("put", [put_fifo, put_folder, put_endless, put_bomb, put_huge, Path.touch])
def test_garments_are_drawn_where_the_cached_ones_can_not_be_used(put, cache):
    cache.mkdir()
    put(cache / f"garments-{garments.VERSION}-test.npz")
    images, labels = fashion_mnist.generated_garments("test")
    assert np.array_equal(images, _some(10_000, 1)[0])
    assert np.array_equal(labels, _some(10_000, 1)[1])


def test_a_zip_bomb_in_the_cache_is_not_unpacked(cache):
    cache.mkdir()
    path = cache / f"garments-{garments.VERSION}-test.npz"
    np.savez_compressed(path, images=np.zeros((10_000, 28, 28), np.uint8), labels=np.zeros(200_000_000, np.uint8))
    assert np.array_equal(fashion_mnist.generated_garments("test")[0], _some(10_000, 1)[0])
    with np.load(path) as file:  # replaced by sound ones
        assert file["labels"].shape == (10_000,)


def test_a_cache_that_can_not_be_written_costs_time_alone(cache):
    cache.write_text("a file")
    assert np.array_equal(fashion_mnist.generated_garments("test")[0], _some(10_000, 1)[0])
    assert cache.read_text() == "a file"
