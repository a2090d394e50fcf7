"""Serve a hub, or run a command with one: ``python -m tests.hub_server --root DIR [-- COMMAND ...]``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading

from .server import HubServer

INTERRUPTED = 130  # what a shell reports of a command that was interrupted


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.hub_server",
        description="A Hugging Face Hub on loopback. With a command: runs it against the hub, and ends with it.",
        epilog="example: python -m tests.hub_server --root demo_output/hub --user me -- qvec search",
    )
    parser.add_argument("--root", required=True, help="folder with the hub's state; made when it is missing")
    parser.add_argument("--port", type=int, default=0, help="port to serve at (default: a free one)")
    parser.add_argument("--user", default="alice", help="user who runs the command; the token is hf_NAME")
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="after --: what to run")
    options = parser.parse_args(arguments)
    with HubServer(options.root, port=options.port) as hub:
        user = hub.store.users.get(options.user) or hub.add_user(options.user)
        try:
            print(f"hub at {hub.url}, user {user.name}, token {user.token}", file=sys.stderr, flush=True)
            if options.command:
                done = subprocess.run(options.command, env=environment(hub.url, user.token), check=False)
                return done.returncode
            threading.Event().wait()
        except KeyboardInterrupt:
            return INTERRUPTED if options.command else 0
    return 0


def environment(url: str, token: str) -> dict[str, str]:
    """This process's environment, with the Hub being the one at `url`, which has no Xet storage."""
    kept = {name: value for name, value in os.environ.items() if name not in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
    return kept | {
        "HF_ENDPOINT": url,
        "HF_TOKEN": token,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1"])),
    }


if __name__ == "__main__":
    sys.exit(main())
