//! Which counts of tokens are among which. Most sources count what came from a cache or went into one among
//! the tokens that were read; some count it beside them.

use serde_json::{Map, Value};

const PROMPT: &str = "promptTokens";
const FROM_CACHE: [&str; 2] = ["cachedTokens", "cacheWriteTokens"];

/// How a source counts what came from a cache or went into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Among the tokens that were read.
    Within,
    /// Beside them.
    Beside,
    /// Nobody knows: more of a part than there is of the whole says by itself that the part is beside it.
    Unknown,
}

/// Puts all tokens that were read in the place of those that a source counts as such.
pub fn complete(counts: &mut Map<String, Value>, cache: Cache) {
    let said = |name: &str| counts.get(name).and_then(Value::as_f64);
    let counted = said(PROMPT).unwrap_or_default();
    let from_cache: f64 = FROM_CACHE.into_iter().filter_map(said).sum();
    let is_beside = match cache {
        Cache::Within => false,
        Cache::Beside => true,
        Cache::Unknown => from_cache > counted,
    };
    if is_beside && from_cache > 0.0 {
        let all = (counted + from_cache).round() as u64;
        counts.insert(PROMPT.to_owned(), Value::from(all));
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
}
