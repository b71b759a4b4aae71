"""Train a model: `python train.py model=mlp`. What may be chosen stands in conf/; `--help` lists it."""

from lightning_d2l.__main__ import program

if __name__ == "__main__":
    program("lightning_d2l.app")
