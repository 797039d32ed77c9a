//! What Python prints of an exception: the call that would make it, and then its stack, or only its class and what it
//! says where it has none. LangChain hands that to whoever traces it.

/// How Python begins to print where something was raised.
const STACK: &str = "Traceback (most recent call last)";

/// The class of what was raised, and what it says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Raised<'a> {
    pub class: &'a str,
    pub message: &'a str,
}

/// What was raised, where more is printed of it than the call.
pub fn printed(text: &str) -> Option<Raised<'_>> {
    let class = class(text)?;
    let call = match text.split_once(STACK) {
        Some((before, _)) => before,
        None => before_class(text, class)?,
    };
    call_of(class, call)
}

/// The same, also where the call is all that there is.
pub fn raised(text: &str) -> Option<Raised<'_>> {
    printed(text).or_else(|| call_of(class(text)?, text))
}

/// The class that a call begins with.
fn class(text: &str) -> Option<&str> {
    let (class, _) = text.trim_start().split_once('(')?;
    let is_first = |c: char| c.is_alphabetic() || c == '_';
    let is_name =
        class.starts_with(is_first) && class.chars().all(|c| is_first(c) || c.is_numeric());
    is_name.then_some(class)
}

/// The call, behind which the class is named again: with its module where it is none of Python's own.
fn before_class<'a>(text: &'a str, class: &str) -> Option<&'a str> {
    let ends = text.match_indices(')').map(|(at, _)| at + 1);
    let is_named = |end: &usize| {
        let rest = text[*end..].trim_start();
        let named = rest.split([':', '\n']).next().unwrap_or_default();
        named.rsplit('.').next() == Some(class)
    };
    let end = ends.filter(|end| *end < text.len()).find(is_named)?;
    Some(&text[..end])
}

fn call_of<'a>(class: &'a str, call: &'a str) -> Option<Raised<'a>> {
    let given = call.trim().strip_prefix(class)?.strip_prefix('(')?;
    let message = given.strip_suffix(')')?.trim_matches(['\'', '"']);
    let message = match message {
        "" => class,
        _ => message,
    };
    Some(Raised { class, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(class: &'a str, message: &'a str) -> Option<Raised<'a>> {
        Some(Raised { class, message })
    }

    #[test]
    fn the_call_stands_before_the_stack() {
        let stack = "Traceback (most recent call last):\n  File \"a.py\", line 1, in f\nValueError: no (such) order";
        let text = format!("ValueError('no (such) order'){stack}");
        assert_eq!(printed(&text), of("ValueError", "no (such) order"));
        assert_eq!(raised(&text), of("ValueError", "no (such) order"));
        let silent = format!("CancelledError()\n\n{stack}");
        assert_eq!(printed(&silent), of("CancelledError", "CancelledError"));
    }

    #[test]
    fn what_was_never_raised_has_no_stack() {
        let own = "ValueError('no (such) order')ValueError: no (such) order\n";
        assert_eq!(printed(own), of("ValueError", "no (such) order"));
        let of_module = "InternalServerError('it is down')openai.InternalServerError: it is down\n";
        assert_eq!(printed(of_module), of("InternalServerError", "it is down"));
        assert_eq!(
            printed("TimeoutError()TimeoutError\n"),
            of("TimeoutError", "TimeoutError")
        );
        assert_eq!(printed("ValueError('no such order')"), None);
        assert_eq!(
            raised("ValueError('no such order')"),
            of("ValueError", "no such order")
        );
    }

    #[test]
    fn words_are_no_call() {
        for words in [
            "no such order",
            "The carrier failed (busy)",
            "failed (busy): try again",
            "",
            "(busy)",
        ] {
            assert_eq!(raised(words), None, "{words}");
        }
    }
}
