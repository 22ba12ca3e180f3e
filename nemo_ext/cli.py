"""``nemo-ext JOB [options]``: find the job, read its options, run it, say in one line what a person did wrong.

Nothing heavy is imported before the job itself is.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from nemo_ext import __version__, console, jobs
from nemo_ext.console import printable
from nemo_ext.errors import NemoExtError, UsageError

_HELP = ("-h", "--help")
_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
_BROKEN_PIPE = 141  # 128 + SIGPIPE
# What can happen to any job at any file, and is not a defect of ours.
_REMEDIES = {
    errno.ENOSPC: "make room, and start the same command again",
    errno.EDQUOT: "make room, and start the same command again",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "choose a folder of your own, or change its permissions",
    errno.EPERM: "choose a folder of your own, or change its permissions",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status: 0, 1 something to put right, 2 wrong usage, 130 interrupted."""
    try:
        _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except NemoExtError as error:
        if os.environ.get("NEMO_EXT_DEBUG"):
            raise
        print(f"nemo-ext: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("nemo-ext: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output left (`nemo-ext ... | head`); Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0)
        if remedy is None or os.environ.get("NEMO_EXT_DEBUG"):
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"nemo-ext: {printable(where)}{error.strerror}: {remedy}", file=sys.stderr)
        return 1
    return 0


def _run(arguments: list[str]) -> None:
    if not arguments or arguments[0] in _HELP:
        from nemo_ext import help as pages

        print(pages.overview())
        if not arguments:
            raise UsageError("no job given")
        return
    if arguments[0] == "--version":
        print(f"nemo-ext {__version__}")
        return
    name, *options = arguments
    job = jobs.find(name)
    if any(o in _HELP for o in options):
        from nemo_ext import help as pages

        print(pages.page(name, [o for o in options if o not in _HELP]))
        return

    from nemo_ext import config

    given = [o for o in options if o != "--cfg"]
    if job.check and "--cfg" not in options:
        jobs.load(job.check)(config.compose(name, given, light=True))
        console.loading()
    cfg = config.compose(name, given)
    if "--cfg" in options:
        print(config.as_yaml(cfg), end="")
        return
    result = jobs.load(job.run)(cfg)
    if job.then and (command := jobs.load(job.then)(cfg, result)):
        console.tell_next(*command)
