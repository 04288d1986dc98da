"""An OpenAI-compatible server on this machine that behaves as it is told: well, or as servers do."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-of-nobody-1234"
Behave = Callable[["Server", int, str], tuple[int, Any]]
"""Status and what is sent, of the number of a question and its text."""


@dataclass
class Server:
    """What it was asked, and how it answers."""

    behave: Behave
    url: str = ""
    asked: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


def answer(text: str) -> dict[str, Any]:
    """As the chat API sends one."""
    message = {"role": "assistant", "content": text}
    return {
        "id": "1", "object": "chat.completion", "created": 1, "model": "fake-1", "usage": {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105},
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }  # fmt: skip


def sensible(question: str) -> str:
    """An answer of the right form to every kind of question."""
    if "Write" in question:
        return "\n".join(f"{at}. A cat sat on text {at}." for at in range(1, 6))
    return "2, 3" if "Answer with the numbers" in question else "words about cats"


def well(server: Server, number: int, question: str) -> tuple[int, Any]:
    return 200, answer(sensible(question))


def refusing(server: Server, number: int, question: str) -> tuple[int, Any]:
    """As OpenAI does, which repeats a part of the key; this one all of it."""
    return 401, {"error": {"message": f"Incorrect API key provided: {KEY}.", "code": "invalid_api_key"}}


def limiting(server: Server, number: int, question: str) -> tuple[int, Any]:
    return 429, {"error": {"message": "Rate limit reached"}}


def breaking(server: Server, number: int, question: str) -> tuple[int, Any]:
    return 500, {"error": {"message": "out of cheese"}}


def mumbling(server: Server, number: int, question: str) -> tuple[int, Any]:
    return 200, answer("!?" if "phrase" in question else "As a language model, I like all 99 texts equally.")


def shapeless(server: Server, number: int, question: str) -> tuple[int, Any]:
    return 200, {"what": "ever"}


def hanging(server: Server, number: int, question: str) -> tuple[int, Any]:
    time.sleep(1.5)
    return 200, answer(sensible(question))


def after(count: int, then: Behave) -> Behave:
    """Well so many times."""
    return lambda server, number, question: (well if number < count else then)(server, number, question)


@contextmanager
def serving(behave: Behave) -> Iterator[Server]:
    server = Server(behave)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            question = json.loads(self.rfile.read(length))["messages"][-1]["content"]
            with server.lock:
                number = len(server.asked)
                server.asked.append(question)
                server.keys.add(self.headers.get("Authorization", ""))
            status, sent = server.behave(server, number, question)
            self._send(status, sent)

        def do_GET(self) -> None:
            priced = {
                "id": "fake",
                "object": "model",
                "created": 1,
                "owned_by": "me",
                "pricing": {"prompt": "0.000001", "completion": "0.000002"},
            }
            self._send(200, {"object": "list", "data": [priced]})

        def _send(self, status: int, sent: Any) -> None:
            data = json.dumps(sent).encode()
            try:
                self.send_response(status)
                if status == 429:
                    self.send_header("Retry-After", "0.05")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):  # whoever asked has given up
                pass

        def log_message(self, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_port}/v1"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
