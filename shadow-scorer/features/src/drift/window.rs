//! The last seven days, as a ring of hours.

use super::reference::Reference;

/// Seconds of one slot.
pub(super) const HOUR: u64 = 3_600;
/// Seconds of the whole ring.
pub(super) const SPAN: u64 = SLOTS as u64 * HOUR;
const SLOTS: usize = 7 * 24;

/// Counts of one hour.
#[derive(Debug, Clone)]
pub(super) struct Hour {
    /// Hours since 1970; 0 while nothing was ever counted here.
    number: u64,
    pub(super) rows: u64,
    pub(super) agreed: u64,
    pub(super) differed: u64,
    pub(super) counts: Vec<u32>,
}

/// Sums over the window.
#[derive(Debug)]
pub(super) struct Total {
    pub(super) rows: u64,
    pub(super) agreed: u64,
    pub(super) differed: u64,
    /// Seconds from the first hour with a row to the end of the last.
    pub(super) span: u64,
    pub(super) counts: Vec<u64>,
}

#[derive(Debug)]
pub(super) struct Window {
    hours: Vec<Hour>,
    /// Time of the first row that is still in the window, and of the last.
    first: Option<u64>,
    last: u64,
}

impl Window {
    pub(super) fn new(reference: &Reference) -> Self {
        let hour = Hour { number: 0, rows: 0, agreed: 0, differed: 0, counts: vec![0; reference.bins()] };
        Self { hours: vec![hour; SLOTS], first: None, last: 0 }
    }

    /// The hour of `now`, emptied if it still holds what was counted a week ago.
    pub(super) fn hour(&mut self, now: u64) -> &mut Hour {
        self.first.get_or_insert(now);
        self.last = self.last.max(now);
        let number = now / HOUR;
        let slot = usize::try_from(number % SLOTS as u64).unwrap_or(0);
        // The ring has SLOTS hours, so the slot is there.
        #[allow(clippy::indexing_slicing)]
        let hour = &mut self.hours[slot];
        if hour.number != number {
            hour.number = number;
            (hour.rows, hour.agreed, hour.differed) = (0, 0, 0);
            hour.counts.fill(0);
        }
        hour
    }

    pub(super) fn total(&mut self, now: u64) -> Total {
        let newest = now / HOUR;
        let oldest = (newest + 1).saturating_sub(SLOTS as u64);
        let bins = self.hours.first().map_or(0, |hour| hour.counts.len());
        let mut total = Total { rows: 0, agreed: 0, differed: 0, span: 0, counts: vec![0; bins] };
        for hour in self.hours.iter().filter(|hour| (oldest..=newest).contains(&hour.number)) {
            total.rows += hour.rows;
            total.agreed += hour.agreed;
            total.differed += hour.differed;
            for (sum, count) in total.counts.iter_mut().zip(&hour.counts) {
                *sum += u64::from(*count);
            }
        }
        // What has left the window no longer counts as its beginning.
        self.first = self.first.map(|first| first.max(oldest * HOUR)).filter(|_| total.rows > 0);
        total.span = self.first.map_or(0, |first| self.last.saturating_sub(first));
        total
    }
}
