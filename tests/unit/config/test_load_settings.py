"""Settings come from file, environment and flags, or say everything that is wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from consumer.config import Settings, load_settings
from consumer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

MINIMAL = """
[purchases]
topic = "purchases"
[attributes.orders]
aggregate = "count"
[target]
client = "acme"
"""


def written(folder: Path, toml: str = MINIMAL) -> Path:
    """Write a configuration file."""
    path = folder / "pos-consumer.toml"
    path.write_text(toml, encoding="utf-8")
    return path


def refusal(folder: Path, toml: str, flags: Mapping[str, object] | None = None) -> str:
    """Return what is said about a wrong file."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(written(folder, toml), flags)
    return str(caught.value)


def test_three_keys_are_enough(tmp_path: Path) -> None:
    """Everything but topic, client and attributes has a default that runs."""
    settings = load_settings(written(tmp_path))
    assert settings.kafka.for_consumer() == {"bootstrap.servers": "localhost:9092"}
    assert settings.purchases.start == "earliest"
    assert settings.aggregate.commit_interval == 1.0
    assert settings.aggregate.deduplicate == 86_400
    assert settings.aggregate.memory == 1_000_000_000
    assert settings.target.endpoint == "https://acme.tt.omtrdc.net"
    assert settings.target.batch.max_bytes == 49_000_000
    assert settings.drain_timeout == 25
    assert settings.http.port == 9464


def test_names_are_made_from_the_application(tmp_path: Path) -> None:
    """Topics and groups carry the application's name, unless named themselves."""
    settings = load_settings(
        written(tmp_path, 'application = "shop"\n[state]\ntopic = "kept"\n' + MINIMAL)
    )
    topics = settings.topics
    assert topics.purchases == "purchases"
    assert topics.dead_letters == "shop.dead-letters"
    assert topics.state == "kept"
    assert settings.aggregate_group == "shop-aggregate"
    assert settings.upload_group == "shop-upload"


def test_environment_goes_over_the_file_and_flags_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearer to the operator's hand, the stronger."""
    path = written(tmp_path, MINIMAL + "[http]\nport = 1\nhost = 'a'\n")
    monkeypatch.setenv("POS_CONSUMER__HTTP__PORT", "2")
    monkeypatch.setenv("POS_CONSUMER__TARGET__CLIENT", "other")
    assert load_settings(path).http.port == 2
    settings = load_settings(path, {"http": {"port": 3}})
    assert (settings.http.port, settings.http.host) == (3, "a")
    assert settings.target.client == "other"


def test_the_environment_alone_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container needs no file."""
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "PURCHASES__TOPIC": "till",
        "TARGET__CLIENT": "acme",
        "ATTRIBUTES__ORDERS__AGGREGATE": "count",
        "TARGET__STATUS_HOSTS": ".a.example, .b.example",
        "TARGET__DELIVERY__CONFIRM": "false",
        "KAFKA__SASL_PASSWORD": "hidden",
        "KAFKA__CONSUMER__FETCH_MIN_BYTES": "7",
    }.items():
        monkeypatch.setenv(f"POS_CONSUMER__{name}", value)
    settings = load_settings(None)
    assert settings.topics.purchases == "till"
    assert list(settings.attributes) == ["orders"]
    assert settings.target.status_hosts == (".a.example", ".b.example")
    assert settings.target.delivery.confirm is False
    assert settings.kafka.for_consumer()["fetch.min.bytes"] == "7"
    assert settings.kafka.for_admin()["sasl.password"] == "hidden"
    assert settings.aggregate.state_dir == tmp_path / "state"


def test_an_attribute_is_found_by_the_environment_whatever_its_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables are in capitals, attribute names are as Target wants them."""
    monkeypatch.setenv("POS_CONSUMER__ATTRIBUTES__LASTSTORE__OF", "shop")
    toml = MINIMAL + '[attributes.lastStore]\naggregate = "last"\nof = "store"\n'
    settings = load_settings(written(tmp_path, toml))
    assert settings.attributes["lastStore"].of == "shop"


