//! The one rule by which a range of calls is read: whole days and hours from the rollups, ragged edges
//! and hours that are marked dirty from the calls themselves, in one snapshot.

/// Selects columns (a literal) of `told`, and goes on with `rest` (a literal: `where`, `group by`). `told`
/// has the rows that a range of calls is told by, given as a [`Window`](crate::domain::analytics::Window)
/// and the [`Cover`](crate::domain::analytics::Cover) of it. A row is a day, an hour, or a single call
/// (`is_call`, and `is_outside` where it is to be taken away), `at` its beginning. Further parameters count from `$14`.
///
/// `apart` has the dimensions that must be told apart, a bit each.
///
/// What is rolled up is told by literals: which marks speak of it, the sets that are read (by their `id`)
/// and their columns in `told`, the tables by day and hour with their columns, what single calls have in
/// place of these, and of a single call `s` everything, joined with what else it takes.
macro_rules! rolled_up {
    (
        $row:ty, $scope:expr, ($window:expr, $cover:expr), ($all:expr, $dimensions:expr, $apart:expr),
        marks: $marks:literal, sets: $sets:literal, named: $named:literal,
        day: $day:literal, hour: $hour:literal, sums: $sums:literal,
        call: $call:literal, joined: $joined:literal,
        $columns:literal, $rest:literal $(, $argument:expr)*
    ) => {
        sqlx::query_as!(
            $row,
            "with dirty as materialized (
                select hour
                  from dirty_hour
                 where tenant_id = $1 and hour >= $3 and hour < $6 " + $marks + "
                 union
                -- What an hour does not tell apart, its calls do.
                select at
                  from rollup_folds
                 where tenant_id = $1 and not is_day and at >= $3 and at < $6
                   and dimensions & $13::smallint <> 0
            ), dirty_day as materialized (
                -- A day with a dirty hour is told by its hours.
                select date_trunc('day', hour, 'UTC') as day
                  from dirty
                 where hour >= $4 and hour < $5
                 union
                select at
                  from rollup_folds
                 where tenant_id = $1 and is_day and at >= $4 and at < $5
                   and dimensions & $13::smallint <> 0
            ), sets as materialized (" + $sets + "
            ), hours as materialized (
                -- Before and behind the whole days. As rows of a table, so that each is a range of the index.
                select $3::timestamptz as since, $4::timestamptz as until
                union all
                select $5::timestamptz, $6::timestamptz
            ), raw as materialized (
                -- Hours may go beyond the range: then what lies outside is told to be taken away.
                select least($2::timestamptz, $3::timestamptz) as since, greatest($2::timestamptz, $3::timestamptz) as until,
                       $3::timestamptz < $2::timestamptz as is_outside
                union all
                select least($6::timestamptz, $7::timestamptz), greatest($6::timestamptz, $7::timestamptz),
                       $7::timestamptz < $6::timestamptz
                union all
                select hour, hour + interval '1 hour', false from dirty
            ), told as (
                select r.day as at, false as is_call, false as is_outside, " + $named + ", " + $sums + "
                  from sets
                  join " + $day + " r on r.tenant_id = $1 and r.dimension_set = sets.id
                 where r.day >= $4 and r.day < $5
                   and r.day not in (select day from dirty_day)
                union all
                select r.hour, false, false, " + $named + ", " + $sums + "
                  from sets
                 cross join hours
                  join " + $hour + " r
                    on r.tenant_id = $1 and r.dimension_set = sets.id
                   and r.hour >= hours.since and r.hour < hours.until
                 where r.hour not in (select hour from dirty)
                union all
                select r.hour, false, false, " + $named + ", " + $sums + "
                  from dirty_day
                 cross join sets
                  join " + $hour + " r
                    on r.tenant_id = $1 and r.dimension_set = sets.id
                   and r.hour >= dirty_day.day and r.hour < dirty_day.day + interval '1 day'
                 where r.hour not in (select hour from dirty)
                union all
                select s.started_at, true, raw.is_outside, " + $call + "
                  from raw
                  -- As of an average tenant: of one that is new to it Postgres expects a single call.
                  join sessions s
                    on s.tenant_id = (select $1::uuid) and s.started_at >= raw.since and s.started_at < raw.until
                  " + $joined + "
                 where ($9::text is null or s.agent_key = $9)
                   and ($10::text is null or s.workflow_slug = $10 or s.workflow_id = $10)
                   and ($11::text is null or s.channel = $11)
                   and ($12::text is null or s.campaign = $12)
                   -- Always so, and in no index: without it, where few columns are asked for, all of an index that
                   -- happens to hold them is read instead of the few calls by their start.
                   and s.turn_count >= 0
            ) select " + $columns + " from told " + $rest,
            $scope.tenant.0,
            $window.from,
            $cover.hours_from,
            $cover.days_from,
            $cover.days_to,
            $cover.hours_to,
            $window.to,
            $all,
            $dimensions.agent_key.as_deref(),
            $dimensions.workflow.as_deref(),
            $dimensions.channel.as_deref(),
            $dimensions.campaign.as_deref(),
            $apart,
            $($argument,)*
        )
    };
}

