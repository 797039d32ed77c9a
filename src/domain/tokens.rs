//! Counts of tokens: what each is called, and which are among which. Most sources count what came from a cache or went
//! into one among the tokens that were read; some count it beside them.

use serde_json::{Map, Value};

const PROMPT: &str = "promptTokens";
const COMPLETION: &str = "completionTokens";
const FROM_CACHE: [&str; 2] = ["cachedTokens", "cacheWriteTokens"];
const AUDIO: &str = "audioTokens";
const AUDIO_OUTPUT: &str = "audioOutputTokens";
/// Only said to tell what is among what.
const REASONING: &str = "reasoningTokens";
const TOTAL: &str = "totalTokens";

/// One sort of count.
pub struct Count {
    pub name: &'static str,
    /// What Langfuse and OpenAI call it, of an observation; the first is its name there.
    pub observed: &'static [&'static str],
    /// Attributes of spans that tell it: OpenTelemetry's conventions of today and before, OpenInference's, and what
    /// applications write.
    pub attributes: &'static [&'static str],
}

/// Every session and every observation is read by this table, so that one generation has one usage.
pub const COUNTS: [Count; 9] = [
    Count {
        name: PROMPT,
        observed: &["input"],
        attributes: &[
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.prompt_tokens",
            "llm.token_count.prompt",
            "tokens.prompt",
        ],
    },
    Count {
        name: COMPLETION,
        observed: &["output"],
        attributes: &[
            "gen_ai.usage.output_tokens",
            "gen_ai.usage.completion_tokens",
            "llm.token_count.completion",
            "tokens.completion",
        ],
    },
    Count {
        name: "cachedTokens",
        observed: &[
            "input_cached_tokens",
            "input_cache_read",
            "cache_read_input_tokens",
        ],
        attributes: &[
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_read_input_tokens",
            "gen_ai.usage.input_cached_tokens",
            "llm.token_count.prompt_details.cache_read",
            "ai.usage.cachedInputTokens",
        ],
    },
    Count {
        name: "cacheWriteTokens",
        observed: &["input_cache_creation", "cache_creation_input_tokens"],
        attributes: &[
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
            "gen_ai.usage.cache_write.input_tokens",
            "llm.token_count.prompt_details.cache_write",
        ],
    },
    Count {
        name: AUDIO,
        observed: &["input_audio_tokens", "input_audio"],
        attributes: &[
            "gen_ai.usage.audio.input_tokens",
            "gen_ai.usage.input_audio_tokens",
            "llm.token_count.prompt_details.audio",
        ],
    },
    Count {
        name: CACHED_AUDIO,
        observed: &["input_cached_audio_tokens"],
        attributes: &["gen_ai.usage.audio.cache_read.input_tokens"],
    },
    Count {
        name: AUDIO_OUTPUT,
        observed: &["output_audio_tokens", "output_audio"],
        attributes: &[
            "gen_ai.usage.audio.output_tokens",
            "gen_ai.usage.output_audio_tokens",
            "llm.token_count.completion_details.audio",
        ],
    },
    Count {
        name: REASONING,
        observed: &["output_reasoning_tokens", "output_reasoning"],
        attributes: &[
            "gen_ai.usage.reasoning.output_tokens",
            "gen_ai.usage.reasoning_tokens",
            "llm.token_count.completion_details.reasoning",
        ],
    },
    Count {
        name: TOTAL,
        observed: &["total"],
        attributes: &["gen_ai.usage.total_tokens", "llm.token_count.total"],
    },
];

/// Counts that the APIs of providers call otherwise than Langfuse, whose clients hand on what they were told.
const NAMES: [(&str, &str); 24] = [
    ("promptTokens", "input"),
    ("prompt_tokens", "input"),
    ("input_tokens", "input"),
    ("prompt_token_count", "input"),
    ("completionTokens", "output"),
    ("completion_tokens", "output"),
    ("output_tokens", "output"),
    ("candidates_token_count", "output"),
    ("totalTokens", "total"),
    ("total_tokens", "total"),
    ("total_token_count", "total"),
    ("cached_content_token_count", "input_cached_tokens"),
    ("thoughts_token_count", "output_reasoning"),
    // Gemini's, Bedrock's and Vercel's AI SDK in JavaScript.
    ("promptTokenCount", "input"),
    ("inputTokens", "input"),
    ("candidatesTokenCount", "output"),
    ("outputTokens", "output"),
    ("totalTokenCount", "total"),
    ("cachedContentTokenCount", "input_cached_tokens"),
    ("cachedInputTokens", "input_cached_tokens"),
    ("cacheReadInputTokens", "cache_read_input_tokens"),
    ("cacheWriteInputTokens", "cache_creation_input_tokens"),
    ("thoughtsTokenCount", "output_reasoning"),
    ("reasoningTokens", "output_reasoning"),
];
/// Counts within counts, and what their names begin with in Langfuse.
const DETAILS: [(&str, &str); 7] = [
    ("prompt_tokens_details", "input_"),
    ("input_tokens_details", "input_"),
    ("input_token_details", "input_"),
    ("cached_tokens_details", "input_cached_"),
    ("completion_tokens_details", "output_"),
    ("output_tokens_details", "output_"),
    ("output_token_details", "output_"),
];

