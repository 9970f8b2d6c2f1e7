//! Reads the application's entities through the cache, and not at all while the store is away.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use scorer_features::Entity;

use super::{Store, StoreError};

/// A caller that waits for less finds out nothing about the store.
const FAIR: Duration = Duration::from_millis(50);

/// By their ids.
type Found = HashMap<i64, Arc<dyn Entity>>;

fn in_order(ids: &[i64], found: &Found) -> Vec<Arc<dyn Entity>> {
    ids.iter().filter_map(|id| found.get(id).cloned()).collect()
}

impl Store {
    /// The closed set of the application's labels.
    #[must_use]
    pub fn labels(&self) -> &[&'static str] {
        self.reader.labels()
    }

    /// The entities of `ids`, in that order; unknown ids are left out, an id given twice comes twice.
    ///
    /// # Errors
    /// When one is not in the cache and the store does not respond in time.
    pub async fn entities(&self, ids: &[i64]) -> Result<Vec<Arc<dyn Entity>>, StoreError> {
        let (mut found, wanted) = self.cached(ids);
        self.read(&wanted, &mut found).await?;
        Ok(in_order(ids, &found))
    }

    /// The same for a caller that waits `limit` at most, and not at all for a store that has not responded lately.
    ///
    /// # Errors
    /// As [`Store::entities`].
    pub async fn entities_within(&self, ids: &[i64], limit: Duration) -> Result<Vec<Arc<dyn Entity>>, StoreError> {
        let (mut found, wanted) = self.cached(ids);
        if wanted.is_empty() {
            return Ok(in_order(ids, &found));
        }
        if !self.breaker.admits(self.now_ms()) {
            return Err(StoreError::Away { place: self.place.to_string() });
        }
        let late = || StoreError::Late { place: self.place.to_string() };
        let read = tokio::time::timeout(limit, self.read(&wanted, &mut found)).await.unwrap_or_else(|_| Err(late()));
        match &read {
            Err(StoreError::Late { .. }) if limit < FAIR => {}
            Err(error) if error.is_absence() => self.breaker.missed(self.now_ms()),
            _ => self.breaker.succeeded(),
        }
        read.map(|()| in_order(ids, &found))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Those that are in the cache, and the ids of the others, each once.
    fn cached(&self, ids: &[i64]) -> (Found, Vec<i64>) {
        let mut found = Found::with_capacity(ids.len());
        let mut wanted: Vec<i64> = Vec::new();
        for id in ids {
            match self.cache.get(id) {
                Some(cached) => {
                    found.insert(*id, cached);
                }
                None => wanted.push(*id),
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        (found, wanted)
    }

    async fn read(&self, wanted: &[i64], found: &mut Found) -> Result<(), StoreError> {
        for chunk in wanted.chunks(MOST_IDS) {
            for read in self.reader.read(self, chunk).await? {
                self.cache.insert(read.id(), Arc::clone(&read));
                found.insert(read.id(), read);
            }
        }
        Ok(())
    }
}

/// Ids that a reader is given at once.
const MOST_IDS: usize = 500;
