"""A log of millions of rows, as a month of traffic leaves it, made inside PostgreSQL: `make bench-web`.

Every value comes from a hash of the row's number, so that the same numbers give the same log. Costs are tokens times
the prices below, in US dollars.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from bsgateway.rollups import refresh_all
from bsgateway.store import Store

RARE_EVERY = 250_000
"""One row of so many has the reason `no_candidate`, which a filter has to find."""

# Odd multipliers spread a row's number over 32 bits; `% 1000` and the like then draw from it.
_INSERT = """
WITH drawn AS (
    SELECT
        n,
        $1::timestamptz + (n - $2::bigint) * ($4::interval / ($3::bigint - $2::bigint)) AS moment,
        hashint8(n * 7) & 2147483647 AS a,
        hashint8(n * 11 + 1) & 2147483647 AS b,
        hashint8(n * 13 + 2) & 2147483647 AS c,
        hashint8(n * 17 + 3) & 2147483647 AS d
    FROM generate_series($2::bigint, $3::bigint - 1) n
), rows AS (
    SELECT
        (left(replace(bsg_uuid7_floor(moment)::text, '-', ''), 12) || '7' || lpad(to_hex(n % 4096), 3, '0')
            || '8' || lpad(to_hex(n), 15, '0'))::uuid AS id,
        *,
        a % 101 AS score,
        CASE WHEN a % 101 <= 45 THEN 'simple' WHEN a % 101 <= 80 THEN 'medium' ELSE 'complex' END AS tier,
        -- A few keys make most of the traffic.
        floor({keys} * power((b % 100000) / 100000.0, 3))::int AS key,
        50 + c % 4000 AS prompt_tokens,
        10 + d % 900 AS completion_tokens
    FROM drawn
), priced AS (
    SELECT
        *,
        CASE tier
            WHEN 'simple' THEN 'small' WHEN 'medium' THEN (ARRAY['medium', 'medium-2'])[1 + b % 2]
            ELSE (ARRAY['large', 'large-2', 'large-3'])[1 + b % 3]
        END AS model,
        CASE
            WHEN n % {rare} = 0 THEN 'no_candidate'
            ELSE (ARRAY['score', 'score', 'pattern_score', 'session_kept', 'tool_result', 'cheapest_in_tier',
                        'side_request', 'needs', 'session_up', 'cooling_down'])[1 + d % 10]
        END AS reason,
        CASE tier WHEN 'simple' THEN 0.05 WHEN 'medium' THEN 0.25 ELSE 5.0 END / 1e6 AS price
    FROM rows
), logged AS (
    INSERT INTO routing_logs (
        decision_id, created_at, call_type, method, reason, original_model, resolved_model, tier, complexity_score,
        strategy, confidence, raw_score, bias, contributions, needs, features, feature_version, ask_tokens,
        system_tokens, context_tokens, tool_tokens, tokens_exact, stream, call_id, session_id, key_hash, key_alias,
        team_id, decision_us, token_encoding, applied, conversation_id, expected_cost
    )
    SELECT
        id, moment, 'acompletion', CASE WHEN c % 4 = 0 THEN 'pattern' ELSE 'auto' END, reason, 'auto', model, tier,
        score, CASE WHEN d % 20 = 0 THEN 'ml' ELSE 'static' END, 0.5, score, 0,
        jsonb_build_array(
            jsonb_build_object('signal', 'words', 'value', 40, 'weight', 1, 'points', score / 2.0),
            jsonb_build_object('signal', 'token_count', 'value', 20, 'weight', 1, 'points', score / 4.0),
            jsonb_build_object('signal', 'turns', 'value', 10, 'weight', 1, 'points', score / 4.0)
        ),
        '{{}}', array_fill((a % 100)::real, ARRAY[60]), 3, 40, 400, prompt_tokens, 0, true, b % 2 = 0,
        md5(n::text), 'session-' || n / 6, CASE key WHEN 0 THEN $5 ELSE md5('key' || key) END, 'key-' || key,
        'team-' || key % {teams},
        5 + b % 60, 'o200k_base', true, md5((n / 6)::text), prompt_tokens * price
    FROM priced
), answered AS (
    INSERT INTO routing_outcomes (
        decision_id, completed_at, status, call_id, served_group, served_model, provider, prompt_tokens,
        completion_tokens, cache_read_tokens, cost, baseline_model, baseline_cost, latency_ms, first_token_ms,
        error_class, error_status
    )
    SELECT
        id, moment + interval '2 seconds', CASE WHEN n % 200 = 0 THEN 'failure' ELSE 'success' END, md5(n::text),
        CASE WHEN n % 300 = 1 THEN 'large' ELSE model END, model, 'openai', prompt_tokens, completion_tokens,
        prompt_tokens / 2, CASE WHEN n % 200 <> 0 THEN (prompt_tokens + 4 * completion_tokens) * price END, 'large',
        CASE WHEN n % 200 <> 0 THEN (prompt_tokens + 4 * completion_tokens) * 5e-6 END,
        200 + c % 9000, 50 + d % 900,
        CASE WHEN n % 200 = 0 THEN (ARRAY['RateLimitError', 'Timeout', 'APIConnectionError'])[1 + a % 3] END,
        CASE WHEN n % 200 = 0 THEN 500 END
    FROM priced
)
INSERT INTO routing_texts (decision_id, created_at, ask, system, redacted)
SELECT id, moment, 'What is ' || n || ' plus ' || a || '?', 'You help.', true FROM priced WHERE n % 50 = 0
"""

Said = Callable[[str, int, int], None]


async def seed(dsn: str, rows: int, until: datetime, days: int, keys: int, teams: int, busiest: str, say: Said) -> None:
    """Fill the database at `dsn` with `rows` decisions of the `days` before `until`, and add them up. `busiest` is the
    hash of the key that makes most of them. `say` is told what is being done, how much of it, and of how much."""
    since = until - timedelta(days=days)
    query = _INSERT.format(keys=keys, teams=teams, rare=RARE_EVERY)
    async with await Store.connect(dsn) as store:
        await store.migrate("week")
        await store.make_partitions(since, until, "week")
        per_day = rows // days
        async with store.acquire() as connection:
            await connection.execute("SET synchronous_commit = off; SET maintenance_work_mem = '256MB'")
            for day in range(days):
                first, after = day * per_day, (day + 1) * per_day
                start = since + timedelta(days=day)
                await connection.execute(query, start, first, after, timedelta(days=1), busiest, timeout=600)
                say("rows", after, per_day * days)
            await connection.execute("VACUUM ANALYZE routing_logs, routing_outcomes, routing_texts", timeout=1200)
        await refresh_all(store, None, lambda done, left: say("hours added up", done, done + left), seconds=3600)
        async with store.acquire() as connection:
            tables = "routing_rollups, routing_key_rollups, routing_histograms, routing_rollup_marks"
            await connection.execute(f"VACUUM ANALYZE {tables}", timeout=600)
