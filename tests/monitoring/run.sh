#!/usr/bin/env bash
# Tries the rules of deploy/prometheus and the dashboard of deploy/grafana with a thinkgate binary, with real Prometheus and
# Alertmanager. See README.md beside this file.
#
#   tests/monitoring/run.sh target/release/thinkgate      or      THINKGATE_BIN=… tests/monitoring/run.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../binary_tests.sh"

python_environment monitoring

# Debian's packages, unpacked and not installed: nothing runs as a service, nothing is left on the machine.
tools=$cache/prometheus-tools
if [[ ! -e $tools/complete ]]; then
  rm -rf "$tools"
  mkdir -p "$tools"
  # In a shell of its own: beside `||` this one would not stop at an error.
  bash -euc '
    cd "$1"
    apt-get download "${@:2}" || { apt-get update && apt-get download "${@:2}"; }
    for package in *.deb; do dpkg -x "$package" .; done
    rm ./*.deb
  ' unpack "$tools" prometheus prometheus-alertmanager >"$cache/prometheus-tools.log" 2>&1 ||
    { cat "$cache/prometheus-tools.log" >&2; exit 1; }
  # Debian's Alertmanager reads its templates from /usr/share and from nowhere else: it gets ours there, in a mount
  # namespace of its own.
  cat >"$tools/usr/bin/alertmanager" <<'WRAPPER'
#!/bin/sh
tools=$(cd "$(dirname "$0")/../.." && pwd)
exec unshare --user --map-root-user --mount sh -c \
  'mount --bind "$0/usr/share" /usr/share && exec "$0/usr/bin/prometheus-alertmanager" "$@"' "$tools" "$@"
WRAPPER
  chmod +x "$tools/usr/bin/alertmanager"
  touch "$tools/complete"
fi
export PATH=$tools/usr/bin:$PATH

report=$cache/monitoring.xml
rm -f "$report"
python_tests "$report" --timeout=240 --durations=3
count_results "$report"
