"""`check` judges a configuration from files alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.commands.conftest import CONFIG, run

ROOT = Path(__file__).parents[3]


def test_a_right_configuration_is_said_to_be_right(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0 names the attributes and the schema; secrets need not be there."""
    code, out, err = run(capsys, "--config", config, "check")
    assert (code, err) == (0, "")
    assert "Attributes: revenue;" in out
    assert "Note: target.token: there is no file" in out
    assert "1.avsc" in out


def test_the_plan_is_shown_when_asked_for(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--plan` prints what a batch goes through."""
    _, out, _ = run(capsys, "--config", config, "check", "--plan")
    assert "revenue = sum(total_minor): integer" in out


def test_an_expression_is_checked_against_the_given_schema(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A field that the schema lacks exits 78 and points at the key."""
    schema = tmp_path / "other.avsc"
    text = (ROOT / "schemas" / "purchase.avsc").read_text(encoding="utf-8")
    schema.write_text(text.replace("total_minor", "total"), encoding="utf-8")
    code, _, err = run(capsys, "--config", config, "check", "--schema", schema)
    assert code == 78
    assert err.startswith("pos-consumer: attributes.revenue.of")
    assert "Traceback" not in err


@pytest.mark.parametrize("text", [None, "{", '"string"'])
def test_a_schema_that_is_none_is_one_sentence(
    config: Path,
    tmp_path: Path,
    text: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An absent or broken schema names its file and exits 1."""
    schema = tmp_path / "other.avsc"
    if text is not None:
        schema.write_text(text, encoding="utf-8")
    code, _, err = run(capsys, "--config", config, "check", "--schema", schema)
    assert code == 78
    assert "other.avsc" in err
    assert "Traceback" not in err


def test_a_wrong_librdkafka_option_is_found_without_a_broker(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What librdkafka would refuse at start is said at check."""
    config.write_text(CONFIG + '[kafka]\n"no.such.option" = 1\n', encoding="utf-8")
    code, _, err = run(capsys, "--config", config, "check")
    assert code == 78
    assert 'kafka."no.such.option"' in err


def test_an_empty_schema_folder_is_one_sentence(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without any schema the folder is named."""
    (config.parent / "schemas" / "1.avsc").unlink()
    code, _, err = run(capsys, "--config", config, "check")
    assert code == 78
    assert str(config.parent / "schemas") in err


@pytest.mark.parametrize(("api", "warned"), [("v2", True), ("v1", False)])
def test_ids_of_sites_with_an_experience_cloud_id_need_v1(
    config: Path, capsys: pytest.CaptureFixture[str], api: str, *, warned: bool
) -> None:
    """Whether the site has one is not ours to see, so it is said."""
    text = f'{CONFIG}key = "pcId"\napi = "{api}"\n'
    config.write_text(text, encoding="utf-8")
    code, _, err = run(capsys, "--config", config, "check")
    assert code == 0
    assert ("Experience Cloud ID" in err) is warned
