"""What a rebuild has computed for one partition, joined to its profiles.

Enters: a store with the rebuilt attributes of every visitor, as of the very offset at
which the partition's owner goes on. Until every profile has been written once with
them, each is joined when it is read: by the fold, where its visitor buys, or by the
walk through all of them, whoever comes first. A profile of the new generation has been
joined; one of an older has not. So nothing needs to be remembered but that the walk is
not over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from consumer.profiles.record import ProfileCodec
    from consumer.profiles.store import PartitionStore
    from consumer.profiles.write_back import WriteBackStore

LATER = b"\0"  # behind a key: the least that is greater
ONCE = ("visitor", "source_partition", "source_offset", "active_day")


class Joining:
    """One partition's rebuilt attributes `names`; it closes its store.

    `rebuild` is the rebuild's id, `generation` the one that profiles have once they are
    joined, `codec` reads the profiles in `store`, and `nothing` is one of a visitor
    whom the rebuild has not met.
    """

    def __init__(  # noqa: PLR0913 - what a rebuild is
        self,
        store: PartitionStore,
        codec: ProfileCodec,
        *,
        rebuild: str,
        generation: int,
        names: Sequence[str],
        nothing: bytes,
        live: int,
    ) -> None:
        """Begin at the first profile, of the `live` ones that there are."""
        self.rebuild = rebuild
        self.generation = generation
        self.walked = 0
        self.total = live + store.count()
        self._names = frozenset(names)
        self._store = store
        self._codec = codec
        self._nothing = nothing
        self._next: bytes | None = b""
        self._own: bytes | None = None

    def join(
        self,
        stored: pa.RecordBatch,
        keys: Sequence[bytes],
        erased: NDArray[np.bool_],
    ) -> pa.RecordBatch:
        """Give stored profiles that are not joined, a row a key, what was rebuilt.

        A visitor who had no profile has version 0, and gets the rebuild's header. One
        who was `erased`, by the profile or by the caller, gets nothing.
        """
        erased = erased | (stored.column("erased_at").fill_null(0).to_numpy() > 0)
        found = [
            self._nothing if one is None or gone else one
            for one, gone in zip(self._store.get_many(keys), erased, strict=True)
        ]
        own = self._codec.decode(found)
        new = pc.equal(stored.column("version"), 0)
        columns = []
        for field in stored.schema:
            column = stored.column(field.name)
            if field.name in self._names:
                column = own.column(field.name)
            elif field.name in ONCE:
                column = pc.if_else(new, own.column(field.name), column)
            columns.append(column)
        return pa.RecordBatch.from_arrays(columns, schema=stored.schema)

    def unjoined(self, stored: pa.RecordBatch) -> NDArray[np.bool_]:
        """Flag the profiles that have not been joined; a new visitor's is none."""
        generations = stored.column("generation").to_numpy()
        versions = stored.column("version").to_numpy()
        older: NDArray[np.bool_] = (generations < self.generation) | (versions == 0)
        return older

    def walk(self, live: WriteBackStore, most: int) -> list[bytes]:
        """Give the keys of the next profiles, stored ones first; none at the end.

        `live` holds the partition's profiles. Those that the rebuild alone knows come
        last; keys may come twice, and profiles that are joined meanwhile come too.
        """
        keys: list[bytes] = []
        if self._next is not None:
            keys = [key for key, _ in live.page(self._next, most)]
            self._next = keys[-1] + LATER if keys else None
            self._own = b"" if not keys else None
        if self._own is not None:
            keys = [key for key, _ in self._store.page(self._own, most)]
            self._own = keys[-1] + LATER if keys else None
        self.walked += len(keys)
        return keys

    def close(self) -> None:
        """Close the store; it stays on disk for a return."""
        self._store.close()
