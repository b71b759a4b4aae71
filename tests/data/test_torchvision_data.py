"""torchvision's data sets from small files in the real formats, against torchvision's own reading of them."""

import gzip
import hashlib
import http.server
import io
import pickle
import struct
import tarfile
import threading
import zipfile

import numpy as np
import pytest
import scipy.io
import torch
from torchvision import datasets

from lightning_d2l.config.check import RequestError
from lightning_d2l.data import torchvision as ours
from lightning_d2l.data.torchvision import TorchvisionData

N = {"train": 40, "test": 20}
RNG = np.random.default_rng(0)


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    dtype = {8: "u1", 12: ">i4"}[kind]
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.astype(dtype).tobytes()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def tarred(files: dict[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return archive.getvalue()


def cifar(monkeypatch, of, labels: str, classes: int) -> dict[str, bytes]:
    """The archive of CIFAR-10 or CIFAR-100, with few images."""

    def batch(n: int) -> bytes:
        pixels = RNG.integers(0, 256, (n, 3072), dtype=np.uint8)
        return pickle.dumps({"data": pixels, labels: (np.arange(n) % classes).tolist()}, protocol=2)

    lists = {"train_list": of.train_list, "test_list": of.test_list}
    files = {name: batch(20) for names in lists.values() for name, _ in names}
    meta = pickle.dumps({of.meta["key"]: [str(i) for i in range(classes)]}, protocol=2)
    monkeypatch.setattr(of, "meta", {**of.meta, "md5": md5(meta)})
    for key, names in lists.items():
        monkeypatch.setattr(of, key, [[name, md5(files[name])] for name, _ in names])
    archive = tarred({f"{of.base_folder}/{k}": v for k, v in {**files, of.meta["filename"]: meta}.items()})
    monkeypatch.setattr(of, "tgz_md5", md5(archive))
    return {of.filename: archive}


def mnist(monkeypatch, of, folder: str) -> dict[str, bytes]:
    """Files of MNIST or KMNIST; torchvision wants them unpacked beside the archives."""
    files, unpacked = {}, {}
    for name, _ in of.resources:
        n = N["train" if name.startswith("train") else "test"]
        array = RNG.integers(0, 256, (n, 28, 28)) if "images" in name else np.arange(n) % 10
        files[name], unpacked[name.removesuffix(".gz")] = gzip.compress(idx(array)), idx(array)
    monkeypatch.setattr(of, "resources", [(name, md5(content)) for name, content in files.items()])
    return {f"{folder}/raw/{name}": content for name, content in (files | unpacked).items()}


def qmnist(monkeypatch) -> dict[str, bytes]:
    written, resources = {}, {}
    for split in N:
        resources[split] = []
        for url, _ in datasets.QMNIST.resources[split]:
            n = 40 if split == "train" else 10_020  # torchvision leaves out the first 10,000 of test50k alone
            images = RNG.integers(0, 256, (n, 28, 28)), 8
            facts = np.concatenate([np.arange(n)[:, None] % 10, RNG.integers(0, 1000, (n, 7))], 1), 12
            content = idx(*(images if "images" in url else facts))
            name, packed = url.rpartition("/")[2], gzip.compress(content, 1)
            written |= {f"QMNIST/raw/{name}": packed, f"QMNIST/raw/{name.removesuffix('.gz')}": content}
            resources[split].append((url, md5(packed)))
    monkeypatch.setattr(datasets.QMNIST, "resources", resources)
    return written


def emnist(monkeypatch, subset: str) -> dict[str, bytes]:
    archive, first = io.BytesIO(), int(subset == "letters")
    unpacked = {}
    with zipfile.ZipFile(archive, "w") as file:
        for split, n in N.items():
            for what, array in (
                ("images-idx3", RNG.integers(0, 256, (n, 28, 28))),
                ("labels-idx1", first + np.arange(n) % 26),
            ):
                name = f"emnist-{subset}-{split}-{what}-ubyte"
                file.writestr(f"gzip/{name}.gz", gzip.compress(idx(array)))
                unpacked[f"EMNIST/raw/{name}"] = idx(array)
    monkeypatch.setattr(datasets.EMNIST, "md5", md5(archive.getvalue()))
    return {"EMNIST/raw/gzip.zip": archive.getvalue(), **unpacked}


def svhn(monkeypatch) -> dict[str, bytes]:
    files, listed = {}, {}
    for split, n in N.items():
        content = io.BytesIO()
        labels = np.where(np.arange(n) % 10, np.arange(n) % 10, 10).astype(np.uint8)[:, None]
        scipy.io.savemat(content, {"X": RNG.integers(0, 256, (32, 32, 3, n), dtype=np.uint8), "y": labels})
        url, name, _ = datasets.SVHN.split_list[split]
        files[name], listed[split] = content.getvalue(), [url, name, md5(content.getvalue())]
    monkeypatch.setattr(datasets.SVHN, "split_list", listed)
    return files


def put(folder, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def read(dataset: str, root, **settings) -> TorchvisionData:
    ours.images_and_labels.cache_clear()
    data = TorchvisionData(dataset, str(root), val_size=0, batch_size=8, **settings)
    data.setup()
    return data


def reference(dataset: str, root, split: str):
    """torchvision's own images (n, c, h, w) and labels (n,)."""
    of = getattr(datasets, dataset)
    if dataset == "QMNIST":
        it = of(str(root), what=split)
        return it.data[:, None], it.targets[:, 0]
    if dataset == "SVHN":
        it = of(str(root), split=split)
        return torch.tensor(it.data), torch.tensor(it.labels)
    it = of(str(root), train=split == "train", download=dataset.startswith("CIFAR"))
    if dataset.startswith("CIFAR"):
        return torch.tensor(it.data).permute(0, 3, 1, 2), torch.tensor(it.targets)
    return it.data[:, None], it.targets


FILES = {
    "MNIST": lambda patch: mnist(patch, datasets.MNIST, "MNIST"),
    "KMNIST": lambda patch: mnist(patch, datasets.KMNIST, "KMNIST"),
    "QMNIST": qmnist,
    "CIFAR10": lambda patch: cifar(patch, datasets.CIFAR10, "labels", 10),
    "CIFAR100": lambda patch: cifar(patch, datasets.CIFAR100, "fine_labels", 100),
    "SVHN": svhn,
}


@pytest.mark.parametrize("dataset", FILES)
def test_the_files_are_read_as_torchvision_reads_them(dataset, tmp_path, monkeypatch):
    put(tmp_path, FILES[dataset](monkeypatch))
    data = read(dataset, tmp_path)
    for split in ("train", "test"):
        x, y = reference(dataset, tmp_path, split)
        assert torch.equal(data.splits[split][0], x)
        assert torch.equal(data.splits[split][1], y.long())
    empty, _ = data.no_samples()
    assert (empty.shape[1:], data.num_outputs) == (x.shape[1:], 100 if dataset == "CIFAR100" else 10)


@pytest.mark.parametrize("subset", ["balanced", "letters"])
def test_letters_stand_upright_and_are_counted_from_zero(subset, tmp_path, monkeypatch):
    put(tmp_path, emnist(monkeypatch, subset))
    data = read("EMNIST", tmp_path, subset=subset, size=14)
    whole = datasets.EMNIST(str(tmp_path), split=subset, train=True)
    names = [whole.classes[int(y)] for y in whole.targets]
    assert [data.class_names[int(y)] for y in data.splits["train"][1]] == names
    assert torch.equal(read("EMNIST", tmp_path, subset=subset).splits["train"][0][:, 0], whole.data.transpose(1, 2))
    assert data.splits["test"][0].shape == (20, 1, 14, 14)


def test_a_missing_file_is_downloaded_once_and_an_altered_one_refused(tmp_path, monkeypatch):
    (archive,) = FILES["CIFAR10"](monkeypatch).values()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(archive)

        def log_message(self, *args):
            pass

    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    monkeypatch.setattr(datasets.CIFAR10, "url", f"http://127.0.0.1:{service.server_port}/cifar-10-python.tar.gz")
    first = read("CIFAR10", tmp_path).identity()
    service.shutdown()
    service.server_close()
    assert read("CIFAR10", tmp_path).identity() == first
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(archive[:-1])
    with pytest.raises(RequestError, match="altered or truncated"):
        read("CIFAR10", tmp_path)
    with pytest.raises(RequestError, match=r"no cifar-10-python\.tar\.gz in .*the download failed"):
        read("CIFAR10", tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()


def test_a_pickle_that_would_run_a_program_is_refused(tmp_path, monkeypatch):
    class Evil:
        def __reduce__(self):
            return print, ("owned",)

    of = datasets.CIFAR10
    archive = tarred({f"{of.base_folder}/{name}": pickle.dumps(Evil()) for name, _ in of.train_list})
    monkeypatch.setattr(of, "tgz_md5", md5(archive))
    put(tmp_path, {of.filename: archive})
    with pytest.raises(RequestError, match=r"CIFAR10 can't be read \(it holds builtins.print\)"):
        read("CIFAR10", tmp_path)


def test_the_validation_split_and_subsets_are_balanced(tmp_path, monkeypatch):
    put(tmp_path, FILES["MNIST"](monkeypatch))
    ours.images_and_labels.cache_clear()
    data = TorchvisionData("MNIST", str(tmp_path), val_size=0.25, n_train=20, label_noise=0.0, batch_size=8)
    data.setup()
    assert data.splits["val"][1].bincount().tolist() == [1] * 10
    assert data.splits["train"][1].bincount().tolist() == [2] * 10
