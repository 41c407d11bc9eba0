"""Installation of the optional packages, as one command line that fits a clone and a wheel."""


def install_line(extra: str) -> str:
    """Return the command that installs the packages of an extra."""
    return (
        f"install the extra {extra}: pip install -e '.[{extra}]' in a clone, "
        f"or pip install 'FILE.whl[{extra}]'"
    )
