"""LiteLLM callbacks that do nothing: what the host's own machinery costs once there is a callback."""

from __future__ import annotations

from typing import Any

from litellm.integrations.custom_logger import CustomLogger


class PreCall(CustomLogger):
    """The least that a router needs: LiteLLM calls only what the class itself defines."""

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: Any
    ) -> None:
        """See CustomLogger."""


class AllCalls(CustomLogger):
    """Every method that the gateway's callback defines."""

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: Any
    ) -> None:
        """See CustomLogger."""

    async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: Any) -> None:
        """See CustomLogger."""

    async def async_post_call_response_headers_hook(
        self,
        data: dict[str, Any],
        user_api_key_dict: Any,
        response: Any,
        request_headers: dict[str, str] | None = None,
        litellm_call_info: dict[str, Any] | None = None,
    ) -> dict[str, str] | None:
        """See CustomLogger."""

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """See CustomLogger."""

    async def async_log_failure_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """See CustomLogger."""


pre_call = PreCall()
all_calls = AllCalls()
