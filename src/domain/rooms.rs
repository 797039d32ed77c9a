//! A room's name may be used again and again, so that it is no name of one session. But a record of a carrier or
//! of a media server that has nothing else in common with anything belongs to the one session that was in a
//! room of that name at that time.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::ids::{Claim, SessionId};

/// Clocks differ, and a room is there before anybody speaks in it.
const MARGIN: TimeDelta = TimeDelta::seconds(60);

/// A session that was in a room of some name.
#[derive(Clone, Debug, PartialEq)]
pub struct Occupant {
    pub id: SessionId,
    /// What its own id follows from.
    pub name: Claim,
    pub started_at: DateTime<Utc>,
    pub ended_at: DateTime<Utc>,
    /// Only carriers, media servers and vendors have told of it.
    pub is_record: bool,
    /// It says which of all rooms it was.
    pub has_room_sid: bool,
}

impl Occupant {
    fn may_hold(&self, record: &Self) -> bool {
        let is_then = self.started_at - MARGIN <= record.started_at
            && record.started_at <= self.ended_at + MARGIN;
        !self.is_record && is_then && !(self.has_room_sid && record.has_room_sid)
    }
}

/// The records that belong to another session, with that one. None where there are several, or where several
/// rooms of one name would become one.
pub fn joined(occupants: &[Occupant]) -> Vec<(&Occupant, &Occupant)> {
    let records = occupants.iter().filter(|one| one.is_record);
    let pairs: Vec<(&Occupant, &Occupant)> = records
        .filter_map(|record| {
            let mut holders = occupants.iter().filter(|one| one.may_hold(record));
            let holder = holders.next()?;
            holders.next().is_none().then_some((record, holder))
        })
        .collect();
    let is_lone = |(record, holder): &(&Occupant, &Occupant)| {
        let rooms = pairs
            .iter()
            .filter(|(other, at)| at.id == holder.id && other.has_room_sid);
        !record.has_room_sid || rooms.count() == 1
    };
    pairs.iter().copied().filter(is_lone).collect()
}

#[cfg(test)]
mod tests {
    use crate::domain::ids::ClaimKind;

    use super::*;

    fn occupant(id: u128, from_s: i64, to_s: i64, is_record: bool) -> Occupant {
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        Occupant {
            id: SessionId(uuid::Uuid::from_u128(id)),
            name: Claim::new(ClaimKind::Conversation, id.to_string()),
            started_at: at(from_s),
            ended_at: at(to_s),
            is_record,
            has_room_sid: is_record,
        }
    }

    fn ids(occupants: &[Occupant]) -> Vec<(u128, u128)> {
        let pairs = joined(occupants).into_iter();
        let mut pairs: Vec<_> = pairs
            .map(|(a, b)| (a.id.0.as_u128(), b.id.0.as_u128()))
            .collect();
        pairs.sort_unstable();
        pairs
    }

    #[test]
    fn a_record_goes_with_the_one_session_of_its_time() {
        let record = occupant(1, 1000, 1100, true);
        let then = occupant(2, 1059, 1200, false);
        let (later, earlier) = (occupant(3, 1061, 1200, false), occupant(4, 0, 939, false));
        let all = [record.clone(), then.clone(), later, earlier];
        assert_eq!(ids(&all), [(1, 2)]);
        let too = occupant(5, 900, 1010, false);
        assert_eq!(ids(&[record.clone(), then.clone(), too]), []);
        assert_eq!(ids(&[record.clone(), occupant(6, 2000, 2100, false)]), []);
        // Two rooms of one name: which of them it was, nobody knows.
        assert_eq!(
            ids(&[record.clone(), occupant(7, 1010, 1100, true), then.clone()]),
            []
        );
        let known = Occupant {
            has_room_sid: true,
            ..then
        };
        assert_eq!(ids(&[record, known]), []);
    }
}
