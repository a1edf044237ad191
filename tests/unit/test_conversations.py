"""`conversations.py`: which requests belong to one conversation."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway.conversations import begins, conversation_id, session_id
from bsgateway.decision import Caller
from bsgateway.gateway import FORMATS
from shapes import bodies

KEY = Caller(key_hash="key one")
OTHER_KEY = Caller(key_hash="key two")
UUID, OTHER_UUID = "7c0f6a52-55a8-4ae5-8b8e-7f3f0f6f1b11", "0d4be0a8-9be6-4ad1-9df5-d7ab5f4ad1a0"
Body = dict[str, Any]


def chat(*texts: Any, system: str | None = "You help.", **more: Any) -> Body:
    """A chat whose user and assistant take turns."""
    said: list[Body] = [] if system is None else [{"role": "system", "content": system}]
    said += [{"role": "assistant" if index % 2 else "user", "content": text} for index, text in enumerate(texts)]
    return {"model": "auto", "messages": said, **more}


def with_headers(body: Body, **headers: str) -> Body:
    return {
        **body,
        "proxy_server_request": {"headers": {name.replace("_", "-"): value for name, value in headers.items()}},
    }


def chat_id(body: Body, caller: Caller = KEY) -> str | None:
    return conversation_id(body, "acompletion", caller)


def test_the_turns_of_a_conversation_have_one_id() -> None:
    first = chat_id(chat("Sort this list."))
    assert first is not None
    assert len(first) == 32
    assert int(first, 16) >= 0
    assert chat_id(chat("Sort this list.", "Done.", "And backwards?")) == first
    assert chat_id(chat("Sort this list.", "Done.", "And backwards?", "There.", "Thanks")) == first


@pytest.mark.parametrize(
    "other",
    [
        chat("Sort that list."),
        chat("Sort this list.", system="You are rude."),
        chat("Sort this list.", system=None),
        chat("Sort this list. "),
        chat("x", "y", "Sort this list."),
    ],
)
def test_other_beginnings_are_other_conversations(other: Body) -> None:
    assert chat_id(other) != chat_id(chat("Sort this list."))


def test_no_two_keys_share_a_conversation() -> None:
    body = with_headers(chat("Sort this list."), x_session_id=UUID)
    assert chat_id(body, KEY) != chat_id(body, OTHER_KEY)
    assert chat_id(body, Caller()) not in (None, chat_id(body, KEY))


def test_texts_with_the_same_long_beginning_are_told_apart_by_their_length() -> None:
    template = "Classify the text below. " * 200
    assert chat_id(chat(template + "Good.")) != chat_id(chat(template + "Splendid."))


def test_images_are_told_apart() -> None:
    def asks(data: str) -> Body:
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
        return chat([{"type": "text", "text": "What is this?"}, image])

    assert chat_id(asks("iVBORw0KGgo" * 50 + "AAA=")) != chat_id(asks("iVBORw0KGgo" * 50 + "AAB="))
    assert chat_id(asks("iVBO")) == chat_id(asks("iVBO"))


@pytest.mark.parametrize("call_type", sorted(FORMATS))
def test_every_format_has_conversations(call_type: str) -> None:
    def asks(text: str) -> Body:
        return {
            "chat": {"messages": [{"role": "user", "content": text}]},
            "messages": {"messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]},
            "responses": {"input": text},
            "completions": {"prompt": text},
            "generate_content": {"contents": [{"role": "user", "parts": [{"text": text}]}]},
        }[FORMATS[call_type]]

    one, other = (conversation_id(asks(text), call_type, KEY) for text in ("Sort this.", "Sort that."))
    assert None not in (one, other)
    assert one != other


def test_a_text_and_the_same_text_as_a_block_are_one() -> None:
    assert chat_id(chat([{"type": "text", "text": "Sort this."}])) == chat_id(chat("Sort this."))
    items = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Sort this."}]}]
    ids = {conversation_id({"input": given}, "aresponses", KEY) for given in ("Sort this.", items)}
    assert len(ids) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": []},
        {"messages": None},
        {"messages": "Sort this."},
        {"messages": [None, 7, [], {}]},
        {"messages": [{"role": "user"}, {"role": ["user"], "content": "x"}, {"role": "user", "content": 7}]},
        {"messages": [{"role": "user", "content": [None, 7, {"type": ["text"], "text": 3}, {"type": "text"}]}]},
        {"messages": [{"role": "assistant", "content": "Hello!"}]},
        {"messages": [{"role": "user", "content": " \n "}]},
        {"messages": [{"role": "user", "content": "<system-reminder>All is well.</system-reminder>\n"}]},
        {"proxy_server_request": None, "metadata": [], "litellm_metadata": 3, "conversation": {"id": 3}},
        {"prompt": [1, 2, 3]},
    ],
)
@pytest.mark.parametrize("call_type", ["acompletion", "aresponses", "atext_completion", "agenerate_content"])
def test_nothing_to_go_by(body: Body, call_type: str) -> None:
    found = conversation_id(body, call_type, KEY)
    assert found is None or (body == {"messages": "Sort this."} and call_type == "acompletion")


class TestReminders:
    """What an agent puts around the user's words may change from turn to turn."""

    def id_of(self, *texts: str) -> str | None:
        return chat_id(chat([{"type": "text", "text": text} for text in texts]))

    def test_before_the_words(self) -> None:
        plain = self.id_of("Mend the invoice.")
        for reminder in ("Today is Monday.", "Today is Tuesday.", "One <b>and</b> another"):
            block = f"<system-reminder>\n{reminder}\n</system-reminder>\n"
            assert self.id_of(block, "Mend the invoice.") == plain
            assert self.id_of(block + block + "Mend the invoice.") == plain

    def test_behind_the_words(self) -> None:
        ids = {
            self.id_of(f"Mend the invoice.\n<system-reminder>{reminder}</system-reminder>")
            for reminder in ("Monday", "Tuesday, with more words")
        }
        assert len(ids) == 1

    def test_in_a_message_of_their_own(self) -> None:
        context = {"role": "user", "content": "<environment_context>Monday</environment_context>"}
        rules = {
            "role": "user",
            "content": "# AGENTS.md instructions for /src\n\n<INSTRUCTIONS>Be brief</INSTRUCTIONS>",
        }
        body = chat("Mend the invoice.")
        plain = chat_id(body)
        body["messages"][1:1] = [context, rules]
        assert chat_id(body) == plain

    def test_the_context_of_gemini_cli(self) -> None:
        def asks(day: str) -> str | None:
            texts = (f"This is the Gemini CLI. Today is {day}.", "Understood.", "Mend the invoice.")
            contents = [
                {"role": "user" if n % 2 == 0 else "model", "parts": [{"text": t}]} for n, t in enumerate(texts)
            ]
            return conversation_id({"contents": contents}, "agenerate_content", KEY)

        assert asks("Monday") == asks("Tuesday")
        assert asks("Monday") is not None

    def test_a_block_that_never_closes_is_text(self) -> None:
        assert self.id_of("<system-reminder> Mend it.") != self.id_of("<system-reminder> Break it.")

    def test_a_tag_of_the_users_is_text(self) -> None:
        assert self.id_of("<task>Mend it.</task>") != self.id_of("<task>Break it.</task>")


