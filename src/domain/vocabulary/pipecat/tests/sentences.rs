//! Answers of which syntheses kept less than they were given.

use super::*;

/// A call whose answer was generated so, and spoken by syntheses that kept this and follow each other so closely.
fn kept(llm: Gist, said: &[&str], apart: f64) -> Vec<Event> {
    let mut gists = vec![
        call(30.0),
        exchange("t1", (0.0, 12.0), 1.1, false),
        stt("t1/s1", (0.5, 2.3), "Tell me all."),
        llm,
    ];
    for (place, text) in said.iter().enumerate() {
        let from = 2.9 + apart * place as f64;
        let attributes =
            json!({"text": text, "metrics.character_count": text.len(), "metrics.ttfb": 0.1});
        let id = format!("t1/v{place}");
        gists.push(span(&id, "tts", (from, from + 0.4), attributes));
    }
    understood(gists)
}

#[test]
fn an_answer_of_which_a_synthesis_kept_the_last_sentence_is_all_of_it() {
    let all = "Here is the first. Here is\nthe second!  And a third. ";
    let generated = || llm("t1/l1", (2.6, 2.9), 0.15, all);
    let answer = |said: &[&str], later: f64| {
        let events = kept(generated(), said, later);
        let turns = of(&events, Kind::Turn);
        let counted = of(&events, Kind::Session)[0]["usage"]["ttsCharacters"].clone();
        (turns[1]["text"].clone(), counted.as_u64())
    };
    let whole = (json!(all.trim()), Some(52));
    assert_eq!(answer(&["And a third."], 0.0), whole);
    let cut = "Here is the first. Here is\nthe second!";
    assert_eq!(
        answer(&["Here is\nthe second!"], 0.0),
        (json!(cut), Some(38))
    );
    // What an application says by itself is said beside it.
    let prompted = json!(format!("{} Are you there?", all.trim()));
    assert_eq!(answer(&["And a third.", "Are you there?"], 4.0).0, prompted);
    // Each sentence has a span, though the words of one were written otherwise.
    let each = ["Here is the 1st.", "And a third."];
    assert_eq!(answer(&each, 0.2), (json!(each.join(" ")), Some(28)));
    // What is no sentence of it, and what all of it begins with.
    for said in ["third.", "Something else.", "Here is the first."] {
        assert_eq!(answer(&[said], 0.0).0, json!(said));
    }
}

#[test]
fn where_syntheses_keep_all_they_were_given_nothing_is_added() {
    let attributes =
        json!({"output": "Not aloud. Aloud.", "gen_ai.usage.reasoning.output_tokens": 0});
    let llm = span("t1/l1", "llm", (2.6, 2.9), attributes);
    let events = kept(llm, &["Aloud."], 0.0);
    assert_eq!(said(&events)[1], "Aloud.");
}
