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

# Tell why there are no reports, as an annotation too, and end as wrong use does.
fail() {
  echo "run.sh: $1" >&2
  if [ -n "${GITHUB_ACTIONS:-}" ]; then
    echo "::error title=meshwire::$1"
  fi
  exit 2
}

# Tell which python3 there is.
python() {
  version=$(python3 -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null)
  if [ -n "$version" ]; then
    echo "python3 is $version"
  else
    echo "there is no python3 that starts"
  fi
}

meshwire=${MESHWIRE:-meshwire}
reports=${MESHWIRE_REPORTS:-meshwire-reports}
[ -n "${MESHWIRE_TARGET:-}" ] || fail "MESHWIRE_TARGET is not set"
command -v "$meshwire" >/dev/null ||
  fail "there is no command $meshwire; install meshwire first, with Python 3.11 or later ($(python))"
mkdir -p "$reports" || fail "the folder $reports cannot be made"

set -- check "$MESHWIRE_TARGET" --level "${MESHWIRE_LEVEL:-strict}"
if [ -n "${MESHWIRE_KNOWN_FAILING:-}" ]; then
  set -- "$@" --known-failing "$MESHWIRE_KNOWN_FAILING"
fi
for report in html=report.html json=report.json junit=report.xml markdown=summary.md \
  github=annotations.txt sarif=report.sarif badge=badge.svg; do
  set -- "$@" --report "${report%%=*}=$reports/${report#*=}"
done

"$meshwire" "$@"
code=$?
case $code in
  126 | 127) fail "the command $meshwire cannot be started; if its Python is gone, install it again" ;;
esac

if [ -n "${GITHUB_ACTIONS:-}" ]; then
  cat "$reports/annotations.txt" 2>/dev/null ||
    echo "::error title=meshwire::the check ended with $code and wrote no reports; its log says why"
fi
if [ -n "${GITHUB_STEP_SUMMARY:-}" ] && [ -f "$reports/summary.md" ]; then
  cat "$reports/summary.md" >>"$GITHUB_STEP_SUMMARY"
fi
exit "$code"