class TestAider:
    """aider puts examples and files before the conversation, with stock answers between them, and has no session id."""

    def id_of(self, *before: str, said: tuple[str, ...] = ("Mend the invoice.",)) -> str | None:
        texts = [text for each in before for text in (each, "Ok.")]
        return chat_id(chat(*texts, *said))

    def test_its_files_do_not_count(self) -> None:
        plain = self.id_of()
        assert self.id_of("Here are summaries of some files present in my git repository.\na.py") == plain
        assert self.id_of("I have *added these files to the chat* so you can edit them.\n\na.py\n1") == plain
        assert self.id_of("Here are some READ ONLY files, provided for your reference.\nb.py") == plain
        assert self.id_of(said=("Mend the invoice.", "Mended.", "Now the test.")) == plain

    def test_nor_do_its_examples(self) -> None:
        switch = "I switched to a new code base. Please don't consider the above files."
        assert self.id_of("Change f to g.", "Refactor h.", switch) == self.id_of()
        assert self.id_of("Change f to g.", switch, said=("Break it.",)) != self.id_of("Change f to g.", switch)


class TestSessionIds:
    @pytest.mark.parametrize(
        "headers",
        [
            {"x_litellm_session_id": UUID},
            {"x_claude_code_session_id": UUID},
            {"x_session_id": UUID, "x_session_affinity": UUID},
            {"x_opencode_session": UUID},
            {"session_id": UUID},
        ],
    )
    def test_in_headers(self, headers: dict[str, str]) -> None:
        assert session_id(with_headers({}, **headers), KEY) == UUID

    @pytest.mark.parametrize("name", ["session_id", "conversation_id"])
    def test_in_headers_of_old_codex(self, name: str) -> None:
        assert session_id({"proxy_server_request": {"headers": {name: UUID}}}, KEY) == UUID

    @pytest.mark.parametrize(
        "user_id",
        [
            f"user_{'a' * 64}_account_{OTHER_UUID}_session_{UUID}",
            f"user_{'a' * 64}_account__session_{UUID}",
            json.dumps({"device_id": "d" * 64, "account_uuid": "", "session_id": UUID}),
            json.dumps({"session_id": UUID, "more": {"deep": [1]}}, indent=2),
        ],
    )
    def test_in_the_user_id_of_claude_code(self, user_id: str) -> None:
        assert session_id({"metadata": {"user_id": user_id}}, KEY) == UUID

    @pytest.mark.parametrize(
        "user_id",
        ["", "someone", "{", "{}", '{"session_id": 7}', '{"session_id": ""}', "[1]", "_session_", 7, None,
         {"session_id": UUID}, "x_session_" + "y" * 2000, '{"session_id": "\ud800"}'],
    )  # fmt: skip
    def test_not_in_another_user_id(self, user_id: Any) -> None:
        assert session_id({"metadata": {"user_id": user_id}}, KEY) is None

    def test_as_litellm_found_it(self) -> None:
        assert session_id({}, Caller(session_id=UUID)) == UUID
        assert session_id({"litellm_metadata": {"session_id": UUID}}, KEY) == UUID
        assert session_id({"metadata": {"session_id": UUID}}, KEY) == UUID

    def test_not_one_that_litellm_made_up(self) -> None:
        for place in ("metadata", "litellm_metadata"):
            metadata = {"session_id": UUID, "litellm_session_id_generated": True}
            assert session_id({place: metadata}, Caller(session_id=UUID)) is None

    def test_not_a_trace_id(self) -> None:
        body = with_headers({"metadata": {"session_id": UUID}}, x_litellm_trace_id=UUID)
        assert session_id(body, Caller(session_id=UUID)) is None
        body = with_headers({}, x_litellm_trace_id=OTHER_UUID, x_session_id=UUID)
        assert session_id(body, Caller(session_id=OTHER_UUID)) == UUID

    def test_of_the_responses_api(self) -> None:
        assert session_id({"prompt_cache_key": UUID}, KEY) == UUID
        assert session_id({"conversation": "conv_1"}, KEY) == "conv_1"
        assert session_id({"conversation": {"id": "conv_1"}}, KEY) == "conv_1"

    def test_a_codex_thread_of_its_own(self) -> None:
        ids = {session_id(with_headers({}, session_id=UUID, thread_id=thread), KEY) for thread in (UUID, OTHER_UUID)}
        assert len(ids) == 2

    def test_an_endless_one_is_none(self) -> None:
        assert session_id(with_headers({}, x_session_id="x" * 10_000), KEY) is None

    def test_a_session_holds_several_threads(self) -> None:
        main = with_headers(chat("Mend the invoice."), x_session_id=UUID)
        agent = with_headers(chat("Find where lines are rounded."), x_session_id=UUID)
        assert chat_id(main) != chat_id(agent)

    def test_the_same_words_in_two_sessions(self) -> None:
        ids = {chat_id(with_headers(chat("Go on."), x_session_id=each)) for each in (UUID, OTHER_UUID)}
        assert len(ids) == 2

    def test_the_system_prompt_may_change_in_a_session(self) -> None:
        ids = {chat_id(with_headers(chat("Go on.", system=each), x_session_id=UUID)) for each in ("One", "Two")}
        assert len(ids) == 1

    def test_the_checksum_in_the_system_prompt_of_claude_code(self) -> None:
        def asks(checksum: str) -> Body:
            header = {"type": "text", "text": f"x-anthropic-billing-header: cc_version=2.1; cch={checksum};"}
            return {
                "system": [header, {"type": "text", "text": "You write programs."}],
                "messages": [{"role": "user", "content": "Mend it."}],
            }

        ids = {conversation_id(asks(checksum), "anthropic_messages", KEY) for checksum in ("1f3a", "9b02")}
        assert len(ids) == 1

    def test_turns_that_bring_their_own_part_only(self) -> None:
        def asks(text: str, **more: Any) -> str | None:
            return conversation_id({"input": text, **more}, "aresponses", KEY)

        assert asks("One", previous_response_id="resp_1") is None
        assert asks("One", conversation="conv_1") == asks("Two", conversation={"id": "conv_1"}) != None  # noqa: E711
        assert asks("One", conversation="conv_1") != asks("One", conversation="conv_2")


