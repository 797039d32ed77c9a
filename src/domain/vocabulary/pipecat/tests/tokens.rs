//! Answers that are spoken token by token, as they are generated.

use super::*;

fn spoken(written: &str, spoken: &str) -> String {
    let characters = spoken.chars().count();
    let attributes =
        json!({"text": spoken, "metrics.ttfb": 0.12, "metrics.character_count": characters});
    let events = understood(vec![
        call(20.0),
        exchange("t1", (0.0, 9.0), 1.0, false),
        stt("t1/s1", (0.2, 1.4), "When are you open?"),
        llm("t1/l1", (1.7, 2.4), 0.2, written),
        llm("t1/l2", (1.8, 2.0), 0.1, "yes"),
        span("t1/v1", "tts", (1.9, 3.0), attributes),
    ]);
    said(&events)[1].to_owned()
}

#[test]
fn tokens_are_put_together_as_they_were_generated() {
    let written = "Your appoint\u{ad}ment is at\n9:30, Zoë.  Anything else? ";
    let tokens = "Your  appoint \u{ad} ment  is  at \n 9 : 30 ,  Z o ë .  Anything  else ?";
    assert_eq!(spoken(written, tokens), written.trim());
    // The user has spoken on.
    let until = "Your  appoint \u{ad} ment  is";
    assert_eq!(spoken(written, until), "Your appoint\u{ad}ment is");
    // What is said otherwise than it was written is what was said.
    for said in ["Your appointment  is at half past nine.", "Hello  there."] {
        assert_eq!(spoken(written, said), said);
    }
    assert_eq!(
        spoken("今日は。晴れです。", "今日 は 。 晴れ です 。"),
        "今日は。晴れです。"
    );
}
