"""The control channel of a node: one JSON object per line, over a unix socket.

A client sends requests; a node answers each with a line that repeats its `id`. A request with
`do` = `watch` is answered by a line for each event, until either side closes the connection.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from meshwire_spec.numbers import COLLECTION_MAX, DOCUMENT_ID_MAX
from meshwire_spec.schemas.base import Strict

RequestId = Annotated[
    int,
    Meta(ge=0, description="Chosen by the client; the reply has the same."),
]
CollectionName = Annotated[
    str, Meta(min_length=1, max_length=COLLECTION_MAX, description="Name of the collection.")
]
DocumentId = Annotated[
    str, Meta(min_length=1, max_length=DOCUMENT_ID_MAX, description="Id of the document in it.")
]
FieldsOfDocument = Annotated[
    dict[str, Any], Meta(description="Root fields of a document by name, as JSON.")
]


class Request(Strict, frozen=True, kw_only=True, tag_field="do"):
    """What every request has."""

    id: RequestId


class Put(Request, frozen=True, kw_only=True, tag="put"):
    """Write fields of a document; answered once they are durable, with the document."""

    collection: CollectionName
    document: DocumentId
    fields: FieldsOfDocument
    replace: Annotated[
        bool | UnsetType, Meta(description="Remove the fields that are not given; false is usual.")
    ] = UNSET


class Get(Request, frozen=True, kw_only=True, tag="get"):
    """Read a document; answered with it."""

    collection: CollectionName
    document: DocumentId


class Delete(Request, frozen=True, kw_only=True, tag="delete"):
    """Delete a document as the policy of its collection says; answered once that is durable."""

    collection: CollectionName
    document: DocumentId


ControlRequest = Put | Get | Delete


class DocumentOut(Strict, frozen=True, kw_only=True):
    """A document."""

    collection: CollectionName
    document: DocumentId
    fields: FieldsOfDocument


class ControlError(Strict, frozen=True, kw_only=True):
    """Why a request was not carried out; nothing has changed."""

    code: Annotated[
        Literal[
            "bad-request",
            "bad-key",
            "bad-fields",
            "no-document",
            "deleted",
            "expires",
            "too-large",
            "not-stored",
            "internal",
        ],
        Meta(description="Stable name of the error."),
    ]
    message: Annotated[
        str, Meta(min_length=1, description="One line that says what, and what to do.")
    ]


class ControlReply(Strict, frozen=True, kw_only=True):
    """The reply to a request: either `error`, or the member that the request asks for."""

    id: Annotated[
        int | None,
        Meta(description="That of the request; null where the line held none."),
    ]
    error: ControlError | UnsetType = UNSET
    document: Annotated[
        DocumentOut | UnsetType, Meta(description="The document, of `put` and `get`.")
    ] = UNSET
    deleted: Annotated[Literal[True] | UnsetType, Meta(description="Of `delete`.")] = UNSET
