//! One answer of the agent: its stages, whose sum is the silence that the user hears, and what may
//! go wrong in them.

use rand::RngExt;
use serde_json::{Value, json};

use super::Detail;
use super::cast::Model;
use super::dialogue::{Dialogue, tokens};
use super::distributions::{AGENT_WORD_MS, BAD_DAY_FACTOR, HANDOVER, TOKEN_MS, TOOL, speech_ms};
use super::script::{Tool, word_count};

/// Of the answers, how many meet each trouble; assumed.
const RATE_LIMITED: f64 = 0.008;
const LLM_AWAY: f64 = 0.004;
const TTS_AWAY: f64 = 0.004;
const TTS_AWAY_ON_BAD_DAY: f64 = 0.06;
const STT_RECONNECTS: f64 = 0.003;
const TOOL_FAILS: f64 = 0.04;
/// A tool that does not fail at once is given so long.
const TOOL_TIMEOUT_MS: i64 = 3_000;
/// Tokens of a request for a tool.
const TOOL_TOKENS: i64 = 22;
/// Prompts are cached from this length on, in such pieces, as OpenAI's guide has it.
const CACHED_MIN_TOKENS: i64 = 1_024;
const CACHED_PIECE_TOKENS: i64 = 128;

const APOLOGY: &str =
    "I am sorry, our system does not answer right now. I have made a note of it for my colleagues.";

/// The agent answers what the user has just said.
pub fn give(talk: &mut Dialogue, text: &str, tool: Option<&Tool>) {
    let mut turn = json!({"index": talk.next_index(), "speaker": "agent", "finishReason": "stop"});
    let stt_ms = talk.version.stt.first.draw(&mut talk.rng);
    let endpointing_ms = talk.version.endpointing.draw(&mut talk.rng);
    let decided_ms = talk.at_ms + stt_ms + endpointing_ms;
    warn_of_stt(talk);
    let mut asked_ms = decided_ms;
    let mut text = talk.blanks.fill(text);
    if let Some(tool) = tool {
        asked_ms = generate_request(talk, &mut turn, decided_ms);
        let (done_ms, succeeded) = use_tool(talk, tool, asked_ms);
        asked_ms = done_ms;
        if !succeeded && talk.detail == Detail::Full {
            APOLOGY.clone_into(&mut text);
        }
    }
    let (llm, llm_ms) = llm(talk, &mut turn, asked_ms);
    let said_tokens = tokens(&text);
    let llm_total_ms = llm_ms + (said_tokens as f64 * TOKEN_MS) as i64;
    charge(
        talk,
        &mut turn,
        llm,
        (asked_ms, llm_ms, llm_total_ms),
        said_tokens,
    );
    let tts_ms = tts(talk, &mut turn, asked_ms + llm_ms);
    let handover_ms = HANDOVER.draw(&mut talk.rng);
    let start_ms = asked_ms + llm_ms + tts_ms + handover_ms;
    let audio_ms = speech_ms(&mut talk.rng, word_count(&text), AGENT_WORD_MS);
    for (name, ms) in [
        ("sttMs", stt_ms),
        ("endpointingMs", endpointing_ms),
        ("llmMs", llm_ms),
        ("llmTotalMs", llm_total_ms),
        ("ttsMs", tts_ms),
        // Voices are made some four times as fast as they are heard.
        ("ttsTotalMs", tts_ms + audio_ms / 4),
        ("latencyMs", start_ms - talk.at_ms),
    ] {
        turn[name] = ms.into();
    }
    turn["usage"]["ttsCharacters"] = text.len().into();
    talk.hear(&text);
    turn["text"] = text.into();
    talk.play(&mut turn, start_ms, audio_ms);
    talk.turns.push(turn);
}

/// Who generates the answer, and when its first token comes, with all that delays it.
fn llm(talk: &mut Dialogue, turn: &mut Value, asked_ms: i64) -> (Model, i64) {
    let primary = talk.version.llm;
    let first_ms = primary.first.draw(&mut talk.rng);
    if talk.rng.random_bool(RATE_LIMITED) {
        let lost_ms = talk.rng.random_range(400..1_500);
        turn["retries"] = 1.into();
        warn(
            talk,
            "llm",
            primary,
            asked_ms,
            json!({
                "code": "rate_limited", "statusCode": 429, "attempt": 1,
                "retryAfterMs": lost_ms, "costMs": lost_ms,
                "message": "too many requests, trying again",
                "details": {"limit": "requests", "waitedMs": lost_ms},
            }),
        );
        return (primary, first_ms + lost_ms);
    }
    if talk.rng.random_bool(LLM_AWAY) {
        let other = talk.version.stand_in("llm");
        let lost_ms = talk.rng.random_range(1_200..2_500);
        fall_back(talk, turn, ("llm", primary, other), asked_ms, lost_ms);
        return (other, lost_ms + other.first.draw(&mut talk.rng));
    }
    (primary, first_ms)
}

/// When the first audio comes after it was asked for.
fn tts(talk: &mut Dialogue, turn: &mut Value, asked_ms: i64) -> i64 {
    let primary = talk.version.tts;
    let (factor, away) = if talk.is_bad_day {
        (BAD_DAY_FACTOR, TTS_AWAY_ON_BAD_DAY)
    } else {
        (1.0, TTS_AWAY)
    };
    if talk.rng.random_bool(away) {
        let other = talk.version.stand_in("tts");
        let lost_ms = talk.rng.random_range(1_000..2_000);
        fall_back(talk, turn, ("tts", primary, other), asked_ms, lost_ms);
        return lost_ms + other.first.draw(&mut talk.rng);
    }
    primary.first.scaled(factor).draw(&mut talk.rng)
}

