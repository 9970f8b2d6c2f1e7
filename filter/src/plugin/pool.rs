//! Buffers that are used again, so that a request in a steady stream of them allocates nothing for its copies.

/// Most buffers kept.
const KEPT: usize = 32;
/// Largest buffer kept, in bytes: a rare giant gives its memory back.
const LARGEST: usize = 64 * 1024;

/// Emptied buffers.
#[derive(Debug, Default)]
pub struct Pool(Vec<Vec<u8>>);

impl Pool {
    /// An empty buffer; a used one if the pool has any.
    pub fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }

    /// Gives `out` a buffer where it has none yet: the one that was returned last, which is likely still in the cache.
    pub fn lend(&mut self, out: &mut Vec<u8>) {
        if out.capacity() == 0 {
            *out = self.take();
        }
    }

    /// Takes a buffer back.
    pub fn put(&mut self, mut buffer: Vec<u8>) {
        if self.0.len() < KEPT && (1..=LARGEST).contains(&buffer.capacity()) {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_a_giant_does_not() {
        let mut pool = Pool::default();
        pool.put(b"abc".to_vec());
        pool.put(Vec::with_capacity(LARGEST + 1));
        pool.put(Vec::new());
        let again = pool.take();
        assert!(again.is_empty() && again.capacity() >= 3);
        assert_eq!(pool.take().capacity(), 0);
        pool.put(again);
        let mut out = b"kept".to_vec();
        pool.lend(&mut out);
        assert_eq!(out, b"kept");
        let mut out = Vec::new();
        pool.lend(&mut out);
        assert!(out.is_empty() && out.capacity() >= 3);
    }

    #[test]
    fn the_pool_is_bounded() {
        let mut pool = Pool::default();
        for _ in 0..KEPT + 10 {
            pool.put(vec![0]);
        }
        assert_eq!(pool.0.len(), KEPT);
    }
}
