"""How the optional packages are installed, in one line that fits a clone and a wheel."""


def install_line(extra: str) -> str:
    """Return what to type where the packages of an extra are missing."""
    return (
        f"install the extra {extra}: pip install -e '.[{extra}]' in a clone, "
        f"or pip install 'FILE.whl[{extra}]'"
    )
