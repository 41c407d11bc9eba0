"""Write the vectors of whole reconciliations; `--check` compares.

The bytes come from the crate `negentropy`, which cargo builds, and the suite's own sides must
produce the same. With `--check` no crate is needed: sets, rules and ids are compared with the
plans, and every stored message with the suite's own sides; with `--check --crate` also with the
crate.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from meshwire_conformance.catalogue.reconciliations import FOLDER, expand_items, listed
from meshwire_conformance.protocol.negentropy import Item, Reconciliation
from meshwire_conformance.protocol.negentropy_messages import Refused
from meshwire_spec.rules import load_rules
from meshwire_spec.schemas.reconciliation import Items
from reconciliation_faults import Spoilt, spoil, versions
from reconciliation_oracle import CrateAnswer, Oracle, build, crate_name
from reconciliation_runs import FILES, Odd, Plan, odd_plans
from vector_files import LEDGER, ROOT, VECTORS, Ledger, read_ledger, schema_faults

MALFORMED = "malformed"
ODD = "by-hand"
MESSAGES_MAX = 200
ORDER = (
    "id", "title", "rules", "client", "server", "only", "messages", "found", "have", "need",
    "bad", "field", "result", "reasons", "hunts", "harm", "control", "crate", "source",
)  # fmt: skip
"""Members of a run in the order in which they are written."""
BASES = (
    ("5 items at the client, 3 at the server, none in common", 0),
    ("5 items at the client, 3 at the server, none in common", 1),
    ("31 items in common, 1 only at the client, 0 only at the server", 0),
    ("512 items in common, timestamp 0, 1 only at the client, 0 only at the server", 1),
    ("512 items in common, timestamp 0, 1 only at the client, 0 only at the server", 2),
)
"""Runs from which bad ones are made, and the index of the message to replace."""


class PlanMismatch(Exception):
    """Crate, suite and plan disagree: one of them is wrong."""


@dataclass(slots=True)
class Play:
    """The messages of one run, and the ids found by each message of the server."""

    messages: list[bytes] = field(default_factory=list)
    found: list[list[int]] = field(default_factory=list)
    have: list[bytes] = field(default_factory=list)
    need: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Voice:
    """One side of a run: the suite's, and the crate's if it is available; both must agree."""

    own: Reconciliation
    oracle: Oracle | None
    session: int

    def initiate(self) -> bytes:
        """Return the first message, on which all implementations agree."""
        message = self.own.initiate()
        if self.oracle is not None and self.oracle.initiate(self.session) != message:
            raise PlanMismatch("the crate begins otherwise")
        return message

    def reconcile(self, message: bytes) -> CrateAnswer:
        """Return the answer to a message, on which all implementations agree."""
        answer = self.own.reconcile(message)
        said = CrateAnswer("", answer.reply, answer.have, answer.need)
        if self.oracle is not None and self.oracle.reconcile(self.session, message) != said:
            raise PlanMismatch(f"the crate answers otherwise to {message[:40].hex()}")
        return said


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes vectors from plans, and assigns ids."""

    ledger: Ledger
    oracle: Oracle | None
    levels: Mapping[str, str]

    def voice(self, role: str, items: Sequence[Item], limit: int) -> Voice:
        """Return a side with these items."""
        session = 0 if self.oracle is None else self.oracle.open(items, limit)
        return Voice(Reconciliation(items, limit, client=role == "client"), self.oracle, session)

    def play(self, plan: Plan) -> Play:
        """Return the run of a plan, up to the client's last message."""
        if self.oracle is not None:
            self.oracle.forget()
        sets = [_items(plan.client), _items(plan.server)]
        client = self.voice("client", sets[0], plan.limits[0])
        server = self.voice("server", sets[1], plan.limits[1])
        play = Play([client.initiate()])
        while len(play.messages) < MESSAGES_MAX:
            reply = server.reconcile(play.messages[-1]).reply
            assert reply is not None
            play.messages.append(reply)
            answer = client.reconcile(reply)
            play.found.append([len(answer.have), len(answer.need)])
            play.have += answer.have
            play.need += answer.need
            if answer.reply is None:
                _exact(plan, play, sets)
                return play
            play.messages.append(answer.reply)
        raise PlanMismatch(f"{plan.title}: no end after {MESSAGES_MAX} messages")

    def run(self, plan: Plan) -> dict[str, Any]:
        """Return the vector of a plan."""
        play = self.play(plan)
        return {
            **self._frame(plan.title, plan.rules, plan),
            "messages": [message.hex() for message in play.messages],
            "found": play.found,
            "have": listed(play.have),
            "need": listed(play.need),
            "result": {"wire": "valid", "strict": "valid"},
            "source": "peat-mesh, negentropy crate 0.5.0" if plan.source else crate_name(),
        }

    def _frame(self, title: str, rules: Sequence[str], plan: Plan) -> dict[str, Any]:
        return {
            "id": self.ledger.id_of(f"run|{title}"),
            "title": title,
            "rules": list(dict.fromkeys(rules)),
            "client": {"frame_limit": plan.limits[0], "items": list(plan.client)},
            "server": {"frame_limit": plan.limits[1], "items": list(plan.server)},
        }

    def odd(self, plan: Odd) -> dict[str, Any]:
        """Return the vector of a handwritten message to one side."""
        items = _items(plan.items)
        voice = self.voice(plan.role, items, 0)
        begun = [voice.initiate()] if plan.role == "client" else []
        answer = voice.reconcile(plan.message)
        messages = [*begun, plan.message, *([] if answer.reply is None else [answer.reply])]
        sets = Plan(plan.title, plan.items, plan.items, plan.rules)
        return {
            **self._frame(plan.title, plan.rules, sets),
            "only": plan.role,
            "messages": [message.hex() for message in messages],
            "found": [[len(answer.have), len(answer.need)]] if begun else [],
            "have": listed(answer.have),
            "need": listed(answer.need),
            "result": {"wire": "valid", "strict": "valid"},
            "source": f"hand, answered by {crate_name()}",
        }

    def spoilt(self, plan: Plan, number: int) -> Iterator[dict[str, Any]]:
        """Yield vectors of a run in which one message is replaced by a bad one."""
        play = self.play(plan)
        role = ("server", "client")[number % 2]
        control = self.ledger.id_of(f"run|{plan.title}")
        found = list(spoil(play.messages[number]))
        found += versions(server=role == "server") if plan.title == BASES[0][0] else []
        for fault in found:
            title = f"message {number} of {control} to the {role}: {fault.name}"
            rule = fault.fault.rule
            yield {
                **self._frame(title, [rule], plan),
                "messages": [message.hex() for message in play.messages[:number]],
                "bad": fault.data.hex(),
                "field": fault.field,
                "result": {
                    "wire": "reject" if self.levels[rule] == "wire" else "any",
                    "strict": "reject",
                },
                "reasons": list(fault.fault.reasons),
                "hunts": fault.fault.hunts,
                "harm": fault.fault.harm,
                "control": control,
                "crate": self._crate_word(plan, number, fault),
                "source": crate_name(),
            }

    def _crate_word(self, plan: Plan, number: int, fault: Spoilt) -> str:
        """Return the crate's answer to a bad message; the suite's own side must refuse it."""
        role = ("server", "client")[number % 2]
        items = _items(plan.server if role == "server" else plan.client)
        limit = plan.limits[role == "server"]
        own = Reconciliation(items, limit, client=role == "client")
        try:
            own.reconcile(fault.data)
        except Refused as refused:
            if refused.reason not in fault.fault.reasons:
                raise PlanMismatch(f"{fault.name}: refused for {refused.reason}") from refused
        else:
            raise PlanMismatch(f"{fault.name}: the suite's own {role} takes it")
        if self.oracle is None:
            return ""
        session = self.oracle.open(items, limit)
        if role == "client":
            self.oracle.initiate(session)
        answer = self.oracle.reconcile(session, fault.data)
        return f"error: {answer.error}" if answer.error else "taken"


