#!/usr/bin/env bash
# Tries a thinkgate binary before a real model server. See README.md beside this file.
#
#   tests/model_server/run.sh target/release/thinkgate      or      THINKGATE_BIN=… tests/model_server/run.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../binary_tests.sh"

python_environment model-server --no-deps

export PYTHONPATH=$here/../clients

report=$cache/server.xml
rm -f "$report"
python_tests "$report" --timeout=120
count_results "$report"
