#!/usr/bin/env bash
# Tries a thinkgate binary with the client libraries that people use. See README.md beside this file.
#
#   tests/clients/run.sh target/release/thinkgate      or      THINKGATE_BIN=… tests/clients/run.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
binary=${1:-${THINKGATE_BIN:?give the path of a thinkgate binary}}
cache=${THINKGATE_TEST_CACHE:-target/client-tests}

THINKGATE_BIN=$(realpath "$binary")
[[ -x $THINKGATE_BIN ]] || { echo "not a program: $binary" >&2; exit 64; }
[[ $cache == /* ]] || cache=$root/$cache
mkdir -p "$cache"

key() { sha256sum | cut -c1-16; }

# The environments are kept between runs and made anew when a lock file or the interpreter changes.
venv=$cache/python-$( (python3 --version; cat "$here/requirements.txt" "$here/constraints.txt") | key)
if [[ ! -e $venv/complete ]]; then
  rm -rf "$cache"/python-*
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" -c "$here/constraints.txt"
  touch "$venv/complete"
fi

node=$cache/node-$( (node --version; cat "$here/package.json" "$here/package-lock.json") | key)
if [[ ! -e $node/complete ]]; then
  rm -rf "$cache"/node-*
  mkdir -p "$node"
  cp "$here/package.json" "$here/package-lock.json" "$node"
  (cd "$node" && npm ci --no-audit --no-fund --loglevel=error)
  touch "$node/complete"
fi

# Nothing but the loopback is asked: no proxy, no tracing, no price lists, nobody's own key or address.
unset ${!OPENAI_@} ${!ANTHROPIC_@} ${!DEEPSEEK_@} ${!LANGSMITH_@} ${!LANGCHAIN_@} ${!LITELLM_@}
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
export LANGSMITH_TRACING=false LITELLM_LOCAL_MODEL_COST_MAP=True DO_NOT_TRACK=1
export THINKGATE_BIN PYTHONDONTWRITEBYTECODE=1

reports=("$cache/python.xml" "$cache/node.xml")
rm -f "${reports[@]}"

# A failure of one suite must not keep the other from running: the reports decide.
(cd "$here" && "$venv/bin/python" -m pytest -q -p no:cacheprovider --timeout=60 --junitxml="${reports[0]}") || true

# Node looks for packages in the folders above a test file, so the tests are run from a copy beside node_modules.
rm -f "$node"/*.mjs
cp "$here"/*.mjs "$node"
export CLIENT_TESTS_DIR=$here CLIENT_TESTS_PYTHON=$venv/bin/python
(cd "$node" && node --test --test-concurrency=1 --test-timeout=60000 \
  --test-reporter=spec --test-reporter-destination=stdout \
  --test-reporter=junit --test-reporter-destination="${reports[1]}" ./*.test.mjs) || true

python3 "$here/count_results.py" "${reports[@]}"
