"""The hub as a program: ``python -m tests.hub_server``."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import huggingface_hub as hf

from . import HubServer

PROGRAM = [sys.executable, "-m", "tests.hub_server"]
ABOVE = Path(__file__).parents[2]
UPLOAD = """
import os, sys, huggingface_hub as hf
hf.create_repo("model")
path = os.path.join(sys.argv[1], "w.safetensors")
open(path, "wb").write(b"weights")
hf.upload_file(path_or_fileobj=path, path_in_repo="w.safetensors", repo_id="me/model")
print(hf.whoami()["name"], os.environ["HF_HUB_DISABLE_TELEMETRY"], "HF_HUB_OFFLINE" in os.environ)
sys.exit(7)
"""


def test_a_command_with_a_hub(tmp_path):
    command = [*PROGRAM, "--root", str(tmp_path / "hub"), "--user", "me", "--"]
    command += [sys.executable, "-c", UPLOAD, str(tmp_path)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=ABOVE, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (7, "me 1 False\n"), done.stderr
    with HubServer(tmp_path / "hub") as hub:
        assert hub.files("me/model")["w.safetensors"] == b"weights"


def test_serving_until_interrupted(tmp_path, hub):
    command = [*PROGRAM, "--root", str(tmp_path / "served")]
    # A job in the background of a shell inherits that interrupts are ignored, and would wait here for ever.
    as_usual = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, cwd=ABOVE, stderr=subprocess.PIPE, text=True, preexec_fn=as_usual) as process:
        try:
            line = process.stderr.readline()
            url = re.match(r"hub at (\S+), user alice, token hf_alice$", line)[1]
            assert hf.HfApi(endpoint=url).whoami()["name"] == "alice"
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


def test_it_imports_nothing_heavy():
    script = (
        "import sys, tests.hub_server; print(sorted({'torch', 'transformers', 'qvec_hub', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ABOVE, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
