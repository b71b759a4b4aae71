"""Train a model: `python train.py model=mlp`. What may be chosen stands in conf/; `--help` lists it."""

import sys

from lightning_d2l.app import main

if __name__ == "__main__":
    sys.exit(main())
