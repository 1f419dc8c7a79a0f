# Sourced, with the arguments of the script that sources it, by the run.sh of each folder of tests that try a thinkgate
# binary; `here` is that folder. Sets `cache`, a folder that is kept between runs, and THINKGATE_BIN.

root=$(cd "$here/../.." && pwd)
binary=${1:-${THINKGATE_BIN:?give the path of a thinkgate binary}}
cache=${THINKGATE_TEST_CACHE:-target/client-tests}

THINKGATE_BIN=$(realpath "$binary")
[[ -x $THINKGATE_BIN ]] || { echo "not a program: $binary" >&2; exit 64; }
[[ $cache == /* ]] || cache=$root/$cache
mkdir -p "$cache"

export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
export THINKGATE_BIN PYTHONDONTWRITEBYTECODE=1

key() { sha256sum | cut -c1-16; }

# Sets `venv` to the environment NAME with what requirements.txt says; the rest is for pip. It is made anew when a lock
# file or the interpreter changes.
python_environment() {
  local name=$1
  local locks=("$here/requirements.txt")
  shift
  [[ ! -e $here/constraints.txt ]] || locks+=("$here/constraints.txt")
  venv=$cache/$name-$( (python3 --version; cat "${locks[@]}") | key)
  if [[ ! -e $venv/complete ]]; then
    rm -rf "$cache/$name"-*
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "$@" -r "$here/requirements.txt"
    touch "$venv/complete"
  fi
}

# Runs the folder's tests into the REPORT; the rest is for pytest. A failure is told by the report.
python_tests() {
  local report=$1
  shift
  (cd "$here" && "$venv/bin/python" -m pytest -q -p no:cacheprovider --junitxml="$report" "$@") || true
}

# Fails unless every report is there and without a failure.
count_results() {
  python3 "$root/tests/clients/count_results.py" "$@"
}
