"""The command line of the reference node, `meshwire-node`."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    import typer

INTERNAL = 1
USAGE = 2


def build_app(command: str = "") -> "typer.Typer":
    """Build the command line; loads typer, which the codec harness does without.

    `command` names the only one that is needed, so that nothing else is loaded; without it, or if
    there is none of this name, all of them are.
    """
    import typer  # noqa: PLC0415 - costs ten times the start of the harness

    app = typer.Typer(
        name="meshwire-node",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    shown = typer.Option(
        "--version", callback=_show_version, is_eager=True, help="Print the version."
    )

    @app.callback()
    def node(*, version: Annotated[bool, shown] = False) -> None:
        """Run the reference node of meshwire, or its codec alone.

        Example: meshwire-node run --listen tcp://127.0.0.1:0 --open
        """

    every = dict.fromkeys(ADDERS.values())
    for add in (ADDERS[command],) if command in ADDERS else every:
        add(app)
    return app


def _add_run(app: "typer.Typer") -> None:
    from meshwire_reference.cli.run import run_command  # noqa: PLC0415 - loads typer
    from meshwire_reference.cli.run_options import RunOptions  # noqa: PLC0415 - loads typer

    app.command("run")(_reading(RunOptions, run_command))


def _add_codec(app: "typer.Typer") -> None:
    app.command()(codec)


def _add_keygen(app: "typer.Typer") -> None:
    from meshwire_reference.cli.keys import identity, keygen  # noqa: PLC0415 - as typer

    app.command()(keygen)
    app.command()(identity)


def _add_control(app: "typer.Typer") -> None:
    from meshwire_reference.cli.operate import COMMANDS  # noqa: PLC0415 - as typer

    for command in COMMANDS:
        app.command()(command)


def _add_demo(app: "typer.Typer") -> None:
    from meshwire_reference.cli.demo import demo  # noqa: PLC0415 - loads rich

    app.command()(demo)


def _add_operations(app: "typer.Typer") -> None:
    from meshwire_reference.cli.operations import operations_app  # noqa: PLC0415 - loads websockets

    app.add_typer(operations_app)


def _add_mesh(app: "typer.Typer") -> None:
    from meshwire_reference.cli.mesh import enroll, mesh_app  # noqa: PLC0415 - as typer

    app.command()(enroll)
    app.add_typer(mesh_app)


def _add_bench(app: "typer.Typer") -> None:
    try:
        from meshwire_reference.cli.bench import bench_app  # noqa: PLC0415 - loads the simulator
    except ImportError:
        from meshwire_reference.extras import install_line  # noqa: PLC0415 - as typer

        sys.stderr.write(f"meshwire-node: bench needs Automerge: {install_line('node')}\n")
        sys.exit(USAGE)
    app.add_typer(bench_app, name="bench")


ADDERS: Mapping[str, Callable[["typer.Typer"], None]] = {
    "run": _add_run,
    "codec": _add_codec,
    "keygen": _add_keygen,
    "identity": _add_keygen,
    **dict.fromkeys(
        ("put", "get", "delete", "docs", "peers", "connect", "role", "watch", "stats", "status"),
        _add_control,
    ),
    "enroll": _add_mesh,
    "demo": _add_demo,
    "mesh": _add_mesh,
    "ops": _add_operations,
    "bench": _add_bench,
}
"""Adds each command, in the order in which help lists them.

A suite starts dozens of nodes, and a third of the start was to load what `run` does not use.
"""


def codec() -> None:
    """Serve the codec harness on standard input and output.

    Example: meshwire check "stdio:meshwire-node codec"
    """
    import typer  # noqa: PLC0415 - as in build_app

    raise typer.Exit(serve_codec())


def _reading(
    options: type[Any], command: Callable[[Any, frozenset[str]], None]
) -> Callable[..., None]:
    """Return a function with a parameter for each field of `options`, which typer can read.

    The command gets the options, and the names of the fields that are no defaults.
    """
    import inspect  # noqa: PLC0415 - as in build_app

    import typer  # noqa: PLC0415 - as in build_app

    def call(*, context: typer.Context, **values: Any) -> None:
        def is_given(name: str) -> bool:
            source = context.get_parameter_source(name)
            return source is not None and source.name != "DEFAULT"

        command(options(**values), frozenset(filter(is_given, values)))

    call.__doc__ = command.__doc__
    own = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = inspect.signature(options).parameters.values()
    # Typer reads the parameters off it.
    vars(call)["__signature__"] = inspect.Signature([own, *parameters])
    return call


def _show_version(wanted: bool) -> None:
    if wanted:
        import typer  # noqa: PLC0415 - as in build_app

        from meshwire_spec.numbers import VERSION  # noqa: PLC0415 - the harness loads it later

        typer.echo(f"meshwire-node {VERSION}")
        raise typer.Exit


def serve_codec() -> int:
    """Serve the codec harness and return the exit code."""
    from meshwire_reference.harness import serve as harness  # noqa: PLC0415 - only one command needs it

    return harness.main()


def main() -> None:
    """Run the command line; the console script."""
    if getattr(sys, "stderr", None) is None:
        # A closed stderr is opened on the null device, so that writing to it is no error.
        from pathlib import Path  # noqa: PLC0415 - a third of the start of the harness

        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - to the end
    if os.name != "posix" or sys.platform in {"emscripten", "wasi"}:
        said = f"{sys.platform} is not supported; Linux and macOS are, and on Windows WSL is"
        sys.stderr.write(f"meshwire-node: {said}\n")
        sys.exit(USAGE)
    try:
        run_command_line()
    except Exception as exc:  # noqa: BLE001 - the last resort says one line, not a traceback
        said = " ".join(f"{type(exc).__name__}: {exc}".split())
        sys.stderr.write(f"meshwire-node: internal error: {said}\n")
        sys.exit(INTERNAL)


def run_command_line() -> None:
    """Run the command that the arguments name; leaves by SystemExit or returns."""
    # The harness is started for every run of a suite: it does not wait for typer to load.
    if sys.argv[1:] == ["codec"]:
        sys.exit(serve_codec())
    import typer  # noqa: PLC0415 - see above

    # Root of what typer raises for wrong arguments; typer itself gives it no public name.
    wrong_arguments: type[Exception] = typer.BadParameter.__mro__[2]
    try:
        code = build_app(sys.argv[1] if sys.argv[1:] else "")(standalone_mode=False)
    except wrong_arguments as exc:
        message = getattr(exc, "format_message", exc.__str__)()
        sys.stderr.write(f"meshwire-node: {' '.join(message.split())}\n")
        sys.exit(USAGE)
    except typer.Abort:
        sys.exit(USAGE)
    sys.exit(code or 0)
