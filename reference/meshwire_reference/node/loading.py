"""Load a folder of documents into a node, before it accepts peers."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meshwire_reference.core.document_calls import Each, Merge, Merged, Refused, Result, Together
from meshwire_reference.core.inputs import DocumentLoaded
from meshwire_reference.core.state.document_queues import TOGETHER_BYTES_MAX, TOGETHER_MAX
from meshwire_reference.node.folder import BadFolder, list_documents, read_document

LOADED_AT_ONCE: Final = 500
"""Greatest number of files whose documents are with the worker at a time."""


@dataclass(frozen=True, slots=True)
class Loading:
    """How files become documents: the worker checks them, the core hears of each."""

    submit: Callable[[Together], Awaitable[Result | Each]]
    feed: Callable[[DocumentLoaded], None]
    size_max: int
    """Greatest number of bytes of a file."""

    async def load(self, folder: Path) -> int:
        """Load every document of a folder and return their number; raises BadFolder."""
        files = list(list_documents(folder).items())
        for at in range(0, len(files), LOADED_AT_ONCE):
            part = files[at : at + LOADED_AT_ONCE]
            await asyncio.gather(*map(self._load_files, self._read_files(part)))
            if sys.stderr.isatty():
                done = min(at + LOADED_AT_ONCE, len(files))
                sys.stderr.write(f"\rmeshwire-node: {done} of {len(files)} documents loaded")
        if files and sys.stderr.isatty():
            sys.stderr.write("\n")
        return len(files)

    def _read_files(self, files: Sequence[tuple[str, Path]]) -> Iterator[dict[Path, Merge]]:
        """Yield the calls that load files, as many as are made together."""
        calls: dict[Path, Merge] = {}
        size = 0
        for key, path in files:
            content = read_document(path, self.size_max)
            size += len(content)
            if calls and (len(calls) == TOGETHER_MAX or size > TOGETHER_BYTES_MAX):
                yield calls
                calls, size = {}, len(content)
            calls[path] = Merge(key, content)
        if calls:
            yield calls

    async def _load_files(self, calls: Mapping[Path, Merge]) -> None:
        answered = await self.submit(Together(tuple(calls.values())))
        results = answered.results if isinstance(answered, Each) else (answered,) * len(calls)
        for (path, call), result in zip(calls.items(), results, strict=True):
            if not isinstance(result, Merged) or not result.heads:
                reason = "no changes in it"
                if isinstance(result, Refused):
                    detail = f" ({result.detail})" if result.detail else ""
                    reason = f"{result.reason}{detail}"
                raise BadFolder(f"{path} cannot be loaded as a document: {reason}")
            # The store may have had the document, with everything in the file.
            if result.write is not None:
                self.feed(DocumentLoaded(call.key, result.write))
