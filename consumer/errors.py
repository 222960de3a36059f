# ruff: noqa: N818 - names say what happened, as httpx names its errors
"""What can go wrong, as one tree; every error says what happened and what to do.

PosConsumerError
├── ConfigurationError      exit 78: a key, its value, what is allowed
├── SchemaError             exit 78: a schema that attributes cannot be read from
├── TopicAbsent             a topic that must exist does not
├── BrokerUnreachable       retriable: no broker answered
│   └── RegistryUnreachable the schema registry gave no answer about a schema
├── BrokerRefused           the broker answered no: credentials, rights, limits
├── TransactionFailed       retriable: abort, recycle the producer, replay
├── Fenced                  someone else owns these partitions now: give up, rejoin
│   └── ProducerFenced      someone else uses our transactional id
├── PartitionHalt           halts one partition, never the process
├── StateDirectoryError     the state directory cannot be used
├── AddressInUse            an HTTP port is taken
├── TargetError             Adobe Target cannot be used as configured
└── SandboxError            a part of the sandbox did not start or answer

Foreign exceptions are translated into these once, at the boundary, with
`raise ... from error`. The command line prints `str(error)` on stderr and exits with
`exit_code`; bugs are not in this tree and keep their traceback.
"""

import json
from collections.abc import Sequence
from typing import ClassVar, Final, Self

EXIT_FAILURE: Final = 1
EXIT_CONFIGURATION: Final = 78  # EX_CONFIG of sysexits.h
_LONGEST_VALUE_SHOWN: Final = 120


class PosConsumerError(Exception):
    """Something that an operator can act on, said in one or two sentences."""

    exit_code: ClassVar[int] = EXIT_FAILURE
    retriable: ClassVar[bool] = False

    def __init__(self, what: str, remedy: str = "") -> None:
        """Say `what` happened and the `remedy`, each a full sentence."""
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        """Return what happened, then the remedy."""
        return f"{self.what} {self.remedy}".rstrip()


class NoValue:
    """Stands for a configured value where the value is not what is wrong."""

    def __init__(self, words: str) -> None:
        """Keep the words that follow the key."""
        self.words = words

    def __repr__(self) -> str:
        """Return the words that follow the key."""
        return self.words


UNSET: Final = NoValue("is not set")
NOT_A_KEY: Final = NoValue("cannot be set")


def _shown(value: object) -> str:
    """Write a value as the configuration file would, cut to a readable length."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if len(text) <= _LONGEST_VALUE_SHOWN:
        return text
    return text[: _LONGEST_VALUE_SHOWN - 1] + "…"


class ConfigurationError(PosConsumerError):
    """A configured value is missing or not allowed; the process exits 78 at once."""

    exit_code: ClassVar[int] = EXIT_CONFIGURATION

    def __init__(self, key: str, value: object, allowed: str) -> None:
        """Name the dotted `key`, its `value` and what is allowed.

        `UNSET` stands for a missing value, `NOT_A_KEY` for one whose name is refused.
        The caller masks secrets before they get here.
        """
        given = value.words if isinstance(value, NoValue) else f"= {_shown(value)}"
        super().__init__(f"{key} {given}: {allowed}")
        self.key = key
        self.value = value
        self.allowed = allowed
        self.problems: tuple[ConfigurationError, ...] = (self,)

    @classmethod
    def of(cls, problems: Sequence[Self]) -> Self:
        """Make one error of several, one line each, in the order given."""
        first = problems[0]
        error = cls(first.key, first.value, first.allowed)
        error.problems = tuple(problems)
        return error

    def __str__(self) -> str:
        """Return one line for each problem."""
        return "\n".join(problem.what for problem in self.problems)


class SchemaError(PosConsumerError):
    """A schema is not valid, not safe, or lacks what the configuration reads."""

    exit_code: ClassVar[int] = EXIT_CONFIGURATION


class TopicAbsent(PosConsumerError):
    """A topic that must exist does not; the service never creates topics."""


class BrokerUnreachable(PosConsumerError):
    """No broker answered in time."""

    retriable: ClassVar[bool] = True


class RegistryUnreachable(BrokerUnreachable):
    """The schema registry gave no answer about a schema: wait, and ask again."""


class BrokerRefused(PosConsumerError):
    """The broker answered and said no; trying again unchanged does not help."""


class TransactionFailed(PosConsumerError):
    """A transaction did not commit cleanly: recycle the producer and replay."""

    retriable: ClassVar[bool] = True


class Fenced(PosConsumerError):
    """A newer producer or group member took over; drop what was in progress."""


class ProducerFenced(Fenced):
    """Another process uses our transactional id, as a copied state directory does."""


class PartitionHalt(PosConsumerError):
    """One partition cannot go on safely; it is paused, the others continue."""

    def __init__(self, reason: str, remedy: str = "", *, what: str = "") -> None:
        """Halt for `reason`, a short word such as `key_is_not_visitor`.

        The reason is a metric label, so it comes from a fixed set and carries no data;
        `what` is the sentence for people, with the data that explains it.
        """
        super().__init__(what or f"The partition is halted: {reason}.", remedy)
        self.reason = reason


class StateDirectoryError(PosConsumerError):
    """The state directory is not writable, locked, full or not ours."""


class AddressInUse(PosConsumerError):
    """An HTTP endpoint cannot listen because its port is taken."""


class TargetError(PosConsumerError):
    """Adobe Target cannot be reached or used as configured."""


class SandboxError(PosConsumerError):
    """A part of the sandbox did not download, start or answer."""
