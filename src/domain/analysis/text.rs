//! Texts as the rules compare them: words without case, marks and tags, and how alike two texts are.

use super::targets::Backchannels;

/// The words of a text, lower-cased, without punctuation. What stands in brackets is no speech
/// (`[noise]`, `<unk>`).
pub fn words(text: &str) -> Vec<String> {
    let mut spoken = String::with_capacity(text.len());
    let mut closing = None;
    for c in text.chars() {
        match (closing, c) {
            (None, '[') => closing = Some(']'),
            (None, '<') => closing = Some('>'),
            (Some(end), c) if c == end => {
                closing = None;
                spoken.push(' ');
            }
            (Some(_), _) => {}
            (None, '’') => spoken.push('\''),
            (None, '-') => spoken.push(' '),
            (None, c) => spoken.extend(c.to_lowercase()),
        }
    }
    spoken
        .split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// What callers say to show that they listen, as words.
pub struct Phrases(Vec<Vec<String>>);

impl Phrases {
    pub fn of(backchannels: &Backchannels) -> Self {
        let mut phrases: Vec<Vec<String>> = backchannels.0.iter().map(|text| words(text)).collect();
        phrases.retain(|phrase| !phrase.is_empty());
        Self(phrases)
    }

    /// Whether this is nothing but a sign of listening, be it said several times over.
    pub fn are_all_of(&self, words: &[String]) -> bool {
        let mut rest = words;
        while !rest.is_empty() {
            let begins = |phrase: &&Vec<String>| rest.starts_with(phrase);
            match self.0.iter().filter(begins).map(Vec::len).max() {
                Some(count) => rest = &rest[count..],
                None => return false,
            }
        }
        !words.is_empty()
    }
}

/// The trigrams of a text's words, each word as if it stood between two blanks and one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trigrams(Vec<[char; 3]>);

impl Trigrams {
    pub fn of(words: &[String]) -> Self {
        let mut all = Vec::new();
        for word in words {
            let mut last = [' ', ' '];
            for c in word.chars().chain([' ']) {
                all.push([last[0], last[1], c]);
                last = [last[1], c];
            }
        }
        all.sort_unstable();
        all.dedup();
        Self(all)
    }

    /// The share of the trigrams of both that both have: 0 to 1, 0 where one has none.
    pub fn similarity(&self, other: &Self) -> f64 {
        let (mut a, mut b, mut shared) = (0, 0, 0usize);
        while let (Some(x), Some(y)) = (self.0.get(a), other.0.get(b)) {
            match x.cmp(y) {
                std::cmp::Ordering::Less => a += 1,
                std::cmp::Ordering::Greater => b += 1,
                std::cmp::Ordering::Equal => (a, b, shared) = (a + 1, b + 1, shared + 1),
            }
        }
        let all = self.0.len() + other.0.len() - shared;
        if self.0.is_empty() || other.0.is_empty() {
            return 0.0;
        }
        shared as f64 / all as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_is_spoken() {
        assert_eq!(
            words("Hello, [noise] it's <unk>  OK!"),
            ["hello", "it's", "ok"]
        );
        assert_eq!(words("[laughter] …"), [""; 0]);
    }

    #[test]
    fn a_backchannel_is_nothing_else() {
        let known = Phrases::of(&Backchannels::default());
        let is = |text: &str| known.are_all_of(&words(text));
        assert!(is("Mm-hmm."));
        assert!(is("yeah, yeah, okay"));
        assert!(is("I see"));
        assert!(!is("yeah but wait"));
        assert!(!is("I see a problem"));
        assert!(!is(""));
    }

    #[test]
    fn similarity_is_shared_over_all() {
        let like = |a: &str, b: &str| Trigrams::of(&words(a)).similarity(&Trigrams::of(&words(b)));
        assert_eq!(like("I want to book a room", "I want to BOOK a room!"), 1.0);
        assert!(
            like(
                "I want to book a room",
                "I would like to book a room please"
            ) > 0.4
        );
        assert!(like("I want to book a room", "what is the weather") < 0.2);
        assert_eq!(like("", ""), 0.0);
        // As PostgreSQL's pg_trgm has it.
        assert!((like("word", "two words") - 0.363_636).abs() < 1e-5);
    }
}
