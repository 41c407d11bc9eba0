"""Format of the transcripts of `oplog/1`: what the suite does on WebSockets, what must follow."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from meshwire_spec.schemas.base import CaseId, CaseTitle, Results, RuleIds, Source, Strict

Names = Annotated[list[str], Meta(min_length=1)]


class MeshListener(Strict, frozen=True, kw_only=True, omit_defaults=True):
    """A node of the suite that a target may dial, with a key and an address of its own."""

    node: Annotated[str, Meta(description="The name of one with the same key.")] = ""
    side: Annotated[
        Literal["higher", "lower", "next"] | UnsetType,
        Meta(description="How its id compares with that of the target; `next` is one more."),
    ] = UNSET
    dead: Annotated[bool, Meta(description="Nobody listens at its address.")] = False
    says: Annotated[
        str, Meta(description="Whom its first bulk names: a listener, `nobody`, or itself.")
    ] = ""


class MeshRecord(Strict, frozen=True, kw_only=True, omit_defaults=True):
    """What an insertion into `nodes` says of a listener."""

    at: Annotated[str, Meta(description="The listener.")]
    node: Annotated[
        str, Meta(description="`target`, `upper` for capital letters, or left out.")
    ] = ""
    address: Annotated[str, Meta(description="In place of its own; `{port}` is its port.")] = ""
    age_s: Annotated[float, Meta(description="How long ago it was seen, in seconds.")] = 7.0
    age_of_ms_s: Annotated[
        float | UnsetType,
        Meta(description="The same by `last_seen_ms`, which is null if left out."),
    ] = UNSET
    alive: bool = True


class OplogOperation(Strict, frozen=True, kw_only=True):
    """An operation of a transcript: a change by an author of the case, perhaps a forged one."""

    v: Annotated[Literal[1, 2] | UnsetType, Meta(description="Its version, 1 if left out.")] = UNSET
    do: Literal["insert", "set", "delete"]
    author: Annotated[str, Meta(description="A letter; each is a key of its own.")] = "a"
    after: Annotated[str, Meta(description="Insertion: the element before; else the root.")] = ""
    of: Annotated[str, Meta(description="Write or deletion: the insertion of the item.")] = ""
    field: Annotated[str, Meta(description="Write: the field of the item.")] = "stage"
    record: Annotated[
        MeshRecord | UnsetType, Meta(description="Insertion: into `nodes`, and what.")
    ] = UNSET
    address_of: Annotated[
        str | UnsetType, Meta(description="Write: the address of this listener, as value.")
    ] = UNSET
    value: Annotated[
        Any, Meta(description="What is written; of an insertion fields that are not the usual.")
    ] = None
    leave_out: Annotated[str, Meta(description="A field that an inserted item lacks.")] = ""
    long: Annotated[int, Meta(ge=0, description="Characters of the name of an item.")] = 0
    content: Annotated[Any | UnsetType, Meta(description="In place of an item.")] = UNSET
    seq: Annotated[int | UnsetType, Meta(description="Left out: its place among them.")] = UNSET
    inner: Annotated[
        str, Meta(description="Inner author: a letter, `item`, or left out for the signer.")
    ] = ""
    origin: Annotated[str, Meta(description="`root` in a deletion of it.")] = ""
    depends_on: Annotated[
        list[str] | UnsetType, Meta(description="Left out: the insertion of the item.")
    ] = UNSET
    path: Annotated[
        list[str] | UnsetType,
        Meta(description="Segments: names, `@NAME` for the id of an operation, `@` for its own."),
    ] = UNSET
    forge: Annotated[
        dict[str, Any], Meta(description="Members that are changed once it is signed.")
    ] = {}
    edit: Annotated[
        list[list[str]], Meta(description="Texts to find and to put in its JSON text.")
    ] = []
    repeat: Annotated[int, Meta(ge=1, description="How often a text that is put is repeated.")] = 1


class OplogStep(Strict, frozen=True, kw_only=True, omit_defaults=True):
    """One step; exactly one of the members down to `recorded` says what it is."""

    connect: str = ""
    send: Names | UnsetType = UNSET
    text: str | UnsetType = UNSET
    binary: str | UnsetType = UNSET
    ping: str = ""
    pong: str = ""
    close: str = ""
    abort: str = ""
    applied: Annotated[Names | UnsetType, Meta(description="A new session gets them.")] = UNSET
    absent: Annotated[Names | UnsetType, Meta(description="A new session does not.")] = UNSET
    once: Annotated[Names | UnsetType, Meta(description="A new session gets each once.")] = UNSET
    ordered: Annotated[Names | UnsetType, Meta(description="They come in this order.")] = UNSET
    relayed: Annotated[Names | UnsetType, Meta(description="`on` gets them live.")] = UNSET
    unrelayed: Annotated[Names | UnsetType, Meta(description="`on` does not.")] = UNSET
    received: Annotated[Names | UnsetType, Meta(description="`on` gets them in any way.")] = UNSET
    chunked: Annotated[Names | UnsetType, Meta(description="A new session, in chunks.")] = UNSET
    announced: Annotated[
        list[int] | UnsetType, Meta(description="The first bulk on `on` says these versions.")
    ] = UNSET
    unopened: Annotated[str, Meta(description="A path that is no endpoint.")] = ""
    mesh: Annotated[
        int | UnsetType, Meta(description="The target begins with its mesh, with this cap.")
    ] = UNSET
    clock: Annotated[
        float | UnsetType, Meta(description="This many seconds pass for its mesh.")
    ] = UNSET
    dialled: Annotated[
        Names | UnsetType, Meta(description="The target has a session with these listeners.")
    ] = UNSET
    undialled: Annotated[
        Names | UnsetType, Meta(description="Not with these, until time passes again.")
    ] = UNSET
    left: Annotated[str, Meta(description="The target ends this session.")] = ""
    named: Annotated[str, Meta(description="Its first bulk on this session names it.")] = ""
    recorded: Annotated[
        float | UnsetType, Meta(description="Its own record is at most this many seconds old.")
    ] = UNSET
    count: Annotated[int, Meta(ge=0, description="Of `dialled`: how many; 0 for all.")] = 0
    code: Annotated[int, Meta(ge=0, description="Of `left`: the code of the close frame.")] = 0
    says: Annotated[
        str, Meta(description="`connect` names a listener, or `target`, as its node.")
    ] = ""
    for_mesh: Annotated[bool, Meta(description="`connect` is for the mesh.")] = False
    on: Annotated[str, Meta(description="The session.")] = "A"
    form: Annotated[
        Literal["live", "bulk", "op"], Meta(description="The message that `send` makes.")
    ] = "live"
    version: Annotated[Any, Meta(description="The `v` of a live message.")] = 1
    silent: Annotated[bool, Meta(description="`connect` sends no bulk.")] = False
    deaf: Annotated[bool, Meta(description="`connect` reads nothing, from its opening on.")] = False
    parts: Annotated[int, Meta(ge=1, description="Frames of the message.")] = 1
    times: Annotated[int, Meta(ge=1, description="How often the text stands in it.")] = 1


class OplogSession(Strict, frozen=True, kw_only=True):
    """A transcript: operations by name, and the steps."""

    id: CaseId
    title: CaseTitle
    rules: RuleIds
    result: Results
    hunts: Annotated[str, Meta(description="The mistake that it would notice.")]
    operations: dict[str, OplogOperation] = {}
    listeners: Annotated[
        dict[str, MeshListener] | UnsetType, Meta(description="For a target with a mesh.")
    ] = UNSET
    steps: Annotated[list[OplogStep], Meta(min_length=1)]
    last: Annotated[bool, Meta(description="Runs alone, after the others.")] = False
    source: Source = "hand"


class OplogSessionFile(Strict, frozen=True, kw_only=True):
    """A file of transcripts."""

    part: Literal["oplog"]
    sessions: list[OplogSession]


VERBS = (
    "connect", "send", "text", "binary", "ping", "pong", "close", "abort", "applied", "absent",
    "once", "ordered", "relayed", "unrelayed", "received", "chunked", "announced",
    "unopened", "mesh", "clock", "dialled", "undialled", "left", "named", "recorded",
)  # fmt: skip
"""Members of which a step has exactly one."""


def verb_of(step: OplogStep) -> str:
    """Return what a step does; raise ValueError unless it is one thing."""
    found = [name for name in VERBS if getattr(step, name) not in ("", UNSET)]
    # An empty text is a message too.
    found += [name for name in ("text", "binary") if getattr(step, name) == ""]
    if len(found) != 1:
        raise ValueError(f"a step does one thing, and not {', '.join(found) or 'nothing'}")
    return found[0]
