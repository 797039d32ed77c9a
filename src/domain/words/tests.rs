use proptest::prelude::*;

use super::*;

#[test]
fn words_are_letters_and_digits_in_lower_case() {
    for (text, words) in [
        ("that’s “fine” — thank you…", "that s fine thank you"),
        ("¿Cómo estás?", "cómo estás"),
        ("Co\u{301}mo", "cómo"),
        ("call 555-123-4567", "call 555 123 4567"),
        ("order #A-77 at 3-4pm", "order a 77 at 3 4pm"),
        ("yes/no", "yes no"),
        ("Sure.Let me", "sure let me"),
        ("first word：second", "first word second"),
        ("http://example.com/path?x=1", "http example com path x 1"),
        ("Überweisung MÜLLER", "überweisung müller"),
        ("10\u{A0}000\u{2009}€", "10 000"),
        ("ＦＵＬＬ ｗｉｄｔｈ ﬁne m²", "full width fine m2"),
        ("re\u{AD}fund \u{FEFF}now\u{200B}then", "refund now then"),
        ("ΟΔΟΣ οδος", "οδοσ οδοσ"),
        ("İstanbul", "istanbul"),
        ("м’ята мʼята", "м ята м ята"),
        ("", ""),
        ("?! — ❤\u{FE0F} \u{301}", ""),
    ] {
        assert_eq!(of(text), words, "{text}");
    }
}

#[test]
fn scripts_without_gaps_are_taken_character_by_character() {
    for (text, words) in [
        ("好的，退款。谢谢", "好 的 退 款 谢 谢"),
        ("ｶﾞ退款ABC12元", "ガ 退 款 abc12 元"),
        ("サービス・です", "サ ー ビ ス で す"),
        ("か\u{3099}け\u{309A}", "が け\u{309A}"),
        ("สวัสดี", "ส วั ส ดี"),
        ("ຂອບ", "ຂ ອ ບ"),
        ("ស្រី", "ស\u{17D2} រ\u{17B8}"),
        ("မြ", "မ\u{103C}"),
        ("환불 해주세요", "환불 해주세요"),
    ] {
        assert_eq!(of(text), words, "{text}");
    }
}

#[test]
fn plain_texts_have_no_words_beside_them() {
    for plain in [
        "",
        "Hello there, how are you?",
        "I don't know... (really)! He said \"yes.\" Then: no; 42 apples.\r\n\tBye.",
    ] {
        assert_eq!(beside(plain), None, "{plain}");
    }
    for other in [
        "a.b", "10:30", "a-b", "-1", "a/b", "a@b", "<b>", "&amp;", "a_b", "50%", "don’t", "é",
        "a\u{0}b",
    ] {
        assert_eq!(beside(other), Some(of(other)), "{other}");
    }
}

#[test]
fn words_of_a_long_text_end_somewhere() {
    let words = of(&"\u{FDFA} ".repeat(50_000));
    assert!((WORDS_MAX_BYTES..WORDS_MAX_BYTES + 100).contains(&words.len()));
    assert!(words.ends_with("وسلم"));
    // As many characters as a turn may have, of the most bytes.
    let han: String = (0..100_000)
        .map(|n| char::from_u32(0x20000 + n % 40_000).expect("a character"))
        .collect();
    assert_eq!(of(&han).chars().filter(|c| *c != ' ').count(), 100_000);
}

#[test]
fn questions_keep_their_operators() {
    for (text, question) in [
        ("refund next", r#""refund" "next""#),
        (r#""Next week" -please"#, r#""next week" -"please""#),
        (r#"-"next week""#, r#"-"next week""#),
        (r#"open "to the end"#, r#""open" "to the end""#),
        (r#"a"b c"d"#, r#""a" "b c" "d""#),
        ("that’s", r#""that s""#),
        ("退款", r#""退 款""#),
        ("a OR b", r#""a" or "b""#),
        ("or b", r#""or" "b""#),
        ("a or", r#""a" "or""#),
        ("a or or b", r#""a" or "or" "b""#),
        (r#"a "or" b"#, r#""a" "or" "b""#),
        ("a or ?! b", r#""a" or "b""#),
        ("?! or b", r#""b""#),
        ("a or ?!", r#""a""#),
        ("a - b — c", r#""a" "b" "c""#),
        ("--a", r#"-"a""#),
        ("e-mail 555-123", r#""e mail" "555 123""#),
        ("a & | ! ( ) :* <-> b", r#""a" "b""#),
        ("a\u{3000}b\u{0}c", r#""a" "b c""#),
        ("", ""),
        ("- \" \"\" ' \\", ""),
    ] {
        assert_eq!(Question::asked(text).as_str(), question, "{text}");
    }
}

proptest! {
    #[test]
    fn words_have_the_same_words(text in any::<String>(), letters in "[ -~À-žΑ-ωİı\u{300}-\u{310}\u{2010}-\u{2030}ก-์か-ン\u{3099}一-丐ﷰ-ﷻ]{0,20}") {
        let words = of(&letters);
        prop_assert_eq!(of(&words), words);
        let words = of(&text);
        prop_assert_eq!(of(&words), words);
    }

    #[test]
    fn plain_texts_are_ascii(text in "[ -~\\n]{0,12}") {
        let words = of(&text);
        match beside(&text) {
            Some(beside) => prop_assert_eq!(beside, words),
            None => prop_assert!(text.is_ascii()),
        }
    }

    #[test]
    fn what_was_said_is_found_by_itself(text in "[a-zÀ-ÿ一-丂 .,’-]{0,20}") {
        let question = Question::asked(&format!("\"{text}\""));
        let words = of(&text);
        let expected = if words.is_empty() { words } else { format!("\"{words}\"") };
        prop_assert_eq!(question.as_str(), expected);
    }
}
