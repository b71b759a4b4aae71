import gzip
import hashlib
import http.server
import threading
import time

import pytest

from lightning_d2l.config.check import RequestError
from lightning_d2l.data import download


@pytest.fixture
def server(monkeypatch):
    """A mirror on this machine: `answer` maps file names to contents, and "stall" never answers."""
    answers: dict[str, bytes] = {}
    released = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if b"stall" in answers.values():
                released.wait(20)
                return
            body = answers.get(self.path.strip("/"))
            self.send_response(200 if body else 404)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *args):
            pass

    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    from torchvision.datasets import FashionMNIST

    monkeypatch.setattr(FashionMNIST, "mirrors", [f"http://127.0.0.1:{service.server_port}/"])
    yield answers
    released.set()
    service.shutdown()


@pytest.fixture
def small_files(monkeypatch):
    """Four small files in place of the official ones, with their checksums."""
    files = {name: gzip.compress(name.encode()) for name in download.MD5}
    monkeypatch.setattr(download, "MD5", {name: hashlib.md5(body).hexdigest() for name, body in files.items()})
    return files


def test_missing_files_are_downloaded_and_then_found(server, small_files, tmp_path):
    server.update(small_files)
    folder, _ = download.official_folder(str(tmp_path), "official")
    assert {file.name: file.read_bytes() for file in folder.glob("*.gz")} == small_files
    server.clear()
    assert download.official_folder(str(tmp_path), "official") == (folder, "")


def test_a_wrong_file_is_never_put_in_place(server, small_files, tmp_path):
    server.update(dict.fromkeys(small_files, b"something else"))
    assert download.official_folder(str(tmp_path), "auto")[0] is None
    with pytest.raises(RequestError, match="not the official file"):
        download.official_folder(str(tmp_path), "official")
    assert list(tmp_path.iterdir()) == []


def test_an_endless_file_is_cut_off(server, small_files, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "LARGEST_FILE", 10)
    server.update(small_files)
    with pytest.raises(RequestError, match="too large"):
        download.official_folder(str(tmp_path), "official")


def test_a_stalled_mirror_times_out(server, small_files, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "READ_TIMEOUT", 0.2)
    server.update(dict.fromkeys(small_files, b"stall"))
    began = time.monotonic()
    assert download.official_folder(str(tmp_path), "auto")[0] is None
    assert time.monotonic() - began < 10


def test_two_downloads_at_once_leave_whole_files(server, small_files, tmp_path):
    server.update(small_files)
    results: list = []
    threads = [
        threading.Thread(target=lambda: results.append(download.official_folder(str(tmp_path), "official")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reason for _, reason in results] == [""] * 4


@pytest.mark.parametrize("damage", [lambda body: body[:-1], lambda body: bytes([body[0] ^ 1]) + body[1:]])
def test_an_altered_or_truncated_file_is_refused_even_where_generated_data_would_do(damage, small_files, tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, body in small_files.items():
        (raw / name).write_bytes(body)
    victim = raw / "t10k-labels-idx1-ubyte.gz"
    victim.write_bytes(damage(victim.read_bytes()))
    for source in ("auto", "official"):
        with pytest.raises(RequestError, match=r"t10k-labels.*altered or truncated"):
            download.official_folder(str(tmp_path), source)