/// What an observation used, by the names of Langfuse, whichever API counted it. A count that is told under both its
/// names is what Langfuse's says.
pub fn observed(usage: &Map<String, Value>) -> Map<String, Value> {
    let mut counts = Map::new();
    flatten(usage, "", &mut counts);
    for (theirs, ours) in NAMES {
        if let Some(count) = counts.remove(theirs) {
            counts.entry(ours).or_insert(count);
        }
    }
    counts
}

/// Numbers, those within others under a name for both. No API has more than one of them within another.
fn flatten(usage: &Map<String, Value>, prefix: &str, counts: &mut Map<String, Value>) {
    for (name, value) in usage {
        let within = DETAILS.iter().find(|(detail, _)| detail == name);
        match (within, value) {
            (Some((_, prefix)), Value::Object(members)) => flatten(members, prefix, counts),
            (None, Value::Number(_)) => {
                counts.insert(format!("{prefix}{name}"), value.clone());
            }
            _ => {}
        }
    }
}

/// Of which a source also says that there were none.
pub const CACHED_AUDIO: &str = "cachedAudioTokens";

/// The names of what is used: of all counts but those that only tell how others are meant.
pub fn names() -> impl Iterator<Item = &'static str> {
    let names = COUNTS.iter().map(|count| count.name);
    names.filter(|name| ![REASONING, TOTAL].contains(name))
}

/// How a source counts what came from a cache or went into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Among the tokens that were read.
    Within,
    /// Beside them.
    Beside,
    /// Nobody knows, unless a total tells which parts are beside what they are parts of. More of a part than there is of
    /// the whole says by itself that the part is beside it.
    Unknown,
}