fn fall_back(
    talk: &mut Dialogue,
    turn: &mut Value,
    (stage, from, to): (&str, Model, Model),
    at_ms: i64,
    lost_ms: i64,
) {
    turn["providers"][stage] = to.provider.into();
    turn["models"][stage] = to.name.into();
    turn["fallbackFrom"] = format!("{}/{}", from.provider, from.name).into();
    turn["fallbackReason"] = "timeout".into();
    warn(
        talk,
        stage,
        from,
        at_ms,
        json!({
            "code": "timeout", "costMs": lost_ms,
            "message": format!("{} did not answer in time, {} takes over", from.provider, to.provider),
            "details": {"waitedMs": lost_ms, "next": to.provider},
        }),
    );
}

fn warn_of_stt(talk: &mut Dialogue) {
    if talk.rng.random_bool(STT_RECONNECTS) {
        let (model, at_ms) = (talk.version.stt, talk.at_ms);
        warn(
            talk,
            "stt",
            model,
            at_ms,
            json!({
                "code": "connection_reset", "attempt": 1,
                "message": "the stream was cut and has been opened again",
                "details": {"lostAudioMs": 0},
            }),
        );
    }
}

fn warn(talk: &mut Dialogue, service: &str, model: Model, at_ms: i64, mut warning: Value) {
    warning["service"] = service.into();
    warning["level"] = "warning".into();
    warning["provider"] = model.provider.into();
    warning["model"] = model.name.into();
    warning["turn"] = talk.next_index().into();
    warning["atMs"] = at_ms.into();
    talk.errors.push(warning);
}

/// The model first asks for a tool: when it has. Lean calls leave this generation out.
fn generate_request(talk: &mut Dialogue, turn: &mut Value, at_ms: i64) -> i64 {
    if talk.detail == Detail::Lean {
        return at_ms;
    }
    let llm = talk.version.llm;
    let first_ms = at_ms + llm.first.draw(&mut talk.rng);
    let end_ms = first_ms + (TOOL_TOKENS as f64 * TOKEN_MS) as i64;
    turn["llmCalls"] = json!([{
        "startMs": at_ms, "firstTokenMs": first_ms, "endMs": end_ms, "provider": llm.provider,
        "model": llm.name, "promptTokens": talk.context_tokens, "completionTokens": TOOL_TOKENS,
        "cachedTokens": cached(talk.context_tokens), "finishReason": "tool_calls",
    }]);
    talk.context_tokens += TOOL_TOKENS;
    end_ms
}

/// When the tool is done, and whether it did what it should.
fn use_tool(talk: &mut Dialogue, tool: &Tool, start_ms: i64) -> (i64, bool) {
    let fails = talk.rng.random_bool(TOOL_FAILS);
    let took_ms = match fails && talk.rng.random_bool(0.5) {
        true => TOOL_TIMEOUT_MS,
        false => TOOL.draw(&mut talk.rng),
    };
    let end_ms = start_ms + took_ms;
    let mut call = json!({
        "callId": format!("call_{}", talk.tool_calls.len() + 1), "turn": talk.next_index(),
        "name": tool.name, "arguments": talk.blanks.object(tool.arguments),
        "startMs": start_ms, "endMs": end_ms,
    });
    if fails {
        call["error"] = json!({"message": tool.error});
        talk.errors.push(json!({
            "service": "tool", "level": "error", "code": "tool_failed", "message": tool.error,
            "details": {"tool": tool.name, "tookMs": took_ms},
            "turn": talk.next_index(), "atMs": end_ms,
        }));
    } else {
        let result = talk.blanks.object(tool.result);
        talk.context_tokens += tokens(&result.to_string()) + 8;
        call["result"] = result;
    }
    talk.tool_calls.push(call);
    (end_ms, !fails)
}

/// What the answer used; in the list of generations too, where there were two.
fn charge(
    talk: &Dialogue,
    turn: &mut Value,
    llm: Model,
    (asked_ms, first_ms, total_ms): (i64, i64, i64),
    said_tokens: i64,
) {
    let (mut prompt, mut completion) = (talk.context_tokens, said_tokens);
    let mut from_cache = cached(prompt);
    if let Some(calls) = turn.get_mut("llmCalls").and_then(Value::as_array_mut) {
        let of = |name: &str| calls[0][name].as_i64().unwrap_or_default();
        let earlier = (
            of("promptTokens"),
            of("completionTokens"),
            of("cachedTokens"),
        );
        calls.push(json!({
            "startMs": asked_ms, "firstTokenMs": asked_ms + first_ms, "endMs": asked_ms + total_ms,
            "provider": llm.provider, "model": llm.name, "promptTokens": prompt,
            "completionTokens": completion, "cachedTokens": from_cache, "finishReason": "stop",
        }));
        prompt += earlier.0;
        completion += earlier.1;
        from_cache += earlier.2;
    }
    turn["usage"] = json!({
        "promptTokens": prompt, "completionTokens": completion, "cachedTokens": from_cache,
    });
}

fn cached(prompt_tokens: i64) -> i64 {
    if prompt_tokens < CACHED_MIN_TOKENS {
        return 0;
    }
    prompt_tokens / CACHED_PIECE_TOKENS * CACHED_PIECE_TOKENS
}
