//! Spans of time as people write them: `90d`, `24h`, `30m`, `45s`.

use chrono::TimeDelta;

pub fn parse(text: &str) -> Result<TimeDelta, String> {
    let form = || format!("must be a number and `s`, `m`, `h` or `d`, such as `24h`, got `{text}`");
    let (number, unit) = text
        .char_indices()
        .next_back()
        .map(|(at, unit)| (&text[..at], unit))
        .ok_or_else(form)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(form()),
    };
    let number: u32 = number.parse().map_err(|_| form())?;
    // A hundred years: far enough, and within what a time can hold.
    let span = i64::from(number)
        .checked_mul(seconds)
        .filter(|span| *span <= 36_500 * 86_400);
    span.map(TimeDelta::seconds)
        .ok_or_else(|| format!("must be at most `36500d`, got `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        assert_eq!(parse("90d"), Ok(TimeDelta::days(90)));
        assert_eq!(parse("0s"), Ok(TimeDelta::zero()));
        for wrong in ["", "d", "90", "-1d", "1é", "4294967295d", "1.5h"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
