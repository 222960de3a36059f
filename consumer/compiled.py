"""Loops over arrays that numba compiles, and the arrays they take.

numba keeps what it has compiled between processes, but knows of changes in the
function's own file only: what an entry calls stands in the same file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from numpy.typing import NDArray

    F = TypeVar("F", bound=Callable[..., Any])


def compiled(*, entry: bool = False) -> Callable[[F], F]:
    """Compile at the first call, and keep the code between processes.

    Only an `entry` is called from Python; the others become a part of their callers.
    None makes an array, so none needs to count references to one: counting took
    twice as long as the work.
    """
    options: Any = {"forceinline": not entry, "_nrt": False}

    def compile_later(function: F) -> F:
        try:
            made: F = njit(cache=entry, nogil=True, **options)(function)
        except RuntimeError:  # there is no folder for a cache that could be written
            made = njit(nogil=True, **options)(function)
        return made

    return compile_later


def sealed(array: NDArray[Any]) -> NDArray[Any]:
    """Give an array that cannot be written: kernels are compiled for such alone."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
