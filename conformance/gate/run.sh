#!/bin/sh
# Checks a target in a gate: reports into a folder, annotations and a job summary where there are
# any, and the exit code of the check. All settings are variables, so that a target needs no quotes.
#
#   MESHWIRE_TARGET         the target, required
#   MESHWIRE_LEVEL          wire or strict, which is the default
#   MESHWIRE_KNOWN_FAILING  a ledger of known failures
#   MESHWIRE_REPORTS        the folder of the reports, meshwire-reports by default
#   MESHWIRE                the command, meshwire by default
set -u

if [ -z "${MESHWIRE_TARGET:-}" ]; then
  echo "run.sh: MESHWIRE_TARGET is not set" >&2
  exit 2
fi
reports=${MESHWIRE_REPORTS:-meshwire-reports}
mkdir -p "$reports" || exit 2

set -- check "$MESHWIRE_TARGET" --level "${MESHWIRE_LEVEL:-strict}"
if [ -n "${MESHWIRE_KNOWN_FAILING:-}" ]; then
  set -- "$@" --known-failing "$MESHWIRE_KNOWN_FAILING"
fi
for report in html=report.html json=report.json junit=report.xml markdown=summary.md \
  github=annotations.txt sarif=report.sarif badge=badge.svg; do
  set -- "$@" --report "${report%%=*}=$reports/${report#*=}"
done

"${MESHWIRE:-meshwire}" "$@"
code=$?

if [ -n "${GITHUB_ACTIONS:-}" ] && [ -f "$reports/annotations.txt" ]; then
  cat "$reports/annotations.txt"
fi
if [ -n "${GITHUB_STEP_SUMMARY:-}" ] && [ -f "$reports/summary.md" ]; then
  cat "$reports/summary.md" >>"$GITHUB_STEP_SUMMARY"
fi
exit "$code"
