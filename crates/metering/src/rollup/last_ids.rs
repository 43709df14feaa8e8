//! Which event was the last of each row.

/// Ids of the events that were the last of their rows, one behind the other: memory of its own for each would be as many
/// distant places.
#[derive(Debug, Default)]
pub(super) struct LastIds(Vec<u8>);

/// Where an id stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdPlace {
    at: usize,
    len: u32,
    room: u32,
}

impl LastIds {
    pub fn push(&mut self, id: &[u8]) -> IdPlace {
        let (at, len) = (self.0.len(), u32::try_from(id.len()).expect("an id is far shorter than 4 GiB"));
        self.0.extend_from_slice(id);
        IdPlace { at, len, room: len }
    }

    pub fn get(&self, IdPlace { at, len, .. }: IdPlace) -> &[u8] {
        &self.0[at..at + len as usize]
    }

    /// Puts another id in the place of one. A longer one gets a new place with room to grow, so that however ids grow, what is
    /// left behind is less than twice the longest of them.
    pub fn replace(&mut self, place: &mut IdPlace, id: &[u8]) {
        if id.len() <= place.room as usize {
            self.0[place.at..place.at + id.len()].copy_from_slice(id);
            place.len = id.len() as u32;
        } else {
            let room = place.room.saturating_mul(2);
            *place = self.push(id);
            place.room = place.len.max(room);
            self.0.resize(place.at + place.room as usize, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_takes_the_place_of_the_one_before_however_long_it_is() {
        let mut ids = LastIds::default();
        let mut kept = [b"a", b"b"].map(|id| (ids.push(id), id.to_vec()));
        for (at, len) in [3, 1, 7, 0, 8, 30, 2, 64, 65, 9].into_iter().enumerate() {
            let (place, expected) = &mut kept[at % 2];
            *expected = vec![b'0' + u8::try_from(at).unwrap(); len];
            ids.replace(place, expected);
            assert!(kept.iter().all(|(place, expected)| ids.get(*place) == *expected), "{len} bytes");
        }
        for len in 1..1_000 {
            ids.replace(&mut kept[0].0, &vec![b'x'; len]);
        }
        assert!(ids.0.len() < 4_000, "{} bytes", ids.0.len());
    }
}
