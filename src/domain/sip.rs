//! A telephone in a LiveKit room: which way the call went, and whose number is whose.

/// What the attributes of a participant by SIP say of the call.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Leg<'a> {
    /// `inbound` or `outbound`, where that can be told.
    pub channel: Option<&'static str>,
    pub from: Option<&'a str>,
    pub to: Option<&'a str>,
}

impl<'a> Leg<'a> {
    /// `attribute` is what the participant has under a name behind `sip.`. `phoneNumber` is always that of the other
    /// side, whoever called; a call that came in was let in by a rule, and one that went out by none.
    pub fn of(attribute: impl Fn(&str) -> Option<&'a str>) -> Self {
        let attribute = |name: &str| attribute(name).filter(|value| !value.trim().is_empty());
        let (other, own) = (attribute("phoneNumber"), attribute("trunkPhoneNumber"));
        // Without these nobody says that all is told.
        let is_whole = || attribute("trunkID").is_some() || attribute("callID").is_some();
        let channel = match attribute("ruleID") {
            Some(_) => Some("inbound"),
            None => is_whole().then_some("outbound"),
        };
        let (from, to) = match channel {
            Some("outbound") => (own, other),
            _ => (other, own),
        };
        Self { channel, from, to }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_number_is_whose_follows_from_the_way_of_the_call() {
        let numbers = [
            ("phoneNumber", "+15550100"),
            ("trunkPhoneNumber", "+15550199"),
        ];
        let leg = |more: &[(&'static str, &'static str)]| {
            let all = [&numbers[..], more].concat();
            let leg = Leg::of(|name| {
                let found = all.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| *value)
            });
            (leg.channel, leg.from, leg.to)
        };
        let (other, own) = (Some("+15550100"), Some("+15550199"));
        let inbound = [("trunkID", "ST_1"), ("ruleID", "SDR_1")];
        assert_eq!(leg(&inbound), (Some("inbound"), other, own));
        assert_eq!(leg(&inbound[..1]), (Some("outbound"), own, other));
        let blank = [("callID", "SCL_1"), ("ruleID", " ")];
        assert_eq!(leg(&blank), (Some("outbound"), own, other));
        assert_eq!(leg(&[]), (None, other, own));
    }
}