@pytest.mark.parametrize(
    ("call_type", "body"),
    [
        ("anthropic_messages", bodies.claude_code()),
        ("acompletion", bodies.opencode()),
        ("acompletion", bodies.aider()),
        ("aresponses", bodies.codex()),
        ("agenerate_content", bodies.gemini_cli()),
    ],
)
def test_each_turn_of_an_agent(call_type: str, body: Body) -> None:
    """Cut off after any of the user's turns, the conversation is the same one."""
    place = next(name for name in ("messages", "input", "contents") if name in body)
    whole = conversation_id(body, call_type, KEY)
    assert whole is not None
    ends = [index for index, turn in enumerate(body[place]) if turn.get("role") == "user"]
    cut = {conversation_id({**body, place: body[place][: end + 1]}, call_type, KEY) for end in ends}
    assert cut - {None} == {whole}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "parts", "id", "user_id"]) | st.text(), inner
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["messages", "input", "prompt", "contents", "system", "instructions", "metadata", "litellm_metadata",
             "proxy_server_request", "previous_response_id", "conversation", "prompt_cache_key"]
        ),
        JSON,
    ),
    st.sampled_from(sorted(FORMATS)),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_any_body_is_taken(body: Body, call_type: str) -> None:
    before = copy.deepcopy(body)
    found = conversation_id(body, call_type, KEY)
    assert found is None or len(found) == 32
    assert begins(body, call_type) in (True, False)
    assert repr(body) == repr(before)