def test_a_contradiction_of_two_variables_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret given as text and as file names both variables."""
    monkeypatch.setenv("POS_CONSUMER__TARGET__TOKEN", "abc")
    monkeypatch.setenv("POS_CONSUMER__TARGET__TOKEN__FILE", "f")
    said = refusal(tmp_path, MINIMAL)
    assert "POS_CONSUMER__TARGET__TOKEN__FILE" in said
    assert "POS_CONSUMER__TARGET__TOKEN is set too" in said
    assert "abc" not in said


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    """The same file works from any working folder."""
    toml = MINIMAL.replace("[target]", "[target]\ntoken = { file = 'secrets/t' }")
    settings = load_settings(written(tmp_path, toml))
    assert settings.purchases.schemas == tmp_path / "schemas"
    assert settings.aggregate.state_dir == tmp_path / "state"
    assert settings.target.token is not None
    assert settings.target.token.file == tmp_path / "secrets/t"
    absolute = {"aggregate": {"state_dir": "/var/lib/pos"}}
    assert load_settings(written(tmp_path), absolute).aggregate.state_dir == Path(
        "/var/lib/pos"
    )


@pytest.mark.parametrize(
    ("path", "words"),
    [("none.toml", ["none.toml", "docs/configuration.md", "--config"])],
)
def test_a_missing_file_says_how_to_make_one(path: str, words: list[str]) -> None:
    """One sentence names the file and where to copy one from."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(Path(path))
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_without_file_and_environment_the_default_file_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first start tells which file is looked for."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"pos-consumer\.toml"):
        load_settings(None)


def test_the_default_file_is_read_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No flag is needed where the file has its usual name."""
    written(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert load_settings(None).target.client == "acme"


def test_broken_toml_names_the_line(tmp_path: Path) -> None:
    """A syntax error is a sentence with its place."""
    said = refusal(tmp_path, "a = \n")
    assert "pos-consumer.toml" in said
    assert "line 1" in said


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("[htpp]\nport = 1", "`http`"),
        ("[http]\nprot = 1", "`port`"),
        ("[target.batch]\nmax_row = 1", "`max_rows`"),
        ("[attributes.a]\naggregate = 'count'\nwere = 'x'", "`where`"),
    ],
)
def test_an_unknown_key_suggests_the_nearest(
    tmp_path: Path, key: str, nearest: str
) -> None:
    """A typing error is answered with the name that was meant."""
    assert f"did you mean {nearest}?" in refusal(tmp_path, MINIMAL + key)


def test_an_unknown_variable_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelt variable is not silently without effect."""
    monkeypatch.setenv("POS_CONSUMER__TARGET__CLEINT", "x")
    said = refusal(tmp_path, MINIMAL)
    assert "target.cleint (from POS_CONSUMER__TARGET__CLEINT)" in said
    assert "did you mean `client`?" in said