/// Puts all tokens that were read, and all that were written, in the place of those that a source counts as such. What
/// only tells how others are meant is left out then.
pub fn complete(counts: &mut Map<String, Value>, cache: Cache) {
    let total = counts.remove(TOTAL).and_then(|total| total.as_f64());
    let reasoning = counts.remove(REASONING).and_then(|count| count.as_f64());
    let said = |name: &str| counts.get(name).and_then(Value::as_f64);
    let count = |name: &str| said(name).unwrap_or_default();
    let counted = (count(PROMPT), count(COMPLETION));
    let from_cache: f64 = FROM_CACHE.into_iter().filter_map(said).sum();
    let read_beside = counted.0 + from_cache + count(AUDIO);
    let written_beside = counted.1 + count(AUDIO_OUTPUT) + reasoning.unwrap_or_default();
    let (mut read, written) = match (cache, total) {
        (Cache::Unknown, Some(total)) => {
            let ways = [
                counted,
                (read_beside, written_beside),
                (read_beside, counted.1),
                (counted.0, written_beside),
            ];
            let is_meant = |(read, written): &(f64, f64)| total > 0.0 && read + written == total;
            ways.into_iter().find(is_meant).unwrap_or(counted)
        }
        _ => counted,
    };
    let is_beside = match cache {
        Cache::Within => false,
        Cache::Beside => true,
        Cache::Unknown => from_cache > read,
    };
    if is_beside {
        read += from_cache;
    }
    for (name, before, all) in [(PROMPT, counted.0, read), (COMPLETION, counted.1, written)] {
        if all > before {
            counts.insert(name.to_owned(), Value::from(all.round() as u64));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn prompt(mut counts: Value, cache: Cache) -> Value {
        complete(counts.as_object_mut().expect("counts"), cache);
        counts.get(PROMPT).cloned().unwrap_or_default()
    }

    #[test]
    fn a_part_that_is_more_than_the_whole_stands_beside_it() {
        let within = json!({"promptTokens": 100, "cachedTokens": 40});
        assert_eq!(prompt(within.clone(), Cache::Unknown), 100);
        assert_eq!(prompt(within, Cache::Beside), 140);
        let beside = json!({"promptTokens": 10, "cachedTokens": 5_000});
        assert_eq!(prompt(beside.clone(), Cache::Unknown), 5_010);
        assert_eq!(prompt(beside, Cache::Within), 10);
        let written = json!({"promptTokens": 10, "cachedTokens": 6, "cacheWriteTokens": 400});
        assert_eq!(prompt(written, Cache::Unknown), 416);
        assert_eq!(
            prompt(json!({"cachedTokens": 5_000}), Cache::Unknown),
            5_000
        );
        assert_eq!(
            prompt(json!({"completionTokens": 7}), Cache::Beside),
            Value::Null
        );
    }

    #[test]
    fn every_api_s_counts_have_one_name() {
        let observed = |usage: Value| Value::from(observed(usage.as_object().expect("usage")));
        let counts = json!({"input": 90, "input_cached_tokens": 40, "output": 10, "output_reasoning_tokens": 4, "total": 100});
        let chat = json!({"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100,
            "prompt_tokens_details": {"cached_tokens": 40, "audio_tokens": null},
            "completion_tokens_details": {"reasoning_tokens": 4}});
        assert_eq!(observed(chat), counts);
        let responses = json!({"input_tokens": 90, "output_tokens": 10, "total_tokens": 100,
            "input_tokens_details": {"cached_tokens": 40}, "output_tokens_details": {"reasoning_tokens": 4}});
        assert_eq!(observed(responses), counts);
        let realtime = json!({"input_tokens": 90, "input_token_details": {"audio_tokens": 80, "cached_tokens": 40,
            "cached_tokens_details": {"audio_tokens": 30}}});
        let heard = json!({"input": 90, "input_audio_tokens": 80, "input_cached_tokens": 40, "input_cached_audio_tokens": 30});
        assert_eq!(observed(realtime), heard);
        let gemini = json!({"prompt_token_count": 90, "candidates_token_count": 10, "thoughts_token_count": 4, "total_token_count": 104});
        let thought = json!({"input": 90, "output": 10, "output_reasoning": 4, "total": 104});
        assert_eq!(observed(gemini), thought.clone());
        let camel = json!({"promptTokenCount": 90, "candidatesTokenCount": 10, "thoughtsTokenCount": 4, "totalTokenCount": 104});
        assert_eq!(observed(camel), thought);
        let twice = json!({"prompt_tokens": 1, "input": 90, "cost": "0.1", "tools": {"calls": 2}});
        assert_eq!(observed(twice), json!({"input": 90}));
    }

    #[test]
    fn a_total_tells_what_is_beside_what() {
        let read = |mut counts: Value, cache: Cache| {
            let counts = counts.as_object_mut().expect("counts");
            complete(counts, cache);
            assert!(!counts.contains_key(TOTAL) && !counts.contains_key(REASONING));
            [PROMPT, COMPLETION].map(|name| counts.get(name).and_then(Value::as_u64))
        };
        let both = |read, written| [Some(read), Some(written)];
        let cached = |total: u64| json!({"promptTokens": 1000, "completionTokens": 100, "cachedTokens": 500, "totalTokens": total});
        assert_eq!(read(cached(1_600), Cache::Unknown), both(1_500, 100));
        assert_eq!(read(cached(1_100), Cache::Unknown), both(1_000, 100));
        // A total that nothing adds up to tells nothing, and none is asked for where the source is known.
        assert_eq!(read(cached(7), Cache::Unknown), both(1_000, 100));
        assert_eq!(read(cached(1_600), Cache::Within), both(1_000, 100));
        let reasoned = json!({"promptTokens": 1000, "completionTokens": 100, "reasoningTokens": 400, "totalTokens": 1500});
        assert_eq!(read(reasoned, Cache::Unknown), both(1_000, 500));
        let all_cached = json!({"cachedTokens": 500, "completionTokens": 100, "totalTokens": 600});
        assert_eq!(read(all_cached, Cache::Unknown), both(500, 100));
        assert_eq!(read(json!({"totalTokens": 600}), Cache::Unknown), [None; 2]);
    }
}
