"""What `meshwire --version` says."""

from meshwire_conformance.catalogue.catalogue import load_catalogue
from meshwire_conformance.run.runner import suite_version
from meshwire_spec.numbers import SPEC_REVISION


def version_line() -> str:
    """Version, spec revision and digest of the suite."""
    return f"meshwire {suite_version()} ({SPEC_REVISION}), suite {load_catalogue().digest}"
