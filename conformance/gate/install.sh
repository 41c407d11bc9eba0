#!/bin/sh
# Installs meshwire into a virtual environment, for the action of GitHub.
#
#   MESHWIRE_SOURCE  the folder of the repository of meshwire
#   MESHWIRE_FOLDER  the folder of the environment, which is made
#   MESHWIRE_EXTRAS  extras to install, none by default
set -u

# Tell what is missing in one line, as an annotation too, and end as wrong use does.
fail() {
  echo "install.sh: $1" >&2
  if [ -n "${GITHUB_ACTIONS:-}" ]; then
    echo "::error title=meshwire::$1"
  fi
  exit 2
}

needs="meshwire needs Python 3.11 or later; a step with actions/setup-python before gives one"
version=$(python3 -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null)
case $version in
  "") fail "there is no python3 that starts; $needs" ;;
  2.* | 3.[0-9].* | 3.10.*) fail "python3 is $version; $needs" ;;
esac

python3 -m venv "$MESHWIRE_FOLDER" ||
  fail "python3 makes no virtual environment; the lines above say why (on Debian it needs python3-venv)"
"$MESHWIRE_FOLDER/bin/pip" install --quiet \
  -c "$MESHWIRE_SOURCE/constraints.txt" "$MESHWIRE_SOURCE${MESHWIRE_EXTRAS:+[$MESHWIRE_EXTRAS]}" ||
  fail "pip does not install meshwire; the lines above say why"
