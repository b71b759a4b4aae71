#!/usr/bin/env bash
# Tests the lowest versions that pyproject.toml admits: import, one run, one sweep and the numerical tests.
#
#     bash tests/floors.sh          PYTHON=python3.11 bash tests/floors.sh    (3.11 is the lowest Python)
#
# The versions are installed by uv into a temporary virtual environment (6 GB, removed at the end).
# Last passed on 2026-11-25: Python 3.11.7, torch 2.9, numpy 2.0, scipy 1.15, scikit-learn 1.6, tensorboard 2.21.
set -euo pipefail
cd "$(dirname "$0")/.."
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
export UV_CACHE_DIR="$folder/cache" VIRTUAL_ENV="$folder/lowest"

"${PYTHON:-python3}" -m venv "$folder/uv"
"$folder/uv/bin/pip" install -q uv
"${PYTHON:-python3}" -m venv --without-pip "$VIRTUAL_ENV"
"$folder/uv/bin/uv" pip install -q --resolution lowest-direct -e '.[dev]'

python="$VIRTUAL_ENV/bin/python"
"$python" -c 'import lightning_d2l, lightning_d2l.sweeps.sweep'
"$python" train.py model=polynomial_regression trainer.max_epochs=2 hydra.run.dir="$folder/run"
"$python" train.py -m model=polynomial_regression trainer.max_epochs=2 seed=0,1 hydra.sweep.dir="$folder/sweep"
"$python" -m pytest tests/{nets,scratch,theory,studies,modules,engine,data} tests/test_compat_*.py