def _items(parts: Sequence[Mapping[str, Any]]) -> list[Item]:
    return expand_items(msgspec.convert(parts, list[Items]))


def _exact(plan: Plan, play: Play, sets: Sequence[Sequence[Item]]) -> None:
    ours, theirs = ({name for _, name in items} for items in sets)
    if (set(play.have), set(play.need)) != (ours - theirs, theirs - ours):
        raise PlanMismatch(f"{plan.title}: the run does not find the differences")


def make(maker: Maker) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """Yield every file with its runs."""
    plans = {name: list(plans_of()) for name, plans_of in FILES.items()}
    titled = {plan.title: plan for file in plans.values() for plan in file}
    for name, file in plans.items():
        yield VECTORS / FOLDER / f"{name}.json", [maker.run(plan) for plan in file]
    yield VECTORS / FOLDER / f"{ODD}.json", [maker.odd(plan) for plan in odd_plans()]
    bad = [run for title, number in BASES for run in maker.spoilt(titled[title], number)]
    yield VECTORS / FOLDER / f"{MALFORMED}.json", bad


def canonical(runs: Sequence[dict[str, Any]]) -> str:
    """Return the canonical text of a file: one member per line, in `ORDER`."""
    blocks = []
    for run in sorted(runs, key=lambda run: str(run["id"])):
        lines = [f'    "{name}": {json.dumps(run[name])}' for name in ORDER if name in run]
        blocks.append("  {\n" + ",\n".join(lines) + "\n  }")
    body = ",\n".join(blocks)
    return f'{{\n"part": "reconciliation",\n"runs": [\n{body}\n]\n}}\n'


def _frozen_words(path: Path) -> dict[str, str]:
    """Return the stored answers of the crate to bad messages, for a check without the crate."""
    if not path.exists():
        return {}
    return {run["id"]: run.get("crate", "") for run in json.loads(path.read_text())["runs"]}


def _texts(maker: Maker) -> Iterator[tuple[Path, str]]:
    for path, runs in make(maker):
        if maker.oracle is None:
            words = _frozen_words(path)
            runs = [  # noqa: PLW2901 - the same runs, completed
                {**run, "crate": words.get(run["id"], "")} if "crate" in run else run
                for run in runs
            ]
        yield path, canonical(runs)


def main() -> int:
    """Write or compare the files, and print the problems."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--crate", action="store_true", help="ask the crate while comparing")
    options = parser.parse_args()
    ledger = read_ledger()
    known = set(ledger.keys)
    levels = {rule.id: rule.level for rule in load_rules()}
    with ExitStack() as stack:
        asks = options.crate or not options.check
        oracle = stack.enter_context(Oracle(build())) if asks else None
        try:
            texts = dict(_texts(Maker(ledger, oracle, levels)))
        except PlanMismatch as exc:
            print(f"make_reconciliation: {exc}", file=sys.stderr)
            return 1
    wrong = list(schema_faults("reconciliation", texts))
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text() != text]
    wrong += [f"{path.relative_to(ROOT)} is not up to date" for path in stale if options.check]
    for line in wrong:
        print(f"make_reconciliation: {line}", file=sys.stderr)
    if not options.check and not wrong:
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts[path])
        if set(ledger.keys) != known:
            LEDGER.write_text(ledger.text())
    count = sum(len(json.loads(text)["runs"]) for text in texts.values())
    print(f"{count} reconciliations in {len(texts)} files, {len(stale)} changed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
