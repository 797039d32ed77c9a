-- What a range adds up to, in one snapshot: whole days and hours from the rollups, ragged edges and
-- hours that are marked dirty from the calls themselves.
--   $1 tenant
--   $2 from, $3 first whole hour, $4 first whole day, $5 end of whole days, $6 end of whole hours, $7 to
--   $8 all calls?  $9 agent, $10 workflow, $11 channel, $12 campaign
with dirty as materialized (
    select distinct hour
      from dirty_hour
     where tenant_id = $1 and hour >= $3 and hour < $6
), dirty_day as materialized (
    -- A day with a dirty hour is told by its hours.
    select distinct date_trunc('day', hour, 'UTC') as day
      from dirty
     where hour >= $4 and hour < $5
), sets as materialized (
    select '00000000-0000-0000-0000-000000000000'::uuid as id
     where $8::boolean
    union all
    select id
      from dimension_sets
     where tenant_id = $1
       and not $8
       and ($9::text is null or agent_key = $9)
       and ($10::text is null or workflow_slug = $10 or workflow_id = $10)
       and ($11::text is null or channel = $11)
       and ($12::text is null or campaign = $12)
), raw as materialized (
    select $2::timestamptz as since, $3::timestamptz as until
    union all
    select $6::timestamptz, $7::timestamptz
    union all
    select hour, hour + interval '1 hour' from dirty
)
select r.calls as "calls!", r.completed as "completed!", r.failed as "failed!", r.declined as "declined!",
       r.missed as "missed!", r.ended as "ended!", r.duration_ms as "duration_ms!", r.tokens as "tokens!",
       r.priced as "priced!", r.cost_micro_usd as "cost_micro_usd!", r.digest as "digest!",
       null::text as status, null::text as stt_provider, null::text as llm_provider, null::text as tts_provider
  from sets
  join rollup_day r on r.tenant_id = $1 and r.dimension_set = sets.id
 where r.day >= $4 and r.day < $5
   and r.day not in (select day from dirty_day)
union all
select r.calls, r.completed, r.failed, r.declined, r.missed, r.ended, r.duration_ms, r.tokens, r.priced,
       r.cost_micro_usd, r.digest, null, null, null, null
  from sets
  join rollup_hour r on r.tenant_id = $1 and r.dimension_set = sets.id
 where (r.hour >= $3 and r.hour < $4 or r.hour >= $5 and r.hour < $6)
   and r.hour not in (select hour from dirty)
union all
select r.calls, r.completed, r.failed, r.declined, r.missed, r.ended, r.duration_ms, r.tokens, r.priced,
       r.cost_micro_usd, r.digest, null, null, null, null
  from dirty_day
 cross join sets
  join rollup_hour r
    on r.tenant_id = $1 and r.dimension_set = sets.id
   and r.hour >= dirty_day.day and r.hour < dirty_day.day + interval '1 day'
 where r.hour not in (select hour from dirty)
union all
select 1, 0, 0, 0, 0, (s.duration_ms is not null)::integer, coalesce(s.duration_ms, 0), s.total_tokens,
       (s.cost_micro_usd is not null)::integer, coalesce(s.cost_micro_usd, 0), s.digest,
       s.status, s.stt_provider, s.llm_provider, s.tts_provider
  from raw
  join sessions s on s.tenant_id = $1 and s.started_at >= raw.since and s.started_at < raw.until
 where ($9::text is null or s.agent_key = $9)
   and ($10::text is null or s.workflow_slug = $10 or s.workflow_id = $10)
   and ($11::text is null or s.channel = $11)
   and ($12::text is null or s.campaign = $12)