def test_long_bodies_take_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a text of a megabyte only its head is hashed."""
    hashed: list[int] = []
    monkeypatch.setattr(
        "bsgateway.conversations.hashlib.blake2b", lambda data, digest_size: hashed.append(len(data)) or _Hash()
    )
    chat_id(chat(*["word " * 200_000] * 9, system="rule " * 100_000))
    assert hashed[0] < 8_000


class _Hash:
    def hexdigest(self) -> str:
        return "0" * 32


def test_begins() -> None:
    assert begins(chat("Sort this."), "acompletion")
    assert begins({"input": "Sort this."}, "aresponses")
    assert not begins(chat("Sort this.", "Done.", "And that."), "acompletion")
    assert not begins({"input": [{"role": "user", "content": "x"}, {"type": "reasoning"}]}, "aresponses")
    assert not begins({"input": [{"type": "function_call"}, {"type": "function_call_output"}]}, "aresponses")
    assert not begins({"contents": [{"role": "user"}, {"role": "model"}]}, "agenerate_content")
    assert not begins({"input": "More.", "previous_response_id": "resp_1"}, "aresponses")
    assert not begins({"input": "More.", "conversation": "conv_1"}, "aresponses")
    assert not begins({"messages": [{"role": "user", "content": "x"}] * 1000}, "acompletion")
