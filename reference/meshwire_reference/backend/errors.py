"""What the backend refuses: the text of each error is one line that says what, and what to do."""


class BackendError(Exception):
    """Root of the errors of the backend; nothing has changed where one is raised."""

    code = "internal"
    """Stable name of the error, for programs."""


class BadKey(BackendError):
    """A collection or a document id that no document can have."""

    code = "bad-key"


class BadFields(BackendError):
    """Fields that a document cannot hold."""

    code = "bad-fields"


class Deleted(BackendError):
    """The document was deleted, and its tombstone guards it."""

    code = "deleted"


class CannotDelete(BackendError):
    """Documents of the collection expire by themselves."""

    code = "expires"


class TooLarge(BackendError):
    """The document would be larger than a payload may be."""

    code = "too-large"


class NotStored(BackendError):
    """The store cannot be written, so nothing was changed."""

    code = "not-stored"


class BadAddress(BackendError):
    """No peer can be dialled at the address."""

    code = "bad-address"


class NotConnected(BackendError):
    """The peer was not reached, or has refused this node."""

    code = "not-connected"


class CannotRead(BackendError):
    """The document worker could not carry out the operation."""

    code = "internal"


class NotListening(BackendError):
    """An address of the node cannot be bound again."""

    code = "internal"
