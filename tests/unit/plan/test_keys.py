"""Which pairs of visitor and record key keep a visitor in one partition."""

from __future__ import annotations

import pytest

from consumer.errors import ConfigurationError
from consumer.plan.expressions import parse
from consumer.plan.keys import check_one_key

ONE_KEY = [
    ("loyalty_id", "loyalty_id"),
    ("CAST(number AS VARCHAR)", "number"),
    ("'shop-' || loyalty_id", "loyalty_id"),
    ("CONCAT('shop-', loyalty_id, '-1')", "loyalty_id"),
    ("'x' || CAST(number AS VARCHAR)", "number"),
    # A key may be anything that is computed from the visitor alone.
    ("loyalty_id", "LOWER(loyalty_id)"),
    ("loyalty_id", "'tenant-' || loyalty_id"),
    ("LOWER(loyalty_id)", "'tenant-' || LOWER(loyalty_id)"),
]
SEVERAL_KEYS = [
    ("LOWER(loyalty_id)", "loyalty_id"),
    ("TRIM(loyalty_id)", "loyalty_id"),
    ("COALESCE(loyalty_id, email)", "loyalty_id"),
    ("loyalty_id", "customer_id"),
    ("loyalty_id", "'x' || loyalty_id || store_id"),
    ("loyalty_id || store_id", "loyalty_id"),
    ("loyalty_id", "LOWER(customer_id)"),
    ("LOWER(loyalty_id)", "UPPER(loyalty_id)"),
]


@pytest.mark.parametrize(("visitor", "key"), ONE_KEY)
def test_a_key_that_the_visitor_decides_is_taken(visitor: str, key: str) -> None:
    """Two keys never stand for one visitor."""
    check_one_key(parse("v", visitor), parse("k", key))


@pytest.mark.parametrize(("visitor", "key"), SEVERAL_KEYS)
def test_a_key_that_the_visitor_does_not_decide_is_refused(
    visitor: str, key: str
) -> None:
    """The error names the setting and the way out."""
    with pytest.raises(ConfigurationError) as caught:
        check_one_key(parse("v", visitor), parse("k", key))
    assert caught.value.problems[0].key == "purchases.key_expression"
    assert 'key = "other"' in str(caught.value)
