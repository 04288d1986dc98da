"""`python -m saebench.sweep.tied PARENT COMMAND …`: become a command that ends when the process that asked for it does.

Whoever is killed cannot end its own processes, and a run that nobody waits for would hold its GPU. Linux ends what asked for
that; elsewhere a run goes on to its end, which costs time and nothing else.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""https://man7.org/linux/man-pages/man2/pr_set_pdeathsig.2const.html"""


def main(parent: str, *command: str) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it ended before it could be asked for
        sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