/// What calls add up to by themselves. With `all` the sums of all calls are read; without, those of every
/// combination that fits.
macro_rules! over_range {
    ($row:ty, $scope:expr, ($window:expr, $cover:expr), ($all:expr, $dimensions:expr, $apart:expr), $columns:tt, $rest:tt $(, $argument:expr)*) => {
        $crate::store::analytics::range::rolled_up!(
            $row, $scope, ($window, $cover), ($all, $dimensions, $apart),
            marks: "and not of_analysis",
            sets: "
                select '00000000-0000-0000-0000-000000000000'::uuid as id,
                       null::text as workflow_id, null::text as workflow_slug, null::text as workflow_name
                 where $8::boolean
                union all
                select id, workflow_id, workflow_slug, workflow_name
                  from dimension_sets
                 where tenant_id = $1
                   and not $8
                   and ($9::text is null or agent_key = $9)
                   and ($10::text is null or workflow_slug = $10 or workflow_id = $10)
                   and ($11::text is null or channel = $11)
                   and ($12::text is null or campaign = $12)",
            named: "sets.workflow_id, sets.workflow_slug, sets.workflow_name",
            day: "rollup_day",
            hour: "rollup_hour",
            sums: "r.calls, r.completed, r.failed, r.declined, r.missed, r.ended, r.duration_ms, r.tokens, r.priced,
                       r.cost_micro_usd, r.last_started_at, r.digest,
                       null::text as stt_provider, null::text as llm_provider, null::text as tts_provider",
            call: "s.workflow_id, s.workflow_slug, s.workflow_name,
                       1::bigint, (s.status = 'completed')::integer::bigint, (s.status = 'failed')::integer::bigint,
                       (s.status = 'declined')::integer::bigint, (s.status = 'missed')::integer::bigint,
                       (s.duration_ms is not null)::integer::bigint, coalesce(s.duration_ms, 0), s.total_tokens,
                       (s.cost_micro_usd is not null)::integer::bigint, coalesce(s.cost_micro_usd, 0),
                       s.started_at, s.digest, s.stt_provider, s.llm_provider, s.tts_provider",
            joined: "",
            $columns, $rest $(, $argument)*
        )
    };
}

/// What analyses found. With `all` agents' sums are read (of one agent, if one is asked for); without,
/// those of every combination that fits.
macro_rules! found_over_range {
    ($row:ty, $scope:expr, ($window:expr, $cover:expr), ($all:expr, $dimensions:expr, $apart:expr), $columns:tt, $rest:tt $(, $argument:expr)*) => {
        $crate::store::analytics::range::rolled_up!(
            $row, $scope, ($window, $cover), ($all, $dimensions, $apart),
            marks: "",
            sets: "
                select id, agent_key
                  from agent_sets
                 where tenant_id = $1
                   and $8::boolean
                   and ($9::text is null or agent_key = $9)
                union all
                select id, agent_key
                  from dimension_sets
                 where tenant_id = $1
                   and not $8
                   and ($9::text is null or agent_key = $9)
                   and ($10::text is null or workflow_slug = $10 or workflow_id = $10)
                   and ($11::text is null or channel = $11)
                   and ($12::text is null or campaign = $12)",
            named: "sets.agent_key",
            day: "analysis_day",
            hour: "analysis_hour",
            sums: "r.calls, r.causes, r.conduct, r.stages,
                       null::bigint as agent_turns, null::float8 as score, null::text as interruptions,
                       null::text as issues,
                       null::text as stt_provider, null::text as llm_provider, null::text as tts_provider",
            call: "s.agent_key,
                       (a.session_id is not null)::integer::bigint, a.causes, a.conduct, s.digest,
                       a.agent_turns::bigint, a.score, case when a.conduct is null then a.interruptions end,
                       -- Only of what was kept before sums were.
                       case when a.causes is null and s.has_issues then (
                           select json_agg(json_build_array(i.type, i.stage, i.provider, i.severity = 'critical',
                                                            i.occurrences, i.impact_ms))::text
                             from session_issues i
                            where i.tenant_id = s.tenant_id and i.session_id = s.id
                       ) end,
                       s.stt_provider, s.llm_provider, s.tts_provider",
            joined: "-- One by one: whatever the planner thinks of the number of calls, all analyses are never read.
                  left join lateral (
                      select session_id, causes, conduct, agent_turns, score, interruptions
                        from session_analyses
                       where tenant_id = s.tenant_id and session_id = s.id
                      offset 0
                  ) a on true",
            $columns, $rest $(, $argument)*
        )
    };
}

pub(in crate::store) use {found_over_range, over_range, rolled_up};