def test_everything_wrong_is_said_at_once_one_line_each(tmp_path: Path) -> None:
    """Nobody has to start twelve times to find twelve errors."""
    said = refusal(tmp_path, "[http]\nport = 70_000\n[log]\nlevel = 'loud'\n")
    keys = [line.split(" ")[0] for line in said.splitlines()]
    assert sorted(keys) == [
        "attributes",
        "http.port",
        "log.level",
        "purchases.topic",
        "target.client",
    ]
    assert "http.port = 70000: expected a whole number from 0 to 65535" in said


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        ("[aggregate]\nmemory = 'lots'", 'aggregate.memory = "lots": expected a size'),
        ("[aggregate]\nmemory = '1MB'", 'aggregate.memory = "1MB": expected a size'),
        ("[aggregate]\ncommit_interval = 'x'", "aggregate.commit_interval = "),
        ("[target.budget]\nreserve = 50", "target.budget.reserve = 50: expected less"),
        ("[target.batch]\nmax_bytes = '50MB'", "target.batch.max_bytes = "),
        ("[profiles]\ntopic = 'purchases'", "profiles = "),
        ("[profiles]\ntopic = 'a b'", 'profiles.topic = "a b": expected letters'),
        ("[state]\ntopic = 'pos-consumer.profiles'", "state = "),
        ("[http]\nhost = ''", "http.host = "),
        ("[log]\nformat = 'xml'", "log.format = "),
    ],
)
def test_a_wrong_value_names_key_value_and_what_is_allowed(
    tmp_path: Path, toml: str, line: str
) -> None:
    """Each wrong value has exactly its own line."""
    said = refusal(tmp_path, MINIMAL + toml)
    assert said.startswith(line)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("endpoint = 'ftp://a'", "target.endpoint"),
        ("endpoint = 'https://user:pw@a'", "target.endpoint"),
        ("endpoint = 'https://a:99999'", "target.endpoint"),
        ("status_hosts = ['omtrdc.net']", "target.status_hosts"),
        ("api = 'v3'", "target.api"),
        ("key = 'ecid'", "target.key"),
    ],
)
def test_a_wrong_target_names_its_key(tmp_path: Path, line: str, key: str) -> None:
    """What cannot be Target's address or account is refused at start."""
    said = refusal(tmp_path, MINIMAL.replace("[target]", f"[target]\n{line}"))
    assert said.startswith(f"{key} = ")


def test_a_wrong_token_is_refused_without_printing_it(tmp_path: Path) -> None:
    """An error masks the value of a secret key."""
    toml = MINIMAL.replace("[target]", "[target]\ntoken = ['abc']")
    said = refusal(tmp_path, toml)
    assert said.startswith('target.token = "***"')
    assert "abc" not in said


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "key = 'other'\nkey_expression = 'x'",
            ["purchases.key_expression", 'key = "other"'],
        ),
        (
            "schemas = 's'\nschema_registry = 'http://r'",
            ["purchases.schemas", "name one of them"],
        ),
        ("start = 'yesterday'", ["purchases.start", "earliest"]),
        ("start = '2026-01-31T00:00'", ["purchases.start", "with its offset"]),
    ],
)
def test_what_this_release_cannot_do_is_refused_with_words(
    tmp_path: Path, line: str, words: list[str]
) -> None:
    """A promise that cannot be kept is not accepted in silence."""
    said = refusal(tmp_path, MINIMAL.replace("[purchases]", f"[purchases]\n{line}"))
    assert all(word in said for word in words)
    assert "\n" not in said


def test_a_registry_takes_the_place_of_the_folder(tmp_path: Path) -> None:
    """Its address alone is enough; the subject is the topic's, by Confluent's rule."""
    line = "[purchases]\nschema_registry = 'http://r:8081/'"
    settings = load_settings(written(tmp_path, MINIMAL.replace("[purchases]", line)))
    assert settings.purchases.schema_registry == "http://r:8081"
    assert settings.purchases.subject == f"{settings.purchases.topic}-value"


def test_start_can_be_a_time(tmp_path: Path) -> None:
    """A time with its offset is understood as text and as TOML's own."""
    expected = datetime(2026, 1, 31, tzinfo=UTC)
    for text in ("'2026-01-31T00:00Z'", "2026-01-31T01:00:00+01:00"):
        toml = MINIMAL.replace("[purchases]", f"[purchases]\nstart = {text}")
        assert load_settings(written(tmp_path, toml)).purchases.start == expected


def test_settings_never_change(tmp_path: Path) -> None:
    """What was validated at start stays as it was."""
    settings = load_settings(written(tmp_path))
    with pytest.raises(ValueError, match="frozen"):
        settings.http.port = 1  # type: ignore[misc]  # that is the point
    assert isinstance(settings, Settings)
