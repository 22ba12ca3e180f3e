"""``python -m nemo_ext`` is ``nemo-ext``."""

from nemo_ext.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
