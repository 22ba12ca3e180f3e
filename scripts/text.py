"""``nemo-ext text`` for launchers that take a file: torchrun, srun."""

import sys

from nemo_ext.cli import main

if __name__ == "__main__":  # spawned data workers import this file again
    raise SystemExit(main(["text", *sys.argv[1:]]))
