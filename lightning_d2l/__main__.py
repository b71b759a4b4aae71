import sys

from lightning_d2l.cli import main

sys.exit(main())
