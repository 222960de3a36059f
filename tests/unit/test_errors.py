"""Errors say what happened and what to do, and carry the right exit code."""

from __future__ import annotations

from consumer.errors import (
    NOT_A_KEY,
    UNSET,
    BrokerUnreachable,
    ConfigurationError,
    PartitionHalt,
    PosConsumerError,
    SchemaError,
    TransactionFailed,
)


def test_an_error_reads_as_what_happened_and_the_remedy() -> None:
    """The sentence on stderr is what happened, then what to do."""
    error = BrokerUnreachable("No broker answered.", "Start one.")
    assert str(error) == "No broker answered. Start one."
    assert str(BrokerUnreachable("No broker answered.")) == "No broker answered."


def test_only_a_wrong_configuration_exits_with_78() -> None:
    """Exit code 78 is kept for configuration and its schemas, all else is 1."""
    assert ConfigurationError("a", 1, "b").exit_code == 78
    assert SchemaError("c").exit_code == 78
    others = set(PosConsumerError.__subclasses__()) - {ConfigurationError, SchemaError}
    assert {other.exit_code for other in others} == {1}


def test_errors_say_whether_trying_again_helps() -> None:
    """Only an unreachable broker and a failed transaction are retriable."""
    retriable = {e for e in PosConsumerError.__subclasses__() if e.retriable}
    assert retriable == {BrokerUnreachable, TransactionFailed}


def test_a_configuration_error_names_key_value_and_what_is_allowed() -> None:
    """Each of the three forms is one line that names the key."""
    assert str(ConfigurationError("a.b", "x", "expected y")) == 'a.b = "x": expected y'
    assert str(ConfigurationError("a.b", UNSET, "c")) == "a.b is not set: c"
    assert str(ConfigurationError("a.b", NOT_A_KEY, "c")) == "a.b cannot be set: c"


def test_a_long_value_is_cut_in_the_message() -> None:
    """A message stays readable whatever was configured."""
    assert len(str(ConfigurationError("a", "x" * 10_000, "b"))) < 200


def test_several_configuration_errors_are_one_with_a_line_each() -> None:
    """All problems are said at once, in their order."""
    problems = [ConfigurationError(key, 1, "no") for key in ("a", "b")]
    error = ConfigurationError.of(problems)
    assert str(error).splitlines() == ["a = 1: no", "b = 1: no"]
    assert error.problems == tuple(problems)


def test_a_halt_keeps_its_reason_apart_from_its_sentence() -> None:
    """The reason is fit for a label, the sentence is for people."""
    halt = PartitionHalt("key_is_not_visitor", "Rekey it.", what="Key 7 is not it.")
    assert halt.reason == "key_is_not_visitor"
    assert str(halt) == "Key 7 is not it. Rekey it."
