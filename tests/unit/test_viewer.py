"""Who looks at the pages."""

from __future__ import annotations

import pytest
from litellm.proxy._types import LitellmUserRoles, UserAPIKeyAuth

from bsgateway.decision import MASTER_KEY
from bsgateway.outcome import MAX_TEXT
from bsgateway.web.problems import RequestError
from bsgateway.web.viewer import Viewer, viewer_of


def test_a_key_that_the_log_cuts_is_no_key_of_its_own() -> None:
    # Long tokens of one issuer begin alike; LiteLLM hashes those that begin with `sk-`, and JWTs.
    for length in (MAX_TEXT, MAX_TEXT + 1, 4_000):
        with pytest.raises(RequestError) as refused:
            viewer_of(UserAPIKeyAuth(api_key="x" * length))
        assert refused.value.status == 403
    assert viewer_of(UserAPIKeyAuth(api_key="x" * (MAX_TEXT - 1))).only == "x" * (MAX_TEXT - 1)
    assert viewer_of(UserAPIKeyAuth(api_key="sk-" + "x" * 4_000)).only is not None
    admin = UserAPIKeyAuth(api_key="x" * 4_000, user_role=LitellmUserRoles.PROXY_ADMIN)
    assert viewer_of(admin).only is None


@pytest.mark.parametrize("key", [None, ""])
def test_who_has_no_key_is_nobody(key: str | None) -> None:
    for role in (None, LitellmUserRoles.INTERNAL_USER, LitellmUserRoles.TEAM, LitellmUserRoles.ORG_ADMIN):
        with pytest.raises(RequestError) as refused:
            viewer_of(UserAPIKeyAuth(api_key=key, user_role=role))
        assert refused.value.status == 403


def test_a_session_of_litellm_is_known_by_a_name_that_others_may_have() -> None:
    with pytest.raises(RequestError):
        viewer_of(UserAPIKeyAuth(api_key="sk-1", key_alias="cli-alice", is_session_token=True))


def test_the_master_key_is_called_so() -> None:
    assert Viewer(admin=True, may_write=True, key_hash=MASTER_KEY).name == "master key"
    assert Viewer(admin=True, may_write=True, key_hash="f" * 64).name == "f" * 12
