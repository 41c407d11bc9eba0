"""Commands for a first look: smoke, compare, new-adapter, explain, completion of a shell."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from meshwire_conformance.commands.adapter import SKELETONS
from meshwire_conformance.commands.quick import DIFFERENCES_SHOWN, smoke_cases
from meshwire_conformance.run.loading import load_catalogue
from meshwire_spec.numbers import KINDS

pytestmark = pytest.mark.process

PEER = Path(__file__).parents[1] / "programs" / "buggy_codec.py"
TOOLS = {"python": "python3", "go": "go", "rust": "cargo", "javascript": "node", "c": "cc"}


CODE = """import sys; sys.argv[0] = 'meshwire'
from meshwire_conformance.commands.main import main; main()"""


def meshwire(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command run to its end."""
    return run(sys.executable, "-c", CODE, *arguments, **environment)


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program run to its end."""
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, **environment},
    )


def codec(*bugs: int) -> str:
    """The target with these bugs."""
    return f"stdio:'{sys.executable}' '{PEER}' {' '.join(map(str, bugs))}".rstrip()


def test_a_smoke_test_has_a_case_of_every_kind_and_some_over_sockets() -> None:
    """All of them exist, and demand that something valid is taken."""
    cases = load_catalogue().by_id
    chosen = [cases[name] for name in smoke_cases()]

    assert {case.kind for case in chosen} >= set(KINDS)
    assert all(case.demanded("strict") == "valid" for case in chosen)
    assert sum(case.kind == "socket" for case in chosen) >= 5


def test_smoke_says_in_one_line_whether_a_codec_speaks_at_all() -> None:
    """A codec with bugs in what it refuses passes; one that is none does not."""
    good = meshwire("smoke", codec(1, 2, 3))
    bad = meshwire("smoke", "stdio:cat")

    assert good.returncode == 0, good.stdout
    assert len(good.stdout.splitlines()) == 1
    assert bad.returncode in {1, 3}


def test_two_codecs_are_compared_by_their_disagreements() -> None:
    """Each with its bytes and its rule; a codec agrees with itself."""
    alike = meshwire("compare", codec(), codec())
    differ = meshwire("compare", codec(1), codec())
    many = meshwire("compare", codec(1, 2, 3, 4, 5), codec())
    wrong = meshwire("compare", codec(), "tcp://127.0.0.1:1")
    absent = meshwire("compare", codec(), "stdio:/no/such/program")

    assert alike.returncode == 0, alike.stdout
    assert alike.stdout.endswith(" 0 disagreements\n")
    assert differ.returncode == 1
    *_, more, last = many.stdout.splitlines()
    count = int(last.split()[-2])
    assert many.stdout.count("DIFFER ") == DIFFERENCES_SHOWN < count
    assert more == f"... and {count - DIFFERENCES_SHOWN} more"
    assert "DIFFER MW-1163  heartbeat" in differ.stdout
    assert "error truncated | error bad-marker" in differ.stdout
    assert "schema  refused: bad-marker  [LV-002]" in differ.stdout
    assert "0000  02 01 02" in differ.stdout
    assert (wrong.returncode, absent.returncode) == (2, 3)


@pytest.mark.parametrize("language", SKELETONS)
def test_a_new_adapter_passes_its_first_cases(language: str, tmp_path: Path) -> None:
    """As the command says that comes next, where the language is installed."""
    folder = tmp_path / "a codec"
    made = meshwire("new-adapter", language, str(folder))
    again = meshwire("new-adapter", language, str(folder))
    skeleton = SKELETONS[language]

    assert made.returncode == 0, made.stderr
    assert f'meshwire check "stdio:{skeleton.program}" --kind heartbeat' in made.stdout
    assert again.returncode == 2
    if shutil.which(TOOLS[language]) is None:
        pytest.skip(f"{TOOLS[language]} is not installed: the adapter was not run")
    if skeleton.build:
        build = [*skeleton.build.split(), *(["--offline"] if language == "rust" else [])]
        subprocess.run(build, cwd=folder, check=True, capture_output=True, timeout=600)
    program = skeleton.program.replace("./", f"{folder}/")
    words = [f"'{folder}/{word}'" if (folder / word).exists() else word for word in program.split()]
    target = f"stdio:'{program}'" if program.startswith("/") else f"stdio:{' '.join(words)}"
    done = meshwire("check", target, "--kind", "heartbeat", "--quiet")

    assert done.returncode == 0, done.stdout + done.stderr


def test_an_id_is_explained() -> None:
    """Unknown ones end with 2 and one line."""
    done = meshwire("explain", "LV-002")
    wrong = meshwire("explain", "LV-999")

    assert done.returncode == 0
    assert done.stdout.startswith("LV-002")
    assert wrong.returncode == 2
    assert len(wrong.stderr.splitlines()) == 1


def test_a_shell_completes_commands_and_ids() -> None:
    """As the script that `--show-completion` prints in bash asks for it."""
    # The command looks for the shell that has started it; the last word keeps bash its parent.
    in_bash = ("bash", "-c", '"$0" "$@"; exit')
    script = run(*in_bash, sys.executable, "-c", CODE, "--show-completion")
    asked = {"_MESHWIRE_COMPLETE": "complete_bash"}
    command = meshwire(**asked, COMP_WORDS="meshwire exp", COMP_CWORD="1")
    name = meshwire(**asked, COMP_WORDS="meshwire explain bad-u", COMP_CWORD="2")

    assert "_MESHWIRE_COMPLETE=complete_bash" in script.stdout
    assert command.stdout.split() == ["explain"]
    assert name.stdout.split() == ["bad-utf8"]


@pytest.mark.parametrize("command", ["explain", "smoke", "compare", "new-adapter"])
def test_help_has_an_example(command: str) -> None:
    """A stranger sees how it is called."""
    assert "Example: meshwire" in meshwire(command, "--help").stdout
