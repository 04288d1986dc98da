"""Python for tests that start whole processes: it begins with libraries imported, which takes most of a short run.

`python()` is the path of a program that takes `-m` and `-c` as Python does, and has a server in a process of its own fork
what is asked for. The server has imported libraries and nothing of this package; `sys.executable` of what it forks is
that program again, so that workers of pytest-xdist are forks as well.
"""

import atexit
import gc
import importlib
import json
import os
import random
import runpy
import select
import shutil
import socket
import subprocess
import sys
import threading
import traceback
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from types import ModuleType
from typing import Any

LIBRARIES = ("numpy", "scipy.stats", "pytest", "execnet", "jaxtyping", "safetensors.torch", "sae_lens",
             "transformers.models.gpt2.modeling_gpt2", "transformer_lens.model_bridge")  # fmt: skip
PLUGINS = {"anyio", "hypothesis", "jaxtyping", "typeguard"}
"""Of pytest, and libraries."""
CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({address!r})
    told = json.dumps([sys.argv[0], sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(asked, [b"%20d" % len(told)], [0, 1, 2])
    asked.sendall(told)
    code = int(asked.recv(20) or b"1")
if code < 0:
    os.kill(os.getpid(), -code)
os._exit(code)
"""


@cache
def python() -> str:
    """The program; its server ends with this process."""
    folder = Path(mkdtemp(prefix="forks-"))
    client, address = folder / "python", str(folder / "socket")
    client.write_text(CLIENT.format(python=sys.executable, address=address))
    client.chmod(0o755)
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    pipe = subprocess.PIPE
    server = subprocess.Popen([sys.executable, __file__, address], stdin=pipe, stdout=pipe, env=own)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    atexit.register(server.communicate)
    return str(client)


def serve(address: str) -> None:
    """Until the standard input ends."""
    for library in LIBRARIES:
        importlib.import_module(library)
    for plugin in PLUGINS & sys.modules.keys():
        sys.modules[plugin].__doc__ = "PYTEST_DONT_REWRITE"  # or pytest would warn that it comes too late for that
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        print("ready", flush=True)
        while listening in select.select([listening, sys.stdin], [], [])[0]:
            asked, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                answer(asked)
            asked.close()
            forget_ended()
    forget_ended()
    shutil.rmtree(Path(address).parent)


def forget_ended() -> None:
    """Processes that ended are kept by the system until somebody asks."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def answer(asked: socket.socket) -> None:
    """Run what is asked for in another fork, and say how it ended."""
    size, files, _, _ = socket.recv_fds(asked, 20, 3)
    told = b""
    while len(told) < int(size):
        told += asked.recv(1 << 16)
    if (process := os.fork()) == 0:
        asked.close()
        become(files, *json.loads(told))
    for file in files:
        os.close(file)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    asked.sendall(b"%d" % code)
    os._exit(0)


def become(files: list[int], program: str, arguments: list[str], folder: str, variables: dict[str, str]) -> None:
    """The process that was asked for, as a new interpreter would be."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)
    sys.stdout = sys.__stdout__ = open(1, "w", buffering=1, closefd=False)
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, closefd=False)
    sys.executable = program
    sys.path[0:1] = [folder, *filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))]
    random.seed()
    code = ended_with(run, [argument for argument in arguments if argument != "-u"])
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(arguments: list[str]) -> None:
    how, what, *sys.argv[1:] = arguments
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        assert how == "-c"
        main = sys.modules["__main__"] = ModuleType("__main__")
        sys.argv[0] = "-c"
        exec(what, vars(main))


def ended_with(run: Any, arguments: list[str]) -> int:
    try:
        run(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
